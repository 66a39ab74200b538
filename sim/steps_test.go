package sim

import (
	"fmt"
	"slices"
	"time"
)

// starts are days before something happens to the calendar: DST in New York
// and on Lord Howe (by half an hour), a leap day, ends of months and years.
var starts = []time.Time{
	time.Date(2024, 1, 29, 0, 0, 0, 0, time.UTC), time.Date(2024, 2, 27, 0, 0, 0, 0, time.UTC),
	time.Date(2024, 3, 8, 0, 0, 0, 0, time.UTC), time.Date(2024, 3, 29, 0, 0, 0, 0, time.UTC),
	time.Date(2024, 4, 4, 0, 0, 0, 0, time.UTC), time.Date(2024, 10, 3, 0, 0, 0, 0, time.UTC),
	time.Date(2024, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2023, 12, 29, 0, 0, 0, 0, time.UTC),
	time.Date(2023, 2, 26, 0, 0, 0, 0, time.UTC), time.Date(2024, 6, 13, 0, 0, 0, 0, time.UTC),
}

var (
	zones   = []string{"UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"}
	anchors = []int{1, 15, 31}
	types   = []string{"view", "download", "print"}
)

// step is something that can happen, and how often.
type step struct {
	weight int
	do     func(*run) error
}

var steps = []step{
	{40, (*run).stepEvents},
	{6, (*run).stepConcurrent},
	{10, (*run).stepVoid},
	{7, (*run).stepTotals},
	{8, (*run).stepFold},
	{5, (*run).stepPartialFold},
	{4, (*run).stepRecalculate},
	{2, (*run).stepVerify},
	{7, (*run).stepCreate},
	{8, (*run).stepUpdate},
	{4, (*run).stepActivate},
	{5, (*run).stepLicense},
	{6, (*run).stepClose},
	{7, (*run).stepMove},
	{3, (*run).stepRetain},
	{1, (*run).stepPrune},
	{2, (*run).stepDamage},
	{4, (*run).stepCheck},
}

var totalWeight = func() (sum int) {
	for _, s := range steps {
		sum += s.weight
	}
	return sum
}()

// prepare puts the licences and their first thresholds.
func (r *run) prepare() error {
	for i := range 2 + r.rng.IntN(3) {
		zone, err := time.LoadLocation(zones[(i+r.rng.IntN(4))%4])
		if err != nil {
			return err
		}
		l := NewLicense(fmt.Sprintf("lic%d", i), zone, pick(r, anchors))
		b := body{"brandId": "b", "assetId": "a", "status": l.Status, "timezone": zone.String(), "billingAnchorDay": l.Anchor}
		if _, _, err := r.catalog.PutLicense(r.ctx, l.ID, b.bytes(), "sim"); err != nil {
			return err
		}
		l.Audit["license.put"]++
		r.model.Licenses[l.ID] = l
		r.licenses = append(r.licenses, l)
		r.note("%s %s licence %s in %s, anchor %d", r.now.Format(time.RFC3339Nano), "put", l.ID, zone, l.Anchor)
		for range r.rng.IntN(4) {
			if err := r.create(l, false); err != nil {
				return err
			}
		}
	}
	return r.compare(true, r.licenses...)
}

// next moves the clock and takes one step.
func (r *run) next() error {
	r.advance()
	n := r.rng.IntN(totalWeight)
	for _, s := range steps {
		if n -= s.weight; n < 0 {
			return s.do(r)
		}
	}
	return nil
}

// advance moves the clock: mostly a little, sometimes to a border of a
// licence's calendar, and now and then back.
func (r *run) advance() {
	l := pick(r, r.licenses)
	was := r.now
	around := func(d Day) time.Time {
		return l.Midnight(d).Add(pick(r, []time.Duration{-time.Second, -time.Microsecond, 0, time.Microsecond, time.Hour}))
	}
	today := l.LocalDay(r.now)
	switch n := r.rng.IntN(100); {
	case n < 60:
		r.now = r.now.Add(time.Duration(r.rng.Int64N(int64(10 * time.Minute))))
	case n < 76:
		r.now = r.now.Add(time.Duration(r.rng.Int64N(int64(12 * time.Hour))))
	case n < 86:
		r.now = around(today + 1)
	case n < 89:
		_, end := l.PeriodOf(pick(r, []string{"monthly", "weekly"}), today)
		r.now = around(end)
	case n < 93:
		r.now = r.now.Add(day + time.Duration(r.rng.Int64N(int64(2*day))))
	case n < 94:
		r.now = r.now.Add(time.Duration(r.rng.Int64N(int64(35 * day))))
	case n < 98:
		r.now = r.now.Add(-time.Duration(r.rng.Int64N(int64(10 * time.Minute))))
	}
	// Never the same moment twice, so that ids sort as they were made.
	r.now = r.now.Add(time.Duration(1+r.rng.IntN(1000)) * time.Millisecond).Truncate(time.Microsecond)
	if r.now.Before(was) {
		r.back = append(r.back, [2]time.Time{r.now, r.latest})
	}
	if r.now.After(r.latest) {
		r.latest = r.now
	}
}

// twice tells whether the clock showed the instant more than once: then the
// order of receipt is not that of the clock.
func (r *run) twice(at time.Time) bool {
	return slices.ContainsFunc(r.back, func(span [2]time.Time) bool {
		return !at.Before(span[0].Add(-time.Second)) && !at.After(span[1].Add(time.Second))
	})
}

// arm chooses where this step crashes, if it does.
func (r *run) arm(points ...string) bool {
	return r.chance(20) && r.surely(append(points, beforeUpdate, beforeCommit, afterCommit, duringView)...)
}

func (r *run) surely(points ...string) bool {
	r.store.arm(pick(r, points), pick(r, []int{0, 0, 0, 1, 2}))
	return true
}

func (r *run) begin(format string, args ...any) {
	r.note("%s %s", r.now.Format("2006-01-02T15:04:05.000000Z"), fmt.Sprintf(format, args...))
}
