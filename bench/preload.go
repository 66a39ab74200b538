package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usance/usance"
	"github.com/usance/usance/store/codec"
	"github.com/usance/usance/store/postgres"
)

// loadedDays is over how many days, up to yesterday, loaded events are spread.
const loadedDays = 89

// preload fills a database that prepare made as if the events had come in over
// the last days and were folded: events and rollups by COPY, a day at a time on
// each connection, then the counters. Every second event is of a licence drawn by
// Zipf's law, of which the first is the busiest. They have no sessions.
func preload(ctx context.Context, url string, licenses []string, events int, tell func(format string, args ...any)) error {
	whole, cancel := context.WithCancel(ctx) // one copier that fails ends the others
	defer cancel()
	today := usance.DateOf(time.Now(), time.UTC)
	month := usance.PeriodOf(usance.PeriodMonthly, today-1, 1).Start // from which on prepare's thresholds judge
	counters := make(map[usance.CounterKey]int64)
	var mu sync.Mutex // of counters
	var next atomic.Int64
	errs := make([]error, copiers)
	var running sync.WaitGroup
	for i := range errs {
		running.Go(func() {
			defer func() {
				if errs[i] != nil {
					cancel()
				}
			}()
			c, err := postgres.Connect(whole, url)
			if err != nil {
				errs[i] = err
				return
			}
			defer c.Close(context.WithoutCancel(ctx))
			for errs[i] == nil {
				n := int(next.Add(1)) - 1
				if n >= loadedDays {
					return
				}
				d := &loadedDay{date: today - loadedDays + usance.Date(n), rollups: make(map[string]*usance.Rollup)}
				size := events/loadedDays + min(1, max(0, events%loadedDays-n))
				if errs[i] = d.load(whole, c, licenses, n, size); errs[i] != nil {
					return
				}
				if start := usance.PeriodOf(usance.PeriodMonthly, d.date, 1).Start; start >= month {
					mu.Lock()
					for id, r := range d.rollups {
						counters[usance.CounterKey{LicenseID: id, ThresholdID: thresholdOf(id), PeriodStart: start}] += r.Quantity
					}
					mu.Unlock()
				}
				tell("loaded %s: %d events, %d rollups\n", d.date, size, len(d.rollups))
			}
		})
	}
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := putLoaded(ctx, url, licenses, counters); err != nil {
		return err
	}
	c, err := postgres.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx))
	// The last one is without a threshold.
	if _, err = c.Exec(ctx, `DELETE FROM license_usage_thresholds WHERE license_id = $1`, licenses[len(licenses)-1]); err == nil {
		_, err = c.Exec(ctx, `DELETE FROM license_usage_counters WHERE license_id = $1`, licenses[len(licenses)-1])
	}
	if err == nil {
		_, err = c.Exec(ctx, `VACUUM (ANALYZE)`)
	}
	return err
}

type loadedDay struct {
	date    usance.Date
	rollups map[string]*usance.Rollup
}

// load writes the events and rollups of one day.
func (d *loadedDay) load(ctx context.Context, c *pgx.Conn, licenses []string, n, size int) error {
	sources := []*source{newSource(kind{skewed: true}, licenses, n, engineSeed), newSource(kind{}, licenses, n, engineSeed+1)}
	start := d.date.Start(time.UTC)
	var data []byte
	for done := 0; done < size; {
		const most = 10_000
		rows := make([]usance.Event, min(most, size-done))
		for i := range rows {
			at := start.Add(24 * time.Hour * time.Duration(done+i) / time.Duration(size)).Truncate(time.Microsecond)
			rows[i] = sources[i%2].next(at)
			e := &rows[i]
			e.SessionID, e.ID, e.ReceivedAt, e.LocalDate, e.HourSlot = "", usance.NewID(at), at, d.date, at.Hour()
			e.HashPayload()
			r := d.rollups[e.LicenseID]
			if r == nil {
				r = &usance.Rollup{RollupKey: usance.RollupKey{LicenseID: e.LicenseID, Date: d.date, UsageType: e.UsageType}}
				d.rollups[e.LicenseID] = r
			}
			r.Add(e)
		}
		done += len(rows)
		data = postgres.AppendCopy(data[:0], []usance.Batch{{ID: usance.NewID(rows[len(rows)-1].ReceivedAt), Events: rows}})
		if _, err := c.PgConn().CopyFrom(ctx, bytes.NewReader(data), postgres.CopyEvents); err != nil {
			return fmt.Errorf("loading events: %w", err)
		}
	}
	list := make([]*usance.Rollup, 0, len(d.rollups))
	for _, r := range d.rollups {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *usance.Rollup) int { return a.Compare(b.RollupKey) })
	_, err := c.CopyFrom(ctx, pgx.Identifier{"license_usage_rollups"},
		[]string{"license_id", "date", "usage_type", "events", "quantity", "revenue_cents", "revision", "breakdown"},
		pgx.CopyFromSlice(len(list), func(i int) ([]any, error) {
			r := list[i]
			return []any{r.LicenseID, start, r.UsageType, r.Events, r.Quantity, r.RevenueCents, 1, string(codec.AppendTexts(nil, r.Breakdown))}, nil
		}))
	if err == nil {
		_, err = c.Exec(ctx, `INSERT INTO license_usage_received (day, slot, events) VALUES ($1, 0, $2)`, start, size)
	}
	if err != nil {
		return fmt.Errorf("loading rollups: %w", err)
	}
	return nil
}

// putLoaded writes what the events moved, by the store itself.
func putLoaded(ctx context.Context, url string, licenses []string, sums map[usance.CounterKey]int64) error {
	store, err := postgres.Open(ctx, url, postgres.Options{Conns: 2})
	if err != nil {
		return err
	}
	defer store.Close()
	var counters []usance.Counter
	for key, quantity := range sums {
		counters = append(counters, usance.Counter{CounterKey: key, PeriodEnd: usance.PeriodOf(usance.PeriodMonthly, key.PeriodStart, 1).End, Quantity: quantity, State: usance.CounterOpen})
	}
	slices.SortFunc(counters, func(a, b usance.Counter) int { return a.Compare(b.CounterKey) })
	const most = 5000
	return store.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		for some := range slices.Chunk(counters, most) {
			if err := tx.EnsureCounters(ctx, some); err != nil {
				return err
			}
		}
		for some := range slices.Chunk(licenses, most) {
			if err := tx.RenewVersions(ctx, some); err != nil {
				return err
			}
		}
		return nil
	})
}
