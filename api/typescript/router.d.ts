// Code generated from the table of operations; DO NOT EDIT.

import type {
  TRPCBuiltRouter,
  TRPCDefaultErrorData,
  TRPCDefaultErrorShape,
  TRPCMutationProcedure,
  TRPCQueryProcedure,
} from "@trpc/server";

/** What programs decide by. */
export type ErrorCode = "VALIDATION" | "UNAUTHORIZED" | "FORBIDDEN" | "BACKDATE_FORBIDDEN" | "NOT_FOUND" | "LICENSE_NOT_FOUND" | "METHOD_NOT_ALLOWED" | "LICENSE_NOT_ACTIVE" | "TRACKING_DISABLED" | "OUT_OF_TERM" | "LIMIT_EXCEEDED" | "TOO_LATE" | "IDEMPOTENCY_CONFLICT" | "ABORTED" | "CONFLICT" | "THRESHOLD_EXISTS" | "INVALID_STATE" | "TOO_LARGE" | "UNSUPPORTED_MEDIA" | "RATE_LIMITED" | "OVERLOADED" | "UNAVAILABLE" | "INTERNAL";

/** What an error says beside tRPC's own: error.data.usance. */
export interface ErrorDetail {
  code: ErrorCode;
  field?: string;
  retryable: boolean;
  retryAfterSeconds?: number;
  requestId?: string;
  results?: Result[];
}

export interface ErrorShape extends TRPCDefaultErrorShape {
  data: TRPCDefaultErrorData & { usance: ErrorDetail };
}

export interface APIKey {
  brandIds?: string[];
  createdAt: string;
  expiresAt?: string;
  id: string;
  lastUsedAt?: string;
  licenseIds?: string[];
  name?: string;
  partyId?: string;
  replacedBy?: string;
  revokedAt?: string;
  role: "admin" | "brand" | "creator" | "ingest";
  scopes?: string[];
}

export interface Accuracy {
  /** By the number of days to the period's end when the forecast was made. */
  byLead: ForecastAccuracy[];
}

export interface ActiveDay {
  date: string;
  events: number;
  licenses: number;
  licensesAggregated: number;
  licensesUsed: number;
  quantity: number;
}

export interface Activity {
  activeThresholds: number;
  days: ActiveDay[];
  eventsLastDay: number;
  licenses: number;
  licensesLastDay: number;
  overages: OverageSum[];
  trackingEnabled: number;
  warningsLastDay: number;
}

export interface AggregationStatus {
  activeLicensesTracked: number;
  cache: CacheStatus;
  eventsLatestDay: number;
  foldLagSeconds: number;
  oldestPending?: string;
  overages: { [key: string]: number };
  pendingBatches: number;
  pendingEvents: number;
}

export interface Alert {
  acknowledgedAt?: string;
  acknowledgedBy?: string;
  breachProbability?: number;
  createdAt: string;
  id: string;
  kind: "threshold" | "overage" | "forecast" | "spike" | "drop" | "flat" | "concentration";
  level?: number;
  licenseId: string;
  limitQuantity?: number;
  periodEnd: string;
  periodStart: string;
  predictedBreachDate?: string;
  quantity: number;
  reason?: string;
  severity?: "info" | "warning" | "critical";
  thresholdId?: string;
  usageType: string;
}

export interface Analytics {
  asOf: string;
  buckets: Bucket[];
  comparison?: Comparison;
  currency: string;
  end: string;
  endDate: string;
  granularity: "hourly" | "daily" | "weekly" | "monthly";
  licenseId: string;
  notes?: string[];
  start: string;
  startDate: string;
  timezone: string;
  topDevices?: Value[];
  topGeography?: Value[];
  topPlatforms?: Value[];
  topSources?: Value[];
  totals: Totals;
  trends: Trends;
  uniqueSessions: number | null;
}

export interface Answer {
  forecasts: Expected[];
  licenseId: string;
  timezone: string;
  unknown: NotForecast[];
}

export interface Asset {
  createdAt?: string;
  id: string;
  name: string;
  owners?: Share[];
  type?: string;
  updatedAt?: string;
}

export interface AssetAnswer {
  /** What else was created, such as creator:c1. */
  created: string[];
  createdAt?: string;
  id: string;
  name: string;
  owners?: Share[];
  type?: string;
  updatedAt?: string;
}

export interface AuditEntry {
  action: string;
  actor: string;
  after?: { [key: string]: unknown };
  at: string;
  before?: { [key: string]: unknown };
  id: string;
  licenseId?: string;
  reason?: string;
  subject: string;
}

export interface BackfillAnswer {
  /** Of the range; it goes on behind the answer, see usage.getBackfill. */
  backfill?: BackfillState;
  /** Of each total, in order. */
  results?: TotalResult[];
}

export interface BackfillState {
  actor: string;
  changed: number;
  counters: number;
  days: number;
  endDate: string;
  error?: string;
  events: number;
  licenseId: string;
  nextDate: string;
  /** Days that it passed and left alone: their raw events are pruned. */
  sealed: string[];
  skipped: number;
  startDate: string;
  startedAt: string;
  status: "RUNNING" | "DONE" | "FAILED";
  updatedAt: string;
}

export interface BatchResult {
  results: Result[];
}

export interface Books {
  counters: number;
  events: number;
  faults: Discrepancy[];
  licenseId: string;
  overages: number;
  rows: number;
  sealed: number;
  wrong: { [key: string]: number };
}

export interface Brand {
  createdAt?: string;
  id: string;
  name: string;
  updatedAt?: string;
}

export interface Bucket {
  byType: { [key: string]: Tally };
  complete: boolean;
  date: string;
  end: string;
  events: number;
  quantity: number;
  revenueCents: number;
  start: string;
}

export interface CacheStatus {
  bytes: number;
  enabled: boolean;
  entries: number;
  hitPercent: number;
  hits: number;
  misses: number;
  ttlSeconds: number;
}

export interface Change {
  absolute: number;
  percent: number | null;
}

export interface Changes {
  events: Change;
  quantity: Change;
  revenueCents: Change;
}

export interface Check {
  allowed: boolean;
  error?: EventError;
  usage?: Usage[];
}

export interface Comparison {
  byType: { [key: string]: TypeComparison };
  change: Changes;
  current: PeriodUsage;
  previous: PeriodUsage;
  uniqueSessionsChange?: Change;
}

export interface Creator {
  createdAt?: string;
  email?: string;
  id: string;
  name: string;
  updatedAt?: string;
}

export interface CurrentUsage {
  allTime: Totals;
  asOf: string;
  currency: string;
  currentPeriod: WindowUsage;
  licenseId: string;
  thresholds?: ThresholdStatus[];
  timezone: string;
  today: WindowUsage;
  usageType: string;
}

export interface DailyAggregate {
  byType: { [key: string]: Tally };
  date: string;
  licenseId: string;
  totalClicks: number;
  totalDownloads: number;
  totalImpressions: number;
  totalPlays: number;
  totalQuantity: number;
  totalRevenueCents: number;
  totalStreams: number;
  totalViews: number;
  uniqueSessions: number;
}

export interface DailyUsage {
  currency: string;
  days: DailyAggregate[];
  end: string;
  endDate: string;
  licenseId: string;
  start: string;
  startDate: string;
  timezone: string;
}

export interface DayForecast {
  date: string;
  intervals: Interval[];
  median: number;
}

export interface DimensionUsage {
  dimension: "hour" | "platform" | "device" | "geography" | "source";
  distinct: number;
  rest: Tally;
  values: Value[];
}

export interface Discrepancy {
  date?: string;
  fix: string;
  kind: string;
  licenseId: string;
  periodType?: "daily" | "weekly" | "monthly" | "quarterly" | "yearly" | "total";
  problem: string;
  thresholdId?: string;
  usageType?: string;
}

export interface Event {
  deviceType?: string;
  eventId?: string;
  geographicLocation?: string;
  idempotencyKey?: string;
  licenseId: string;
  localDate?: string;
  metadata?: { [key: string]: unknown };
  occurredAt: string;
  platform?: string;
  quantity: number;
  receivedAt?: string;
  referrer?: string;
  revenueCents: number;
  sessionId?: string;
  usageType: string;
  voidOf?: string;
  voided?: boolean;
}

export interface EventError {
  code: "VALIDATION" | "UNAUTHORIZED" | "FORBIDDEN" | "BACKDATE_FORBIDDEN" | "NOT_FOUND" | "LICENSE_NOT_FOUND" | "METHOD_NOT_ALLOWED" | "LICENSE_NOT_ACTIVE" | "TRACKING_DISABLED" | "OUT_OF_TERM" | "LIMIT_EXCEEDED" | "TOO_LATE" | "IDEMPOTENCY_CONFLICT" | "ABORTED" | "CONFLICT" | "THRESHOLD_EXISTS" | "INVALID_STATE" | "TOO_LARGE" | "UNSUPPORTED_MEDIA" | "RATE_LIMITED" | "OVERLOADED" | "UNAVAILABLE" | "INTERNAL";
  field?: string;
  message: string;
  retryable: boolean;
}

export interface EventInput {
  deviceType?: "desktop" | "mobile" | "tablet" | "tv" | "other";
  /** Country, region or place, as you name them. */
  geographicLocation?: string;
  /** Makes a retry safe: within the licence a key counts once. Made and returned when left out. */
  idempotencyKey?: string;
  /** The licence under which the use happened. */
  licenseId: string;
  /** An object of your own, at most 8 KiB of JSON. */
  metadata?: { [key: string]: unknown };
  /** RFC 3339 with any offset, kept to the microsecond; at most five minutes ahead. The server's clock when left out. */
  occurredAt?: string;
  platform?: "web" | "mobile" | "tv" | "print" | "social" | "other";
  /** Units; a whole number in digits. */
  quantity?: number;
  /** Where the use came from; its host is the source in breakdowns. */
  referrer?: string;
  /** Revenue that the use brought, in cents. */
  revenueCents?: number;
  /** Kept as a keyed hash only, for unique sessions. */
  sessionId?: string;
  /** view, download, impression, click, play, stream, print, custom, or any slug of your own. */
  usageType: string;
}

export interface Evidence {
  attempts: number;
  code: "VALIDATION" | "UNAUTHORIZED" | "FORBIDDEN" | "BACKDATE_FORBIDDEN" | "NOT_FOUND" | "LICENSE_NOT_FOUND" | "METHOD_NOT_ALLOWED" | "LICENSE_NOT_ACTIVE" | "TRACKING_DISABLED" | "OUT_OF_TERM" | "LIMIT_EXCEEDED" | "TOO_LATE" | "IDEMPOTENCY_CONFLICT" | "ABORTED" | "CONFLICT" | "THRESHOLD_EXISTS" | "INVALID_STATE" | "TOO_LARGE" | "UNSUPPORTED_MEDIA" | "RATE_LIMITED" | "OVERLOADED" | "UNAVAILABLE" | "INTERNAL";
  deviceType?: string;
  eventId?: string;
  firstAt: string;
  geographicLocation?: string;
  idempotencyKey?: string;
  lastAt: string;
  licenseId: string;
  localDate?: string;
  metadata?: { [key: string]: unknown };
  occurredAt: string;
  platform?: string;
  quantity: number;
  receivedAt?: string;
  referrer?: string;
  revenueCents: number;
  sessionId?: string;
  status: "COUNTED" | "VOIDED" | "BLOCKED" | "OUT_OF_TERM" | "REFUSED";
  thresholdId?: string;
  usageType: string;
  voidOf?: string;
  voided?: boolean;
}

export interface Expected {
  accuracyScore?: number;
  breachProbability?: number;
  calculatedAt: string;
  confidenceLevel: number;
  forecastDate: string;
  forecastingMethod: string;
  historicalDaysUsed: number;
  id: string;
  later?: LaterPeriod[];
  licenseId: string;
  limitQuantity?: number;
  limitWithGrace?: number;
  lowerBound: number;
  meanAbsoluteError?: number;
  members?: Member[];
  outlook: Outlook;
  path: DayForecast[];
  periodEnd: string;
  periodStart: string;
  periodType: "daily" | "weekly" | "monthly" | "quarterly" | "yearly" | "total";
  predictedBreachDate?: string;
  predictedQuantity: number;
  score?: ForecastScore;
  status: "OK" | "POOLED";
  thresholdId?: string;
  upperBound: number;
  usageType: string;
  usedQuantity: number;
}

export interface Explanation {
  licenseId: string;
  steps: Step[];
  verdicts: Verdict[];
}

export interface Forecast {
  accuracyScore?: number;
  breachProbability?: number;
  calculatedAt: string;
  confidenceLevel: number;
  forecastDate: string;
  forecastingMethod: string;
  historicalDaysUsed: number;
  id: string;
  licenseId: string;
  limitQuantity?: number;
  limitWithGrace?: number;
  lowerBound: number;
  meanAbsoluteError?: number;
  outlook: Outlook;
  periodEnd: string;
  periodStart: string;
  periodType: "daily" | "weekly" | "monthly" | "quarterly" | "yearly" | "total";
  predictedBreachDate?: string;
  predictedQuantity: number;
  score?: ForecastScore;
  status: "OK" | "POOLED";
  thresholdId?: string;
  upperBound: number;
  usageType: string;
  usedQuantity: number;
}

export interface ForecastAccuracy {
  breachForecasts: number;
  breachRate?: number;
  brierScore?: number;
  confidenceLevel: number;
  coverage: number;
  forecasts: number;
  maxLeadDays?: number;
  meanAbsoluteError: number;
  meanBreachProbability?: number;
  meanPinballLoss: number;
  meanScaledError?: number;
  minLeadDays: number;
  weightedError?: number;
}

export interface ForecastScore {
  absoluteError: number;
  actualQuantity: number;
  breached?: boolean;
  brierScore?: number;
  covered: boolean;
  pinballLoss: number;
  scaledError?: number;
  scoredAt: string;
}

export interface Interval {
  level: number;
  lower: number;
  upper: number;
}

export interface Job {
  dayFailures: number;
  dayRuns: number;
  failures: number;
  /** Nanoseconds. */
  lastDurationNanos?: number;
  lastError?: string;
  lastRunAt?: string;
  name: string;
  nextRunAt?: string;
  paused: boolean;
  runningUntil?: string;
  runs: number;
  schedule: string[];
}

export interface Key {
  brandIds?: string[];
  createdAt?: string;
  expiresAt?: string;
  id: string;
  lastUsedAt?: string;
  licenseIds?: string[];
  name?: string;
  partyId?: string;
  replacedBy?: string;
  revokedAt?: string;
  role: "admin" | "brand" | "creator" | "ingest";
  scopes?: string[];
}

export interface LaterPeriod {
  intervals: Interval[];
  limit?: Passing;
  limitWithGrace?: Passing;
  periodEnd: string;
  periodStart: string;
  predictedQuantity: number;
}

export interface License {
  assetId: string;
  billingAnchorDay: number;
  brandId: string;
  createdAt: string;
  currency: string;
  deletedAt?: string;
  endDate?: string;
  feeCents?: number;
  id: string;
  name?: string;
  revShareBps: number;
  startDate?: string;
  status: "DRAFT" | "PENDING_APPROVAL" | "PENDING_SIGNATURE" | "ACTIVE" | "EXPIRING_SOON" | "EXPIRED" | "RENEWED" | "TERMINATED" | "DISPUTED" | "CANCELED" | "SUSPENDED";
  timezone: string;
  updatedAt: string;
  usageTrackingEnabled: boolean;
}

export interface LicenseAnswer {
  assetId: string;
  billingAnchorDay: number;
  brandId: string;
  /** What else was created, such as brand:b1 or asset:a1. */
  created: string[];
  createdAt: string;
  currency: string;
  deletedAt?: string;
  endDate?: string;
  feeCents?: number;
  id: string;
  name?: string;
  revShareBps: number;
  startDate?: string;
  status: "DRAFT" | "PENDING_APPROVAL" | "PENDING_SIGNATURE" | "ACTIVE" | "EXPIRING_SOON" | "EXPIRED" | "RENEWED" | "TERMINATED" | "DISPUTED" | "CANCELED" | "SUSPENDED";
  timezone: string;
  updatedAt: string;
  usageTrackingEnabled: boolean;
}

export interface Member {
  cycles?: number[];
  log: boolean;
  method: "AUTO" | "LINEAR_REGRESSION" | "MOVING_AVERAGE" | "EXPONENTIAL_SMOOTHING" | "SEASONAL_DECOMPOSITION" | "NAIVE" | "SEASONAL_NAIVE" | "WEEKDAY_PROFILE" | "SES" | "DAMPED_HOLT" | "ETS" | "THETA" | "TSB" | "SBA" | "PACING";
  weight: number;
}

export interface NewKey {
  key: APIKey;
  /** Send it as Authorization: Bearer SECRET. It is stored as a hash only and never shown again. */
  secret: string;
}

export interface None {}

export interface NotForecast {
  periodType: "daily" | "weekly" | "monthly" | "quarterly" | "yearly" | "total";
  status: string;
  thresholdId?: string;
  usageType: string;
}

export interface Outlook {
  intervals?: Interval[];
  limit?: Passing;
  limitWithGrace?: Passing;
  through?: string;
}

export interface Overage {
  actualQuantity: number;
  approvedAt?: string;
  approvedBy?: string;
  billedAt?: string;
  billedFeeCents?: number;
  calculatedFeeCents: number;
  currency: string;
  detectedAt: string;
  disputedFrom?: "DETECTED" | "PENDING_APPROVAL" | "APPROVED" | "BILLED" | "PAID" | "DISPUTED" | "WAIVED";
  gracePercentage: number;
  id: string;
  licenseId: string;
  limitQuantity: number;
  metadata?: { [key: string]: unknown };
  notes?: string;
  overageQuantity: number;
  /** Decimal cents: a number, or a string where a number would lose digits. */
  overageRateCents?: number | string;
  overageTiers?: Tier[];
  periodEnd: string;
  periodStart: string;
  revision: number;
  settleAt: string;
  settledAt?: string;
  status: "DETECTED" | "PENDING_APPROVAL" | "APPROVED" | "BILLED" | "PAID" | "DISPUTED" | "WAIVED";
  stripeInvoiceId?: string;
  thresholdId: string;
  updatedAt: string;
  usageType: string;
}

export interface OverageNow {
  currency: string;
  feeCents: number;
  /** Decimal cents: a number, or a string where a number would lose digits. */
  overageRateCents?: number | string;
  overageTiers?: Tier[];
  quantity: number;
}

export interface OverageSum {
  count: number;
  status: "DETECTED" | "PENDING_APPROVAL" | "APPROVED" | "BILLED" | "PAID" | "DISPUTED" | "WAIVED";
  totalFeesCents: number;
}

export interface PageAPIKey {
  data: APIKey[];
  /** Give it as cursor for the next page; absent on the last. */
  nextCursor?: string;
}

export interface PageAlert {
  data: Alert[];
  /** Give it as cursor for the next page; absent on the last. */
  nextCursor?: string;
}

export interface PageAsset {
  data: Asset[];
  /** Give it as cursor for the next page; absent on the last. */
  nextCursor?: string;
}

export interface PageAuditEntry {
  data: AuditEntry[];
  /** Give it as cursor for the next page; absent on the last. */
  nextCursor?: string;
}

export interface PageBooks {
  data: Books[];
  /** Give it as cursor for the next page; absent on the last. */
  nextCursor?: string;
}

export interface PageBrand {
  data: Brand[];
  /** Give it as cursor for the next page; absent on the last. */
  nextCursor?: string;
}

export interface PageCreator {
  data: Creator[];
  /** Give it as cursor for the next page; absent on the last. */
  nextCursor?: string;
}

export interface PageEvent {
  data: Event[];
  /** Give it as cursor for the next page; absent on the last. */
  nextCursor?: string;
}

export interface PageEvidence {
  data: Evidence[];
  /** Give it as cursor for the next page; absent on the last. */
  nextCursor?: string;
}

export interface PageForecast {
  data: Forecast[];
  /** Give it as cursor for the next page; absent on the last. */
  nextCursor?: string;
}

export interface PageJob {
  data: Job[];
  /** Give it as cursor for the next page; absent on the last. */
  nextCursor?: string;
}

export interface PageLicense {
  data: License[];
  /** Give it as cursor for the next page; absent on the last. */
  nextCursor?: string;
}

export interface PageOverage {
  data: Overage[];
  /** Give it as cursor for the next page; absent on the last. */
  nextCursor?: string;
}

export interface PageThreshold {
  data: Threshold[];
  /** Give it as cursor for the next page; absent on the last. */
  nextCursor?: string;
}

export interface Passing {
  early?: string;
  late?: string;
  median?: string;
  probability: number;
}

export interface PeriodComparison {
  byType: { [key: string]: TypeComparison };
  change: Changes;
  currency: string;
  current: PeriodUsage;
  licenseId: string;
  notes?: string[];
  previous: PeriodUsage;
  timezone: string;
  uniqueSessionsChange?: Change;
}

export interface PeriodUsage {
  byType: { [key: string]: Tally };
  end: string;
  endDate: string;
  events: number;
  quantity: number;
  revenueCents: number;
  start: string;
  startDate: string;
  uniqueSessions: number | null;
}

export interface Recalculation {
  changed: number;
  counters: number;
  days: number;
  endDate: string;
  events: number;
  licenseId: string;
  sealed: string[];
  startDate: string;
}

export interface Result {
  duplicate: boolean;
  error?: EventError;
  eventId?: string;
  idempotencyKey?: string;
  licenseId?: string;
  status: "COUNTED" | "VOIDED" | "BLOCKED" | "OUT_OF_TERM" | "REFUSED";
  tracked: boolean;
  usage?: Usage[];
}

export interface SchemaFault {
  fix: string;
  kind: string;
  name: string;
  problem: string;
  vital: boolean;
}

export interface SchemaState {
  /** Empty when all is there. */
  faults: SchemaFault[];
}

export interface Share {
  creatorId: string;
  from?: string;
  shareBps: number;
  to?: string;
}

export interface Step {
  detail: string;
  fix?: string;
  name: string;
  ok: boolean;
}

export interface Tally {
  events: number;
  quantity: number;
  revenueCents: number;
}

export interface Threshold {
  allowOverage: boolean;
  byBrand?: boolean;
  createdAt: string;
  effectiveFrom: string;
  gracePercentage: number;
  id: string;
  isActive: boolean;
  lastWarningAt?: string;
  lastWarningLevel?: number;
  licenseId: string;
  limitQuantity: number;
  /** Decimal cents: a number, or a string where a number would lose digits. */
  overageRateCents?: number | string;
  overageTiers?: Tier[];
  periodType: "daily" | "weekly" | "monthly" | "quarterly" | "yearly" | "total";
  retiredAt?: string;
  updatedAt: string;
  usageType: string;
  warningLevels: number[];
}

export interface ThresholdCheck {
  /** Active thresholds looked at. */
  checked: number;
  licenseId: string;
  /** No threshold has reached a warning level. */
  ok: boolean;
  /** Those that have reached a warning level or their limit. */
  thresholds: ThresholdStatus[];
}

export interface ThresholdStatus {
  allowOverage: boolean;
  effectiveFrom: string;
  gracePercentage: number;
  isActive: boolean;
  lastWarningAt?: string;
  level: number;
  licenseId: string;
  limitQuantity: number;
  limitWithGrace: number;
  overage?: OverageNow;
  percent: number;
  periodEnd?: string;
  periodEndAt?: string;
  periodStart?: string;
  periodStartAt?: string;
  periodType: "daily" | "weekly" | "monthly" | "quarterly" | "yearly" | "total";
  remaining: number;
  status: "ok" | "warning" | "limit_reached" | "grace" | "blocked" | "overage";
  thresholdId: string;
  usageType: string;
  used: number;
  warningLevels: number[];
}

export interface ThresholdStatuses {
  licenseId: string;
  thresholds: ThresholdStatus[];
}

export interface Tier {
  /** Decimal cents: a number, or a string where a number would lose digits. */
  rateCents: number | string;
  /** The last unit that costs this rate; left out or 0 on the last tier, which has no bound. */
  upTo?: number;
}

export interface TotalInput {
  /** A local day of the licence, YYYY-MM-DD, today at the latest. */
  date: string;
  /** How many events the total is of; kept as metadata, since a total counts as one. */
  events?: number;
  /** The licence; that of the request when left out. */
  licenseId?: string;
  /** Where in the source it stands. */
  line?: number;
  /** Units of the whole day; 0 takes an earlier total back. */
  quantity: number | null;
  /** Revenue of the whole day, in cents. */
  revenueCents?: number;
  /** The usage type. */
  usageType: string;
}

export interface TotalResult {
  duplicate: boolean;
  error?: EventError;
  eventId?: string;
  idempotencyKey?: string;
  licenseId?: string;
  revision?: number;
  status: "COUNTED" | "VOIDED" | "BLOCKED" | "OUT_OF_TERM" | "REFUSED";
  tracked: boolean;
  usage?: Usage[];
  voidedEvent?: string;
}

export interface Totals {
  byType: { [key: string]: Tally };
  events: number;
  quantity: number;
  revenueCents: number;
}

export interface Trend {
  buckets: number;
  direction: string;
  slope: number;
}

export interface Trends {
  byType: { [key: string]: Trend };
  total: Trend;
}

export interface TypeComparison {
  change: Changes;
  current: Tally;
  previous: Tally;
}

export interface Usage {
  limit: number;
  periodStart?: string;
  remaining: number;
  thresholdId: string;
  usageType: string;
  used: number;
}

export interface UsageBreakdown {
  currency: string;
  dimensions: DimensionUsage[];
  end: string;
  endDate: string;
  licenseId: string;
  notes?: string[];
  start: string;
  startDate: string;
  timezone: string;
  totals: Totals;
}

export interface Value {
  events: number;
  quantity: number;
  revenueCents: number;
  sharePercent: number;
  value: string;
}

export interface Verdict {
  allowed: boolean;
  error?: EventError;
  usage?: Usage[];
  usageType: string;
}

export interface WindowUsage {
  byType: { [key: string]: Tally };
  end: string;
  endAt: string;
  events: number;
  periodType: "daily" | "weekly" | "monthly" | "quarterly" | "yearly" | "total";
  quantity: number;
  revenueCents: number;
  start: string;
  startAt: string;
}

export interface Procedures {
  audit: {
    /** The audit trail: who changed what, when and why. */
    list: TRPCQueryProcedure<{ input: {
      /** nextCursor of the page before; empty for the first. */
      cursor?: string;
      /** Only about this licence. */
      licenseId?: string;
      /** Rows of a page; 100 unless told. */
      limit?: number;
      /** Only about this thing: a licence, threshold, overage, event or key id. */
      subject?: string;
    } | void; output: PageAuditEntry; meta: object }>;
    /** The audit trail of a licence. */
    listLicense: TRPCQueryProcedure<{ input: {
      /** nextCursor of the page before; empty for the first. */
      cursor?: string;
      /** The licence's id. */
      licenseId: string;
      /** Rows of a page; 100 unless told. */
      limit?: number;
      /** Only about this thing. */
      subject?: string;
    }; output: PageAuditEntry; meta: object }>;
  };
  catalog: {
    /** Create or change a licence. */
    putLicense: TRPCMutationProcedure<{ input: {
      /** Needed when new; an asset not seen before is created. Fixed once usage exists. */
      assetId?: string;
      /** Day of the month on which periods begin. Fixed once usage exists. */
      billingAnchorDay?: number;
      /** Needed when new; a brand not seen before is created. Fixed once usage exists. */
      brandId?: string;
      /** ISO 4217. Fixed once usage exists. */
      currency?: string;
      /** null restores a deleted licence. */
      deletedAt?: string | Date | null;
      /** Last local day of the term, or an instant (exclusive); open when left out. */
      endDate?: string | Date;
      /** Fee per term, in cents. */
      feeCents?: number;
      /** Your own id of it. */
      id: string;
      name?: string;
      /** The creators' share of revenue, in basis points. */
      revShareBps?: number;
      /** First local day of the term, or an instant; open when left out. */
      startDate?: string | Date;
      /** Needed when new. */
      status?: "DRAFT" | "PENDING_APPROVAL" | "PENDING_SIGNATURE" | "ACTIVE" | "EXPIRING_SOON" | "EXPIRED" | "RENEWED" | "TERMINATED" | "DISPUTED" | "CANCELED" | "SUSPENDED";
      /** IANA zone, whose days and months count. Fixed once usage exists. */
      timezone?: string;
      usageTrackingEnabled?: boolean;
    }; output: LicenseAnswer; meta: object }>;
    /** One licence. */
    getLicense: TRPCQueryProcedure<{ input: {
      /** Its id. */
      id: string;
    }; output: License; meta: object }>;
    /** List licences. */
    listLicenses: TRPCQueryProcedure<{ input: {
      /** Only of this asset. */
      assetId?: string;
      /** Only of this brand. */
      brandId?: string;
      /** nextCursor of the page before; empty for the first. */
      cursor?: string;
      /** Deleted ones too. */
      deleted?: boolean;
      /** Rows of a page; 100 unless told. */
      limit?: number;
      /** Only of this status. */
      status?: "DRAFT" | "PENDING_APPROVAL" | "PENDING_SIGNATURE" | "ACTIVE" | "EXPIRING_SOON" | "EXPIRED" | "RENEWED" | "TERMINATED" | "DISPUTED" | "CANCELED" | "SUSPENDED";
    } | void; output: PageLicense; meta: object }>;
    /** Mark a licence deleted. */
    deleteLicense: TRPCMutationProcedure<{ input: {
      /** Its id. */
      id: string;
    }; output: License; meta: object }>;
    /** Create or change a brand. */
    putBrand: TRPCMutationProcedure<{ input: {
      /** Your own id of it. */
      id: string;
      /** Its id when new and left out. */
      name?: string;
    }; output: Brand; meta: object }>;
    /** One brand. */
    getBrand: TRPCQueryProcedure<{ input: {
      /** Its id. */
      id: string;
    }; output: Brand; meta: object }>;
    /** List brands. */
    listBrands: TRPCQueryProcedure<{ input: {
      /** nextCursor of the page before; empty for the first. */
      cursor?: string;
      /** Rows of a page; 100 unless told. */
      limit?: number;
    } | void; output: PageBrand; meta: object }>;
    /** Create or change a creator. */
    putCreator: TRPCMutationProcedure<{ input: {
      email?: string;
      /** Your own id of it. */
      id: string;
      /** Its id when new and left out. */
      name?: string;
    }; output: Creator; meta: object }>;
    /** One creator. */
    getCreator: TRPCQueryProcedure<{ input: {
      /** Its id. */
      id: string;
    }; output: Creator; meta: object }>;
    /** List creators. */
    listCreators: TRPCQueryProcedure<{ input: {
      /** nextCursor of the page before; empty for the first. */
      cursor?: string;
      /** Rows of a page; 100 unless told. */
      limit?: number;
    } | void; output: PageCreator; meta: object }>;
    /** Create or change an asset. */
    putAsset: TRPCMutationProcedure<{ input: {
      /** Your own id of it. */
      id: string;
      /** Its id when new and left out. */
      name?: string;
      /** Who owns it; on each date the shares sum to 10,000 basis points. Creators not seen before are created. */
      owners?: Share[];
      /** What it is, such as photo. */
      type?: string;
    }; output: AssetAnswer; meta: object }>;
    /** One asset. */
    getAsset: TRPCQueryProcedure<{ input: {
      /** Its id. */
      id: string;
    }; output: Asset; meta: object }>;
    /** List assets. */
    listAssets: TRPCQueryProcedure<{ input: {
      /** nextCursor of the page before; empty for the first. */
      cursor?: string;
      /** Rows of a page; 100 unless told. */
      limit?: number;
    } | void; output: PageAsset; meta: object }>;
  };
  jobs: {
    /** The jobs: schedule, pauses, last runs. */
    list: TRPCQueryProcedure<{ input: {} | void; output: PageJob; meta: object }>;
    /** Run a job now, and wait for its end. */
    run: TRPCMutationProcedure<{ input: {
      /** The job's name. */
      name: string;
      /** Kept in the audit trail. */
      reason?: string;
    }; output: Job; meta: object }>;
    /** Stop a job's schedule, on every node, over restarts. */
    pause: TRPCMutationProcedure<{ input: {
      /** The job's name. */
      name: string;
      /** Kept in the audit trail. */
      reason?: string;
    }; output: Job; meta: object }>;
    /** Take up a job's schedule again. */
    resume: TRPCMutationProcedure<{ input: {
      /** The job's name. */
      name: string;
      /** Kept in the audit trail. */
      reason?: string;
    }; output: Job; meta: object }>;
  };
  keys: {
    /** Make an API key. */
    create: TRPCMutationProcedure<{ input: {
      /** Brands that an ingest key may send for; all when neither these nor licenseIds are given. */
      brandIds?: string[];
      expiresAt?: string | Date;
      /** Licences that an ingest key may send for. */
      licenseIds?: string[];
      /** What it is for. */
      name?: string;
      /** The brand or creator of a key of that role. */
      partyId?: string;
      role: "admin" | "brand" | "creator" | "ingest";
      /** backdate: events older than the late grace. */
      scopes?: "backdate"[];
    }; output: NewKey; meta: object }>;
    /** List API keys, revoked ones too. */
    list: TRPCQueryProcedure<{ input: {
      /** nextCursor of the page before; empty for the first. */
      cursor?: string;
      /** Rows of a page; 100 unless told. */
      limit?: number;
    } | void; output: PageAPIKey; meta: object }>;
    /** The key that asks. */
    self: TRPCQueryProcedure<{ input: {} | void; output: Key; meta: object }>;
    /** End a key at once. */
    revoke: TRPCMutationProcedure<{ input: {
      /** The key's id (not its secret). */
      keyId: string;
    }; output: APIKey; meta: object }>;
    /** Replace a key by a new one of the same role and bindings. */
    rotate: TRPCMutationProcedure<{ input: {
      /** When the new key ends; after as long a life as the old one was made for when left out. */
      expiresAt?: string | Date;
      /** The key's id (not its secret). */
      keyId: string;
      /** How long the old key goes on, so that clients can change over; 0 unless told. */
      overlapSeconds?: number;
    }; output: NewKey; meta: object }>;
  };
  usage: {
    /** Count one event. */
    trackEvent: TRPCMutationProcedure<{ input: {
      deviceType?: "desktop" | "mobile" | "tablet" | "tv" | "other";
      /** Country, region or place, as you name them. */
      geographicLocation?: string;
      /** Makes a retry safe: within the licence a key counts once. Made and returned when left out. */
      idempotencyKey?: string;
      /** The licence under which the use happened. */
      licenseId: string;
      /** An object of your own, at most 8 KiB of JSON. */
      metadata?: { [key: string]: unknown };
      /** RFC 3339 with any offset, kept to the microsecond; at most five minutes ahead. The server's clock when left out. */
      occurredAt?: string | Date;
      platform?: "web" | "mobile" | "tv" | "print" | "social" | "other";
      /** Units; a whole number in digits. */
      quantity?: number;
      /** Where the use came from; its host is the source in breakdowns. */
      referrer?: string;
      /** Revenue that the use brought, in cents. */
      revenueCents?: number;
      /** Kept as a keyed hash only, for unique sessions. */
      sessionId?: string;
      /** view, download, impression, click, play, stream, print, custom, or any slug of your own. */
      usageType: string;
    }; output: Result; meta: object }>;
    /** Count one event. */
    trackUsageEvent: TRPCMutationProcedure<{ input: {
      deviceType?: "desktop" | "mobile" | "tablet" | "tv" | "other";
      /** Country, region or place, as you name them. */
      geographicLocation?: string;
      /** Makes a retry safe: within the licence a key counts once. Made and returned when left out. */
      idempotencyKey?: string;
      /** The licence under which the use happened. */
      licenseId: string;
      /** An object of your own, at most 8 KiB of JSON. */
      metadata?: { [key: string]: unknown };
      /** RFC 3339 with any offset, kept to the microsecond; at most five minutes ahead. The server's clock when left out. */
      occurredAt?: string | Date;
      platform?: "web" | "mobile" | "tv" | "print" | "social" | "other";
      /** Units; a whole number in digits. */
      quantity?: number;
      /** Where the use came from; its host is the source in breakdowns. */
      referrer?: string;
      /** Revenue that the use brought, in cents. */
      revenueCents?: number;
      /** Kept as a keyed hash only, for unique sessions. */
      sessionId?: string;
      /** view, download, impression, click, play, stream, print, custom, or any slug of your own. */
      usageType: string;
    }; output: Result; meta: object }>;
    /** Count up to 10,000 events. */
    trackBatch: TRPCMutationProcedure<{ input: {
      /** Count all or none. */
      atomic?: boolean;
      events: EventInput[];
    }; output: BatchResult; meta: object }>;
    /** Take a counted event back. */
    voidEvent: TRPCMutationProcedure<{ input: {
      /** The id that the event was answered with. */
      eventId?: string;
      /** Or the key it was sent with. */
      idempotencyKey?: string;
      /** The licence's id. */
      licenseId: string;
      /** Kept in the audit trail. */
      reason?: string;
    }; output: Result; meta: object }>;
    /** Ask whether so many more units would fit. */
    checkUsage: TRPCQueryProcedure<{ input: {
      /** When the use would happen; now unless told. */
      at?: string | Date;
      /** The licence's id. */
      licenseId: string;
      /** Units; 1 unless told. */
      quantity?: number;
      /** The usage type. */
      usageType: string;
    }; output: Check; meta: object }>;
    /** Count a test event, and take it back. */
    selfTest: TRPCMutationProcedure<{ input: {} | void; output: None; meta: object }>;
    /** Compare the database's tables, views and indexes with those that it must have. */
    checkSchema: TRPCQueryProcedure<{ input: {} | void; output: SchemaState; meta: object }>;
    /** List counted events and voids. */
    listEvents: TRPCQueryProcedure<{ input: {
      /** nextCursor of the page before; empty for the first. */
      cursor?: string;
      /** Last local day, inclusive. */
      endDate?: string;
      /** The licence's id. */
      licenseId: string;
      /** Rows of a page; 100 unless told. */
      limit?: number;
      /** First local day. */
      startDate?: string;
      /** COUNTED or VOIDED of events; BLOCKED, OUT_OF_TERM or REFUSED of evidence. */
      status?: "COUNTED" | "VOIDED" | "BLOCKED" | "OUT_OF_TERM" | "REFUSED";
      /** Only this usage type. */
      usageType?: string;
    }; output: PageEvent; meta: object }>;
    /** List attempts that were not counted. */
    listEvidence: TRPCQueryProcedure<{ input: {
      /** nextCursor of the page before; empty for the first. */
      cursor?: string;
      /** Last local day, inclusive. */
      endDate?: string;
      /** The licence's id. */
      licenseId: string;
      /** Rows of a page; 100 unless told. */
      limit?: number;
      /** First local day. */
      startDate?: string;
      /** COUNTED or VOIDED of events; BLOCKED, OUT_OF_TERM or REFUSED of evidence. */
      status?: "COUNTED" | "VOIDED" | "BLOCKED" | "OUT_OF_TERM" | "REFUSED";
      /** Only this usage type. */
      usageType?: string;
    }; output: PageEvidence; meta: object }>;
    /** What is used today, in the current billing month, and in all. */
    getCurrentUsage: TRPCQueryProcedure<{ input: {
      /** The licence's id. */
      licenseId: string;
      /** One usage type; all when left out. */
      usageType?: string;
    }; output: CurrentUsage; meta: object }>;
    /** Usage by hour, platform, device, geography and source. */
    getUsageBreakdown: TRPCQueryProcedure<{ input: {
      /** All that are known for the range when left out. */
      dimensions?: ("hour" | "platform" | "device" | "geography" | "source")[];
      /** A local date, inclusive, or a timestamp, exclusive; today when left out. */
      endDate?: string | Date;
      /** The licence's id. */
      licenseId: string;
      /** Values of each dimension; 50 unless told. */
      limit?: number;
      /** A local date YYYY-MM-DD of the licence, or an RFC 3339 timestamp on a whole hour; 30 days before the end when left out. */
      startDate?: string | Date;
      /** One usage type; all when neither this nor usageTypes is given. */
      usageType?: string;
      /** Several usage types. */
      usageTypes?: string[];
    }; output: UsageBreakdown; meta: object }>;
    /** Usage over time: buckets, trends, top values, comparison. */
    getAnalytics: TRPCQueryProcedure<{ input: {
      /** Compare with the range of equal length before; true unless told. */
      comparePrevious?: boolean;
      /** A local date, inclusive, or a timestamp, exclusive; today when left out. */
      endDate?: string | Date;
      /** Length of the buckets; daily unless told. */
      granularity?: "hourly" | "daily" | "weekly" | "monthly";
      /** The licence's id. */
      licenseId: string;
      /** A local date YYYY-MM-DD of the licence, or an RFC 3339 timestamp on a whole hour; 30 days before the end when left out. */
      startDate?: string | Date;
      /** Values of each top list; 10 unless told. */
      top?: number;
      /** One usage type; all when neither this nor usageTypes is given. */
      usageType?: string;
      /** Several usage types. */
      usageTypes?: string[];
    }; output: Analytics; meta: object }>;
    /** Two ranges side by side. */
    comparePeriods: TRPCQueryProcedure<{ input: {
      /** A local date, inclusive, or a timestamp, exclusive; today when left out. */
      endDate?: string | Date;
      /** The licence's id. */
      licenseId: string;
      previousEndDate?: string | Date;
      /** The range to compare with; the one of equal length before when left out. */
      previousStartDate?: string | Date;
      /** A local date YYYY-MM-DD of the licence, or an RFC 3339 timestamp on a whole hour; 30 days before the end when left out. */
      startDate?: string | Date;
      /** One usage type; all when neither this nor usageTypes is given. */
      usageType?: string;
      /** Several usage types. */
      usageTypes?: string[];
    }; output: PeriodComparison; meta: object }>;
    /** A row for each local day on which anything was counted. */
    getDailyAggregates: TRPCQueryProcedure<{ input: {
      /** Last local date, inclusive; today when left out. */
      endDate?: string;
      /** The licence's id. */
      licenseId: string;
      /** First local date; 30 days before the end when left out. */
      startDate?: string;
    }; output: DailyUsage; meta: object }>;
    /** Recompute daily aggregates and counters from raw events. */
    recalculateAggregates: TRPCMutationProcedure<{ input: {
      /** Last local day, inclusive (a timestamp is exclusive). */
      endDate: string | Date;
      /** The licence's id. */
      licenseId: string;
      /** First local day. */
      startDate: string | Date;
    }; output: Recalculation; meta: object }>;
    /** How far folding has come, and what is stored. */
    getAggregationStatus: TRPCQueryProcedure<{ input: {} | void; output: AggregationStatus; meta: object }>;
    /** What came in during the last week, what was aggregated, warned and charged. */
    getActivity: TRPCQueryProcedure<{ input: {} | void; output: Activity; meta: object }>;
    /** Compare rollups with raw events, counters with usage, overages with counters. */
    checkBooks: TRPCQueryProcedure<{ input: {
      /** All days whose raw events are kept, instead. */
      all?: boolean;
      /** nextCursor of the page before; empty for the first. */
      cursor?: string;
      /** Local days back, today included; 35 unless told. */
      days?: number;
      /** Rows of a page; 100 unless told. */
      limit?: number;
    } | void; output: PageBooks; meta: object }>;
    /** Count daily totals, or rebuild a long range from raw events. */
    backfillAggregates: TRPCMutationProcedure<{ input: {
      /** Last local day to rebuild, inclusive (a timestamp is exclusive). */
      endDate?: string | Date;
      /** The licence of the range, and of totals that name none. */
      licenseId?: string;
      /** Where the totals are from, such as a file. One source that gives two totals for a day is refused the second, which else would correct the first. */
      source?: string;
      /** First local day to rebuild from raw events. */
      startDate?: string | Date;
      /** Daily totals to count. */
      totals?: TotalInput[];
    } | void; output: BackfillAnswer; meta: object }>;
    /** How far the licence's last rebuild from raw events is. */
    getBackfill: TRPCQueryProcedure<{ input: {
      /** The licence's id. */
      licenseId: string;
    }; output: BackfillState; meta: object }>;
    /** Put a limit, a price or an alarm in force. */
    createThreshold: TRPCMutationProcedure<{ input: {
      /** false: usage past the limit with grace is blocked. */
      allowOverage?: boolean;
      /** Percent of the limit that is tolerated beyond it. */
      gracePercentage?: number;
      /** The licence's id. */
      licenseId: string;
      /** Units per period. */
      limitQuantity: number;
      /** Cents per unit of overage; without it and without tiers allowOverage only alerts. */
      overageRateCents?: number | string;
      /** Graduated rates instead of the one. */
      overageTiers?: Tier[];
      /** How long a period is. */
      periodType: "daily" | "weekly" | "monthly" | "quarterly" | "yearly" | "total";
      /** A usage type, or all; all when left out. */
      usageType?: string;
      /** Percents of limitQuantity that raise an alert; 50, 75, 90 and 100 when left out. */
      warningLevels?: number[];
    }; output: Threshold; meta: object }>;
    /** Change a threshold. */
    updateThreshold: TRPCMutationProcedure<{ input: {
      allowOverage?: boolean;
      gracePercentage?: number;
      /** false retires the threshold. */
      isActive?: boolean;
      limitQuantity?: number;
      /** null takes the rate away. */
      overageRateCents?: number | string | null;
      /** null takes the tiers away. */
      overageTiers?: Tier[] | null;
      thresholdId: string;
      warningLevels?: number[];
    }; output: Threshold; meta: object }>;
    /** Retire a threshold. */
    retireThreshold: TRPCMutationProcedure<{ input: {
      /** The threshold's id. */
      thresholdId: string;
    }; output: Threshold; meta: object }>;
    /** One threshold. */
    getThreshold: TRPCQueryProcedure<{ input: {
      /** The threshold's id. */
      thresholdId: string;
    }; output: Threshold; meta: object }>;
    /** List thresholds. */
    listThresholds: TRPCQueryProcedure<{ input: {
      /** nextCursor of the page before; empty for the first. */
      cursor?: string;
      /** Retired ones too. */
      inactive?: boolean;
      /** Only of this licence. */
      licenseId?: string;
      /** Rows of a page; 100 unless told. */
      limit?: number;
      /** Only of this usage type. */
      usageType?: string;
    } | void; output: PageThreshold; meta: object }>;
    /** List the thresholds of a licence. */
    listLicenseThresholds: TRPCQueryProcedure<{ input: {
      /** nextCursor of the page before; empty for the first. */
      cursor?: string;
      /** Retired ones too. */
      inactive?: boolean;
      /** The licence's id. */
      licenseId: string;
      /** Rows of a page; 100 unless told. */
      limit?: number;
      /** Only of this usage type. */
      usageType?: string;
    }; output: PageThreshold; meta: object }>;
    /** How near the limits are: used, remaining, percent. */
    getThresholdStatus: TRPCQueryProcedure<{ input: {
      /** The licence's id. */
      licenseId: string;
      /** Only this one; every active one when left out. */
      thresholdId?: string;
    }; output: ThresholdStatuses; meta: object }>;
    /** The thresholds that call for attention. */
    checkThresholds: TRPCQueryProcedure<{ input: {
      /** The licence's id. */
      licenseId: string;
    }; output: ThresholdCheck; meta: object }>;
    /** List alerts, newest first. */
    listAlerts: TRPCQueryProcedure<{ input: {
      /** nextCursor of the page before; empty for the first. */
      cursor?: string;
      kind?: "threshold" | "overage" | "forecast" | "spike" | "drop" | "flat" | "concentration";
      /** Only of this licence. */
      licenseId?: string;
      /** Rows of a page; 100 unless told. */
      limit?: number;
      /** Only those not acknowledged. */
      unread?: boolean;
    } | void; output: PageAlert; meta: object }>;
    /** Mark an alert as seen. */
    acknowledgeAlert: TRPCMutationProcedure<{ input: {
      /** The alert's id. */
      alertId: string;
      /** Kept in the audit trail. */
      reason?: string;
    }; output: Alert; meta: object }>;
    /** Forecast a licence's current periods now. */
    generateForecast: TRPCMutationProcedure<{ input: {
      /** How many of a hundred totals lie between lowerBound and upperBound; 80 unless told. */
      confidencePercent?: number;
      /** Further periods after the current one; none unless told. */
      later?: number;
      /** The licence's id. */
      licenseId: string;
      /** AUTO unless told; see the docs of forecasts. */
      method?: "AUTO" | "LINEAR_REGRESSION" | "MOVING_AVERAGE" | "EXPONENTIAL_SMOOTHING" | "SEASONAL_DECOMPOSITION" | "NAIVE" | "SEASONAL_NAIVE" | "WEEKDAY_PROFILE" | "SES" | "DAMPED_HOLT" | "ETS" | "THETA" | "TSB" | "SBA" | "PACING";
      /** Likewise; monthly where no threshold says. */
      periodType?: "daily" | "weekly" | "monthly" | "quarterly" | "yearly" | "total";
      /** Only of this threshold; of every active one when left out. */
      thresholdId?: string;
      /** A usage type, or all: only of its thresholds, or, without any, of its usage. */
      usageType?: string;
    }; output: Answer; meta: object }>;
    /** List forecasts, newest first. */
    getForecasts: TRPCQueryProcedure<{ input: {
      /** nextCursor of the page before; empty for the first. */
      cursor?: string;
      /** Only the newest of each licence, threshold and usage type. */
      latest?: boolean;
      /** Only of this licence. */
      licenseId?: string;
      /** Rows of a page; 100 unless told. */
      limit?: number;
      /** Only of this threshold. */
      thresholdId?: string;
      /** Only of this usage type, or of all. */
      usageType?: string;
    } | void; output: PageForecast; meta: object }>;
    /** How good the forecasts were. */
    getForecastAccuracy: TRPCQueryProcedure<{ input: {
      /** Only periods that ended on this day or before. */
      endDate?: string;
      /** Only of this licence. */
      licenseId?: string;
      /** Only periods that ended on this day or later. */
      startDate?: string;
      /** Only of this usage type, or of all. */
      usageType?: string;
    } | void; output: Accuracy; meta: object }>;
    /** List overages, newest first. */
    getOverages: TRPCQueryProcedure<{ input: {
      /** nextCursor of the page before; empty for the first. */
      cursor?: string;
      /** Only of this licence. */
      licenseId?: string;
      /** Rows of a page; 100 unless told. */
      limit?: number;
      status?: "DETECTED" | "PENDING_APPROVAL" | "APPROVED" | "BILLED" | "PAID" | "DISPUTED" | "WAIVED";
      /** Only of this threshold. */
      thresholdId?: string;
    } | void; output: PageOverage; meta: object }>;
    /** One overage. */
    getOverage: TRPCQueryProcedure<{ input: {
      /** The overage's id. */
      overageId: string;
    }; output: Overage; meta: object }>;
    /** Approve an overage that is PENDING_APPROVAL. */
    approveOverage: TRPCMutationProcedure<{ input: {
      /** The overage's id. */
      overageId: string;
      /** Kept on the overage and in the audit trail; at most 2,000 bytes. */
      reason?: string;
    }; output: Overage; meta: object }>;
    /** Object to an overage, within 30 days. */
    disputeOverage: TRPCMutationProcedure<{ input: {
      /** The overage's id. */
      overageId: string;
      /** Kept on the overage and in the audit trail; at most 2,000 bytes. */
      reason: string;
    }; output: Overage; meta: object }>;
    /** End a dispute: the overage stands. */
    resolveOverage: TRPCMutationProcedure<{ input: {
      /** The overage's id. */
      overageId: string;
      /** Kept on the overage and in the audit trail; at most 2,000 bytes. */
      reason: string;
    }; output: Overage; meta: object }>;
    /** Give an overage up. */
    waiveOverage: TRPCMutationProcedure<{ input: {
      /** The overage's id. */
      overageId: string;
      /** Kept on the overage and in the audit trail; at most 2,000 bytes. */
      reason: string;
    }; output: Overage; meta: object }>;
    /** What would happen to an event of this licence now, and why. */
    explainLicense: TRPCQueryProcedure<{ input: {
      /** The licence's id. */
      licenseId: string;
    }; output: Explanation; meta: object }>;
  };
}

interface Root<Transformer extends boolean> {
  ctx: object;
  meta: object;
  errorShape: ErrorShape;
  transformer: Transformer;
}

type Plain<T> = { [K in keyof T]: { [P in keyof T[K]]: T[K][P] } };

/** For clients without a transformer. A request holds at most 100 calls: give httpBatchLink maxItems: 100. */
export type AppRouter = TRPCBuiltRouter<Root<false>, Plain<Procedures>>;

/**
 * For clients with transformer: superjson. Times are strings here as well. A request holds at most 100 calls: give
 * httpBatchLink maxItems: 100.
 */
export type AppRouterSuperJSON = TRPCBuiltRouter<Root<true>, Plain<Procedures>>;
