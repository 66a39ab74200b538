// Drives a server through the real @trpc/client: each link, plain and with
// superjson, errors included. The test in trpc_client_test.go starts it.
import { createTRPCClient, httpBatchLink, httpLink, TRPCClientError } from "@trpc/client";
import superjson from "superjson";
import type { AppRouter, AppRouterSuperJSON, EventInput } from "./router.js";

declare const process: { argv: string[]; exitCode: number };

const [, , url = "", key = ""] = process.argv;
const headers = { authorization: `Bearer ${key}` };
let checks = 0;

function equal(what: string, got: unknown, want: unknown): void {
  checks++;
  if (JSON.stringify(got) !== JSON.stringify(want)) {
    console.error(`${what}: got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
    process.exitCode = 1;
  }
}

type Plain = ReturnType<typeof createTRPCClient<AppRouter>>;
type Super = ReturnType<typeof createTRPCClient<AppRouterSuperJSON>>;

async function failure<R extends AppRouter | AppRouterSuperJSON>(call: Promise<unknown>): Promise<TRPCClientError<R>> {
  try {
    await call;
  } catch (e) {
    if (e instanceof TRPCClientError) return e as TRPCClientError<R>;
    throw e;
  }
  throw new Error("the call succeeded, and should not have");
}

async function drive(name: string, c: Plain | Super, licenseId: string): Promise<void> {
  const license = await c.catalog.putLicense.mutate({ id: licenseId, brandId: "b", assetId: "a", status: "ACTIVE" });
  equal(`${name}: license`, [license.id, license.timezone, license.feeCents], [licenseId, "UTC", 0]);

  const event: EventInput = { licenseId, usageType: "view", quantity: 3, platform: "web", idempotencyKey: "k1", metadata: { order: 7 } };
  const first = await c.usage.trackEvent.mutate(event);
  equal(`${name}: first`, [first.tracked, first.duplicate, first.status], [true, false, "COUNTED"]);
  const again = await c.usage.trackUsageEvent.mutate(event);
  equal(`${name}: again`, [again.tracked, again.duplicate, again.eventId], [true, true, first.eventId]);
  const conflict = await c.usage.trackEvent.mutate({ ...event, quantity: 4 });
  equal(`${name}: conflict`, [conflict.tracked, conflict.error?.code], [false, "IDEMPOTENCY_CONFLICT"]);
  const dated = await c.usage.trackEvent.mutate({ licenseId, usageType: "view", occurredAt: new Date("2024-10-12T08:30:00.123Z"), idempotencyKey: "k2" });
  equal(`${name}: a Date`, [dated.tracked, dated.status], [true, "COUNTED"]);

  const batch = await c.usage.trackBatch.mutate({
    events: [
      { licenseId, usageType: "download", idempotencyKey: "k3" },
      { licenseId: "lic_absent", usageType: "download", idempotencyKey: "k4" },
    ],
  });
  equal(`${name}: batch`, batch.results.map((r) => r.error?.code ?? r.status), ["COUNTED", "LICENSE_NOT_FOUND"]);
  const aborted = await failure(c.usage.trackBatch.mutate({
    atomic: true,
    events: [{ licenseId, usageType: "view" }, { licenseId: "lic_absent", usageType: "view" }],
  }));
  equal(`${name}: atomic`, [aborted.data?.code, aborted.data?.usance.code, aborted.data?.usance.results?.length], ["CONFLICT", "ABORTED", 2]);

  const threshold = await c.usage.createThreshold.mutate({
    licenseId, usageType: "view", limitQuantity: 1000, periodType: "monthly", gracePercentage: 10, allowOverage: true, overageRateCents: 5,
  });
  equal(`${name}: threshold`, [threshold.limitQuantity, threshold.overageRateCents, threshold.isActive], [1000, 5, true]);
  const status = await c.usage.getThresholdStatus.query({ licenseId });
  equal(`${name}: status`, status.thresholds.map((t) => [t.used, t.limitWithGrace, t.remaining]), [[4, 1100, 1096]]);
  const exists = await failure(c.usage.createThreshold.mutate({ licenseId, usageType: "view", limitQuantity: 1, periodType: "monthly" }));
  equal(`${name}: exists`, [exists.data?.code, exists.data?.httpStatus, exists.data?.path, exists.data?.usance.code],
    ["CONFLICT", 409, "usage.createThreshold", "THRESHOLD_EXISTS"]);

  // Queries at once: httpBatchLink puts them into one request.
  const [current, breakdown, analytics, compared, settled] = await Promise.all([
    c.usage.getCurrentUsage.query({ licenseId }),
    c.usage.getUsageBreakdown.query({ licenseId, dimensions: ["platform"] }),
    c.usage.getAnalytics.query({ licenseId, startDate: "2024-10-01", endDate: "2024-10-31", granularity: "daily" }),
    c.usage.comparePeriods.query({ licenseId, startDate: new Date("2024-10-12T00:00:00Z"), endDate: new Date("2024-10-13T00:00:00Z") }),
    failure(c.usage.getCurrentUsage.query({ licenseId: "lic_absent" })),
  ]);
  equal(`${name}: current`, current.today.byType["view"]?.quantity, 4);
  equal(`${name}: breakdown`, breakdown.dimensions.map((d) => [d.dimension, d.values[0]?.value, d.values[0]?.quantity]), [["platform", "web", 3]]);
  equal(`${name}: analytics`, [analytics.buckets.length, analytics.totals.quantity, analytics.buckets[11]?.date], [31, 5, "2024-10-12"]);
  equal(`${name}: compared`, [compared.current.quantity, compared.previous.quantity], [5, 0]);
  equal(`${name}: absent`, [settled.data?.code, settled.data?.httpStatus, settled.data?.usance.code, settled.shape?.code],
    ["NOT_FOUND", 404, "LICENSE_NOT_FOUND", -32004]);

  const recalculated = await c.usage.recalculateAggregates.mutate({ licenseId, startDate: "2024-01-01", endDate: "2024-10-12" });
  equal(`${name}: recalculated`, [recalculated.licenseId, recalculated.sealed], [licenseId, []]);
  const list = await c.catalog.listLicenses.query();
  equal(`${name}: no input`, list.data.some((l) => l.id === licenseId), true);
  await c.usage.getAggregationStatus.query();

  const bad = await failure(c.usage.trackEvent.mutate({ licenseId, usageType: "view", quantity: 1.5 }));
  equal(`${name}: bad`, [bad.data?.code, bad.data?.usance.field, bad.shape?.code], ["BAD_REQUEST", "quantity", -32600]);
  const nan = await failure(c.usage.trackEvent.mutate({ licenseId, usageType: "view", quantity: NaN }));
  equal(`${name}: NaN`, [nan.data?.code, nan.data?.usance.field], ["BAD_REQUEST", "quantity"]);
  const notANumber = await failure(c.usage.createThreshold.mutate({
    licenseId, usageType: "play", limitQuantity: 10, periodType: "monthly", allowOverage: true, overageRateCents: NaN,
  }));
  equal(`${name}: a price of NaN`, notANumber.data?.usance.field, "overageRateCents");
  const noDate = await failure(c.usage.getAnalytics.query({ licenseId, startDate: new Date(NaN) }));
  equal(`${name}: a Date that is none`, noDate.data?.usance.field, "startDate");

  await c.catalog.deleteLicense.mutate({ id: licenseId });
  const restored = await c.catalog.putLicense.mutate({ id: licenseId, deletedAt: null, endDate: new Date("2030-01-01T00:00:00Z") });
  equal(`${name}: restored`, [restored.deletedAt, restored.endDate], [undefined, "2030-01-01T00:00:00.000Z"]);
  const tiers = await c.usage.updateThreshold.mutate({ thresholdId: threshold.id, overageRateCents: null, overageTiers: [{ rateCents: 1 }] });
  equal(`${name}: tiers`, [tiers.overageRateCents, tiers.overageTiers?.[0]?.rateCents], [undefined, 1]);

  // The request as a whole is refused: plain and superjson read why.
  const large = await failure(c.usage.voidEvent.mutate({ licenseId, reason: "x".repeat(2 << 20) }));
  equal(`${name}: too large`, [large.data?.code, large.data?.usance.code, large.shape?.code], ["PAYLOAD_TOO_LARGE", "TOO_LARGE", -32013]);

  const voided = await c.usage.voidEvent.mutate({ licenseId, idempotencyKey: "k3", reason: "test" });
  equal(`${name}: voided`, voided.tracked, true);
}

function links(headers: { authorization?: string }) {
  return {
    httpLink: createTRPCClient<AppRouter>({ links: [httpLink({ url, headers })] }),
    httpBatchLink: createTRPCClient<AppRouter>({ links: [httpBatchLink({ url, headers })] }),
    "httpLink with superjson": createTRPCClient<AppRouterSuperJSON>({ links: [httpLink({ url, headers, transformer: superjson })] }),
    "httpBatchLink with superjson": createTRPCClient<AppRouterSuperJSON>({ links: [httpBatchLink({ url, headers, transformer: superjson })] }),
    "httpLink by POST": createTRPCClient<AppRouter>({ links: [httpLink({ url, headers, methodOverride: "POST" })] }),
  };
}

// More calls than a request may hold.
for (const c of [
  createTRPCClient<AppRouter>({ links: [httpBatchLink({ url, headers, methodOverride: "POST" })] }),
  createTRPCClient<AppRouterSuperJSON>({ links: [httpBatchLink({ url, headers, methodOverride: "POST", transformer: superjson })] }),
]) {
  const calls = await Promise.all(Array.from({ length: 101 }, () => failure((c as Plain).usage.getAggregationStatus.query())));
  for (const e of calls) equal("101 calls", [e.data?.code, e.data?.usance.field, e.message.includes("at most 100 calls")], ["BAD_REQUEST", "batch", true]);
}
// A body that is cut off in the middle of a character.
for (const options of [{}, { transformer: superjson }]) {
  const cut: typeof fetch = (input, init) => fetch(input, { ...init, body: new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]) });
  const c = createTRPCClient<any>({ links: [httpBatchLink({ url, headers, fetch: cut as never, ...options } as never)] }) as unknown as Plain;
  const e = await failure(c.usage.voidEvent.mutate({ licenseId: "l" }));
  equal("bad UTF-8", [e.data?.code, e.data?.usance.code], ["BAD_REQUEST", "VALIDATION"]);
}

let n = 0;
for (const [name, client] of Object.entries(links(headers))) {
  await drive(name, client, `lic_ts_${n++}`);
}
for (const [name, client] of Object.entries(links({}))) {
  const e = await failure(client.usage.getAggregationStatus.query());
  equal(`${name}: no key`, [e.data?.code, e.data?.httpStatus, e.message.includes("Authorization: Bearer")], ["UNAUTHORIZED", 401, true]);
}

// What must not compile, does not.
async function wrong(c: Plain): Promise<void> {
  // @ts-expect-error a required field is missing
  await c.usage.getAnalytics.query({ startDate: "2024-10-01" });
  // @ts-expect-error a word that is none of the set
  await c.usage.createThreshold.mutate({ licenseId: "l", limitQuantity: 1, periodType: "hourly" });
  // @ts-expect-error a query is not a mutation
  await c.usage.getAnalytics.mutate({ licenseId: "l" });
  // @ts-expect-error no such procedure
  await c.usage.noSuch.query();
}
void wrong;

console.log(`${checks} checks`);
