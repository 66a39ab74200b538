package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/usance/usance"
	"github.com/usance/usance/store/postgres/pgtest"
)

// The SQL of the deployment guide, as it stands there.
const (
	guideEnable = `-- Enable usage tracking on all active licenses
UPDATE licenses
SET usage_tracking_enabled = TRUE
WHERE status = 'ACTIVE'
  AND deleted_at IS NULL;`

	guideEnabled = `-- Verify
SELECT 
  COUNT(*) as total_licenses,
  SUM(CASE WHEN usage_tracking_enabled THEN 1 ELSE 0 END) as tracking_enabled
FROM licenses
WHERE deleted_at IS NULL;`

	guideHealth = `-- Daily usage tracking health check
SELECT 
  current_date as check_date,
  COUNT(DISTINCT license_id) as licenses_tracked,
  SUM(total_quantity) as total_usage_today,
  COUNT(*) as daily_aggregates_created
FROM license_usage_daily_aggregates
WHERE date = current_date;`

	guideDisable = `-- 1. Disable usage tracking
UPDATE licenses SET usage_tracking_enabled = FALSE;`

	guideEvents = `-- Check event ingestion
SELECT 
  DATE(occurred_at) as date,
  COUNT(*) as events,
  COUNT(DISTINCT license_id) as unique_licenses
FROM license_usage_events
WHERE occurred_at >= NOW() - INTERVAL '7 days'
GROUP BY DATE(occurred_at)
ORDER BY date DESC;`

	guideAggregation = `-- Check aggregation completeness
SELECT date, COUNT(*) as licenses_aggregated
FROM license_usage_daily_aggregates
WHERE date >= CURRENT_DATE - INTERVAL '7 days'
GROUP BY date
ORDER BY date DESC;`

	guideThresholds = `-- Check threshold activity
SELECT 
  COUNT(*) as active_thresholds,
  COUNT(CASE WHEN last_warning_at >= NOW() - INTERVAL '24 hours' THEN 1 END) as warnings_sent_24h
FROM license_usage_thresholds
WHERE is_active = TRUE;`

	guideOverages = `-- Check overage detection
SELECT 
  status,
  COUNT(*) as count,
  SUM(calculated_fee_cents) / 100.0 as total_fees
FROM license_usage_overages
GROUP BY status;`
)

// operator is a person at psql.
type operator struct {
	t    *testing.T
	conn *pgx.Conn
}

func newOperator(t *testing.T, url string) *operator {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return &operator{t, conn}
}

// run gives the rows of the last statement, as psql prints them.
func (o *operator) run(sql string) []string {
	o.t.Helper()
	results, err := o.conn.PgConn().Exec(o.t.Context(), sql).ReadAll()
	if err != nil {
		o.t.Fatalf("%s: %v", sql, err)
	}
	var out []string
	for _, row := range results[len(results)-1].Rows {
		cells := make([]string, len(row))
		for i := range row {
			cells[i] = string(row[i])
		}
		out = append(out, strings.Join(cells, "|"))
	}
	return out
}

// answers wants a query to give these rows.
func (o *operator) answers(sql string, want ...string) {
	o.t.Helper()
	if diff := cmp.Diff(want, o.run(sql)); diff != "" {
		o.t.Errorf("%s\n(-want +got)\n%s", sql, diff)
	}
}

// noon is a zone in which it is about noon, so that no day ends during a test.
func noon(now time.Time) string {
	offset := 12 - now.UTC().Hour()
	if offset == 0 {
		return "UTC"
	}
	return fmt.Sprintf("Etc/GMT%+d", -offset) // signs are turned in these names
}

// The guide's SQL runs as it stands, with answers that were worked out by hand,
// and what it changes holds for the next event.
func TestGuideSQL(t *testing.T) {
	t.Parallel()
	url := pgtest.EmptyURL(t)
	s := startNode(t, url, "USANCE_LOG_LEVEL=warn")
	await(t, s.isReady)
	o := newOperator(t, url)
	zone := noon(time.Now())
	o.run(fmt.Sprintf("SET timezone = '%s'", zone))
	o.run(fmt.Sprintf(`INSERT INTO licenses (id, brand_id, asset_id, status, timezone, usage_tracking_enabled, deleted_at) VALUES
		('l1', 'b', 'a', 'ACTIVE',    '%[1]s', FALSE, NULL),
		('l2', 'b', 'a', 'ACTIVE',    '%[1]s', FALSE, now()),
		('l3', 'b', 'a', 'SUSPENDED', '%[1]s', FALSE, NULL),
		('l4', 'b', 'a', 'ACTIVE',    '%[1]s', FALSE, NULL)`, zone))

	location, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	today := time.Now().In(location)
	day := func(ago int) string { return today.AddDate(0, 0, -ago).Format(time.DateOnly) }
	sent := 0
	send := func(license, usageType string, units, ago int) usance.Result {
		t.Helper()
		sent++
		// Not later than now, and on the day meant: it is about noon.
		at := today.AddDate(0, 0, -ago).Format(time.RFC3339)
		var r usance.Result
		s.must("POST", "/v1/events", fmt.Sprintf(`{"licenseId":%q,"usageType":%q,"quantity":%d,"occurredAt":%q,"idempotencyKey":"k%d"}`, license, usageType, units, at, sent), &r)
		return r
	}
	refused := func(r usance.Result) bool {
		return !r.Tracked && r.Error != nil && r.Error.Code == usance.CodeTrackingDisabled
	}

	if r := send("l1", "view", 1, 0); !refused(r) {
		t.Errorf("before tracking is enabled: %+v", r)
	}
	o.run(guideEnable)
	o.answers(guideEnabled, "3|2") // l1, l3 and l4 are not deleted; l3 is not active

	for _, threshold := range []string{
		`"licenseId":"l1","usageType":"view","limitQuantity":4,"overageRateCents":5`,     // 8 views: 4 over, 20 cents
		`"licenseId":"l4","usageType":"play","limitQuantity":1,"overageRateCents":"2.5"`, // 4 plays: 3 over, 7.5 cents, to the even cent 8
		`"licenseId":"l4","usageType":"view","limitQuantity":100,"overageRateCents":5`,   // 17 views: below each warning level
	} {
		s.must("POST", "/v1/thresholds", `{"periodType":"total","allowOverage":true,`+threshold+`}`, nil)
	}
	var retired usance.Threshold
	s.must("POST", "/v1/thresholds", `{"licenseId":"l4","usageType":"click","periodType":"total","limitQuantity":5}`, &retired)
	s.must("PATCH", "/v1/thresholds/"+retired.ID, `{"isActive":false}`, nil)

	for _, e := range []struct {
		license, usageType string
		units, ago         int
	}{
		{"l1", "view", 3, 0}, {"l1", "download", 2, 0}, {"l1", "view", 5, 1},
		{"l4", "view", 10, 0}, {"l4", "play", 4, 3}, {"l4", "view", 7, 8},
	} {
		if r := send(e.license, e.usageType, e.units, e.ago); !r.Tracked {
			t.Fatalf("%+v: %+v", e, r)
		}
	}
	for _, when := range []string{"at once", "once all is folded"} {
		t.Log(when)
		o.answers(guideHealth, day(0)+"|2|15|2")                            // 3 + 2 of l1, 10 of l4
		o.answers(guideEvents, day(0)+"|3|2", day(1)+"|1|1", day(3)+"|1|1") // the eighth day back is out
		o.answers(guideAggregation, day(0)+"|2", day(1)+"|1", day(3)+"|1")  // likewise
		o.answers(guideThresholds, "3|2")                                   // the fourth is retired; 17 of 100 is no warning
		o.answers(guideOverages, "DETECTED|2|0.28000000000000000000")       // 20 + 8 cents
		o.answers(`SELECT total_views, total_downloads, total_plays, total_quantity FROM license_usage_daily_aggregates
			WHERE license_id = 'l1' ORDER BY date DESC`, "3|2|0|5", "5|0|0|5")
		s.must("POST", "/v1/jobs/aggregateUsageMetrics/run", "", nil)
	}
	o.run(guideDisable)
	if r := send("l1", "view", 1, 0); !refused(r) {
		t.Errorf("after tracking is disabled: %+v", r)
	}
	o.run(guideEnable)
	if r := send("l1", "view", 1, 0); !r.Tracked {
		t.Errorf("after tracking is enabled again: %+v", r)
	}
}
