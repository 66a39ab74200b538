package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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

// The log is copied while others write and read, and begins anew, which its
// header tells by another checkpoint sequence number (bytes 12 to 15).
func TestLogIsCopied(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "usance.db")
	s, err := Open(ctx, path, Options{Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	s.logPages = 100
	now := time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)
	metadata := usance.RawJSON(`"` + strings.Repeat("x", 8<<10) + `"`)
	reading, stop := context.WithCancel(ctx)
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for reading.Err() == nil {
				err := s.view(ctx, func(v *view) error {
					_, err := v.Version(ctx, "l")
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	written := int64(0)
	anew := false
	for deadline := time.Now().Add(3 * time.Minute); !anew && time.Now().Before(deadline); written++ {
		id := usance.NewID(now)
		e := usance.Event{ID: id, LicenseID: "l", UsageType: "view", Quantity: 1, OccurredAt: now, ReceivedAt: now, LocalDate: 1,
			IdempotencyKey: id.String(), Metadata: metadata}
		err := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
			return tx.AddEvents(ctx, []usance.Batch{{ID: usance.NewID(now), At: now, Events: []usance.Event{e}}})
		})
		if err != nil {
			t.Fatal(err)
		}
		header := make([]byte, 32)
		f, err := os.Open(path + "-wal")
		if err == nil {
			_, err = f.ReadAt(header, 0)
			f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		anew = header[12]|header[13]|header[14]|header[15] != 0
	}
	stop()
	readers.Wait()
	if !anew {
		t.Errorf("the log did not begin anew in %d commits", written)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(ctx, path, Options{Volatile: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	err = s.view(ctx, func(v *view) error {
		used, err := v.DayUsage(ctx, "l", 1, 2)
		if err == nil && (len(used) != 1 || used[0].Events != written) {
			t.Errorf("after closing and opening: %+v, want %d events", used, written)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Both ways to read a tail find the same events.
func TestTailWays(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openStore(t)
	now := time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)
	var batches []usance.Batch
	for b := range 20 {
		var events []usance.Event
		for n := range 10 {
			id := usance.NewID(now)
			events = append(events, usance.Event{ID: id, LicenseID: fmt.Sprint("l", n%(1+b%3)), UsageType: "view", Quantity: 1,
				OccurredAt: now, ReceivedAt: now, LocalDate: usance.Date((b + n) % 4), IdempotencyKey: id.String()})
		}
		// Every third is of one licence, and named by its group; others are mixed,
		// whatever their group is said to be.
		batches = append(batches, usance.Batch{ID: usance.NewID(now), At: now, Group: groupOf("l0"), Events: events})
		err := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error { return tx.AddEvents(ctx, batches[b:]) })
		if err != nil {
			t.Fatal(err)
		}
	}
	for round := 0; ; round++ {
		err := s.view(ctx, func(v *view) error {
			read := func(way string) (out []string) {
				err := v.events(ctx, `SELECT `+eventColumns+way, tailArgs("l0", 1, 3), func(e *usance.Event) error {
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

// What waited under the numbers that groups had before is found and folded.
func TestGroupsOfBefore(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openStore(t)
	now := time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)
	id := usance.NewID(now)
	batch := usance.Batch{ID: id, At: now, Group: groupOf("l"), Events: []usance.Event{{ID: id, LicenseID: "l", UsageType: "view",
		Quantity: 3, OccurredAt: now, ReceivedAt: now, LocalDate: usance.DateOf(now, time.UTC), IdempotencyKey: id.String()}}}
	err := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error { return tx.AddEvents(ctx, []usance.Batch{batch}) })
	if err != nil {
		t.Fatal(err)
	}
	for undone := ""; undone != "20261130000003_fewer_groups"; {
		if undone, err = s.Migrations().Down(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.db.ExecContext(ctx, `UPDATE pending_batches SET license_group = 1000`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Migrations().Up(ctx); err != nil {
		t.Fatal(err)
	}
	err = s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		used, err := tx.DayUsage(ctx, "l", usance.MinDate, usance.MaxDate)
		if len(used) != 1 || used[0].Quantity != 3 {
			t.Errorf("used %+v", used)
		}
		if err != nil {
			return err
		}
		taken, err := tx.TakePending(ctx, []usance.Batch{batch})
		if len(taken) != 1 {
			t.Errorf("taken %v", taken)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
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
	if steps := plan(`SELECT `+eventColumns+tailByDay, 4); !slices.Contains(steps, "SEARCH e USING INDEX license_usage_events_day (license_id=? AND local_date=? AND rowid>?)") {
		t.Errorf("the tail by day: %s", steps)
	}
	few := []string{"json_each", "SCAN days", "SCAN d"} // what is read whole is short
	for query, args := range map[string]int{
		countTracked: 0,
		`SELECT ` + eventColumns + `, ` + isVoided + ` FROM license_usage_events e WHERE e.license_id = ? AND e.key = ?`:                                           2,
		`SELECT ` + eventColumns + `, ` + isVoided + ` FROM license_usage_events e WHERE +e.license_id = ? AND e.id = ?`:                                           2,
		`SELECT ` + eventColumns + ` FROM license_usage_events e WHERE e.license_id = ? AND (e.local_date, e.seq) < (?, ?) ORDER BY e.local_date DESC, e.seq DESC`: 3,
		`SELECT ` + eventColumns + tailByDay: 4,
		`SELECT ` + overageColumns + ` FROM license_usage_overages o WHERE o.license_id = ? AND o.threshold_id = ? AND o.period_date = ? ORDER BY o.revision`: 3,
		`SELECT ` + overageColumns + ` FROM license_usage_overages o WHERE TRUE AND o.id < ? ORDER BY o.id DESC`:                                              1,
		`SELECT ` + licenseColumns + ` FROM licenses l WHERE l.id IN (SELECT value FROM json_each(?)) ORDER BY l.id`:                                          1,
		`SELECT ` + thresholdColumns + ` FROM license_usage_thresholds t WHERE t.license_id IN (SELECT value FROM json_each(?)) ORDER BY t.license_id, t.id`:  1,
		`SELECT ` + counterColumns + ` FROM license_usage_counters WHERE state IN ('open', 'frozen') AND period_end <= ?`:                                     1,
		`SELECT ` + rollupColumns + ` FROM license_usage_rollups WHERE license_id = ? AND date >= ? AND date < ? ORDER BY date, usage_type`:                   3,
	} {
		for _, step := range plan(query, args) {
			if strings.Contains(step, "SCAN") && !slices.ContainsFunc(few, func(s string) bool { return strings.Contains(step, s) }) || strings.Contains(step, "TEMP B-TREE") {
				t.Errorf("%s\n%s", query, step)
			}
		}
	}
	for query, args := range map[string]int{
		`SELECT ` + eventColumns + tailByRange:                                                     4,
		`SELECT e.local_date, e.usage_type` + tailByRange + ` GROUP BY e.local_date, e.usage_type`: 4,
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

// What another program writes counts from the next transaction on, though the
// writer remembers licences and counters.
func TestOthersWritesAreSeen(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openStore(t)
	key := usance.CounterKey{LicenseID: "l", ThresholdID: "t", PeriodStart: 20000}
	see := func() (status usance.LicenseStatus, thresholds int, quantity int64) {
		t.Helper()
		err := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
			facts, err := tx.Facts(ctx, []string{"l"})
			if err != nil {
				return err
			}
			counters, err := tx.LockCounters(ctx, []usance.CounterKey{key})
			if err != nil {
				return err
			}
			status, thresholds, quantity = facts[0].License.Status, len(facts[0].Thresholds), counters[0].Quantity
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return status, thresholds, quantity
	}
	threshold := usance.Threshold{ID: "t", LicenseID: "l", UsageType: "view", PeriodType: usance.PeriodMonthly, Terms: usance.Terms{LimitQuantity: 10}}
	err := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		l := usance.NewLicense("l")
		l.BrandID, l.AssetID, l.Status = "b", "a", usance.LicenseActive
		return errors.Join(tx.PutLicense(ctx, l), tx.EnsureCounters(ctx, []usance.Counter{{CounterKey: key, PeriodEnd: 20030, State: usance.CounterOpen}}))
	})
	if err != nil {
		t.Fatal(err)
	}
	if status, n, quantity := see(); status != usance.LicenseActive || n != 0 || quantity != 0 {
		t.Fatalf("%s, %d thresholds, %d counted", status, n, quantity)
	}
	// Its own changes, those rolled back too.
	for _, fail := range []error{errors.New("rolled back"), nil} {
		err := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
			if err := tx.PutThreshold(ctx, threshold); err != nil {
				return err
			}
			facts, err := tx.Facts(ctx, []string{"l"})
			if err != nil || len(facts[0].Thresholds) != 1 {
				t.Errorf("the transaction sees %v (%v)", facts, err)
			}
			after, err := tx.AddToCounters(ctx, []usance.CounterDelta{{CounterKey: key, Quantity: 3}})
			if err != nil || len(after) != 1 || after[0].Quantity != 3 {
				t.Errorf("after adding: %v (%v)", after, err)
			}
			return fail
		})
		want := 0
		if fail == nil {
			want = 1
		}
		if !errors.Is(err, fail) {
			t.Fatal(err)
		}
		if _, n, quantity := see(); n != want || quantity != int64(3*want) {
			t.Errorf("%d thresholds and %d counted, want %d and %d", n, quantity, want, 3*want)
		}
	}
	other, err := s.db.Conn(ctx) // as another program's connection is
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, q := range []string{
		`UPDATE licenses SET status = 'SUSPENDED' WHERE id = 'l'`, `UPDATE license_usage_counters SET quantity = 7`, `DELETE FROM license_usage_thresholds`,
	} {
		if _, err := other.ExecContext(ctx, q); err != nil {
			t.Fatal(err)
		}
	}
	if status, n, quantity := see(); status != usance.LicenseSuspended || n != 0 || quantity != 7 {
		t.Errorf("after another's writes: %s, %d thresholds, %d counted", status, n, quantity)
	}
}

// The caches are bounded, and what was let go is read again.
func TestCacheBounds(t *testing.T) {
	t.Parallel()
	c := newCache()
	for i := range maxCachedFacts {
		c.keepFacts(usance.Facts{License: usance.License{ID: fmt.Sprint(i)}, Thresholds: make([]usance.Threshold, 1)})
		c.keepCounter(usance.Counter{CounterKey: usance.CounterKey{LicenseID: fmt.Sprint(i)}})
		c.keepCounter(usance.Counter{CounterKey: usance.CounterKey{LicenseID: fmt.Sprint(i), PeriodStart: 1}})
	}
	if c.size > maxCachedFacts+2 || len(c.facts) != c.size/2 || len(c.counters) > maxCachedCounters+1 {
		t.Errorf("%d licences and %d of size, %d counters", len(c.facts), c.size, len(c.counters))
	}
}

// Only what is said to be lazy does not wait for the disk.
func TestOnlyLazyCommitsDoNotWait(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, err := Open(ctx, filepath.Join(t.TempDir(), "usance.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const normal, full = 1, 2
	for i, lazy := range []bool{false, true, true, false, true, false} {
		want := full
		if lazy {
			want = normal
		}
		err := s.Update(ctx, usance.Locks{Lazy: lazy}, func(u usance.Tx) error {
			var got int
			_, err := u.(*tx).one(ctx, `PRAGMA synchronous`, nil, &got)
			if got != want {
				t.Errorf("transaction %d, lazy %v: synchronous is %d, want %d", i, lazy, got, want)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
