package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usance/usance"
)

func openStore(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "usance.db"), Options{Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// A full disk is an error to tell, not to die of.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openStore(t)
	limit := func(pages int) {
		t.Helper()
		c := <-s.writer
		if _, err := c.c.ExecContext(ctx, fmt.Sprint("PRAGMA max_page_count = ", pages)); err != nil {
			t.Fatal(err)
		}
		s.writer <- c
	}
	put := func(name string) error {
		return s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
			if err := tx.PutBrand(ctx, usance.Brand{ID: "small", Name: name}); err != nil {
				return err
			}
			// A function that goes on after a failure commits nothing either.
			for n := range 100 {
				_ = tx.PutBrand(ctx, usance.Brand{ID: fmt.Sprint(n), Name: strings.Repeat("x", 4000)})
			}
			return nil
		})
	}
	limit(1) // SQLite takes it as: no page more
	if err := put("full"); usance.ErrorCode(err) != usance.CodeUnavailable || !strings.Contains(err.Error(), "full") {
		t.Errorf("on a full disk: %v", err)
	}
	err := s.View(ctx, func(v usance.View) error { _, err := v.Brand(ctx, "small"); return err })
	if usance.ErrorCode(err) != usance.CodeNotFound {
		t.Errorf("what the transaction wrote before: %v", err)
	}
	limit(1_000_000)
	if err := put("freed"); err != nil {
		t.Errorf("after space was freed: %v", err)
	}
}

// Both ways to read a tail find the same events.
func TestTailWays(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openStore(t)
	now := time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)
	var batches []usance.ID
	for b := range 20 {
		var events []usance.Event
		for n := range 10 {
			id := usance.NewID(now)
			events = append(events, usance.Event{ID: id, LicenseID: fmt.Sprint("l", n%3), UsageType: "view", Quantity: 1,
				OccurredAt: now, ReceivedAt: now, LocalDate: usance.Date((b + n) % 4), IdempotencyKey: id.String()})
		}
		batches = append(batches, usance.NewID(now))
		err := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error { return tx.AddEvents(ctx, batches[b], now, events) })
		if err != nil {
			t.Fatal(err)
		}
	}
	for round := 0; ; round++ {
		err := s.view(ctx, func(v *view) error {
			read := func(way string) (out []string) {
				err := v.events(ctx, `SELECT `+eventColumns+way, []any{"l1", 1, 3}, func(e *usance.Event) error {
					out = append(out, e.ID.String())
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				slices.Sort(out)
				return out
			}
			byRange, byDay := read(tailByRange), read(tailByDay)
			if diff := cmp.Diff(byRange, byDay); diff != "" {
				t.Errorf("round %d: by range, by day: %s", round, diff)
			}
			if (len(byRange) == 0) != (len(batches) == 0) {
				t.Errorf("round %d: %d events in the tail", round, len(byRange))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(batches) == 0 {
			return
		}
		// From both ends and the middle.
		at := []int{0, len(batches) - 1, len(batches) / 2}[round%3]
		err = s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
			_, err := tx.TakePending(ctx, batches[at:at+1])
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		batches = slices.Delete(batches, at, at+1)
	}
}

// Queries that grow with what is stored must find their rows by an index, and
// a short tail by the range of its rows.
func TestQueryPlans(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	plan := func(query string, args int) (steps []string) {
		rows, err := s.db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, make([]any, args)...)
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		defer rows.Close()
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			steps = append(steps, detail)
		}
		return steps
	}
	for query, args := range map[string]int{
		countTracked: 0,
		`SELECT ` + eventColumns + `, ` + isVoided + ` FROM license_usage_events e WHERE e.license_id = ? AND e.key = ?`:                                           2,
		`SELECT ` + eventColumns + `, ` + isVoided + ` FROM license_usage_events e WHERE +e.license_id = ? AND e.id = ?`:                                           2,
		`SELECT ` + eventColumns + ` FROM license_usage_events e WHERE e.license_id = ? AND (e.local_date, e.seq) < (?, ?) ORDER BY e.local_date DESC, e.seq DESC`: 3,
		`SELECT ` + eventColumns + tailByDay: 3,
		`SELECT ` + overageColumns + ` FROM license_usage_overages o WHERE o.license_id = ? AND o.threshold_id = ? AND o.period_date = ? ORDER BY o.revision`: 3,
		`SELECT ` + overageColumns + ` FROM license_usage_overages o WHERE TRUE AND o.id < ? ORDER BY o.id DESC`:                                              1,
		`SELECT ` + licenseColumns + ` FROM licenses l WHERE l.id IN (SELECT value FROM json_each(?)) ORDER BY l.id`:                                          1,
		`SELECT ` + thresholdColumns + ` FROM license_usage_thresholds t WHERE t.license_id IN (SELECT value FROM json_each(?)) ORDER BY t.license_id, t.id`:  1,
		`SELECT ` + counterColumns + ` FROM license_usage_counters WHERE state IN ('open', 'frozen') AND period_end <= ?`:                                     1,
		`SELECT ` + rollupColumns + ` FROM license_usage_rollups WHERE license_id = ? AND date >= ? AND date < ? ORDER BY date, usage_type`:                   3,
	} {
		for _, step := range plan(query, args) {
			if strings.Contains(step, "SCAN") && !strings.Contains(step, "json_each") || strings.Contains(step, "TEMP B-TREE") {
				t.Errorf("%s\n%s", query, step)
			}
		}
	}
	for query, args := range map[string]int{
		`SELECT ` + eventColumns + tailByRange:                                                     3,
		`SELECT e.local_date, e.usage_type` + tailByRange + ` GROUP BY e.local_date, e.usage_type`: 3,
		`SELECT * FROM license_usage_daily_aggregates`:                                             0,
		`SELECT * FROM license_usage_daily_aggregates WHERE license_id = ? AND date = ?`:           2,
		`SELECT * FROM license_usage_daily_aggregates WHERE date = ?`:                              1,
	} {
		steps := plan(query, args)
		if !slices.Contains(steps, "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)") {
			t.Errorf("%s\n%s", query, strings.Join(steps, "\n"))
		}
	}
}

// A transaction of many statements must not pay for its caller's deadline.
func BenchmarkCommit(b *testing.B) {
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	s, err := Open(ctx, filepath.Join(b.TempDir(), "b.db"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for b.Loop() {
		err := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error { return tx.PutBrand(ctx, usance.Brand{ID: "b", Name: "B"}) })
		if err != nil {
			b.Fatal(err)
		}
	}
}
