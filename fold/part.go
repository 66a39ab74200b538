package fold

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/usance/usance"
)

// bites sums events into rows, some thousand at a time, so that memory does not grow
// with them.
type bites struct {
	rows map[usance.RollupKey]*usance.Rollup // those before the last bite
	size int
	sum  *sum // the last bite, and all sessions
}

func newBites(rows map[usance.RollupKey]*usance.Rollup, size int) *bites {
	return &bites{rows, size, newSum()}
}

func (b *bites) add(e *usance.Event) {
	b.sum.add(e)
	if b.sum.events >= b.size {
		b.spill()
	}
}

// spill merges the last bite into the rows.
func (b *bites) spill() {
	for key, r := range b.sum.rollups {
		b.merge(key, r)
	}
	b.sum.rollups, b.sum.events = make(map[usance.RollupKey]*usance.Rollup), 0
}

func (b *bites) merge(key usance.RollupKey, r *usance.Rollup) {
	if b.rows[key] == nil {
		b.rows[key] = &usance.Rollup{RollupKey: key}
	}
	b.rows[key].Merge(r)
}

// sizes is how the events of a backfill's range lie in it.
type sizes struct {
	startedAt time.Time // of the backfill
	days      map[usance.Date]int64
	part      int64
}

// parts is into how many parts a range is divided, about, however its events lie in
// its days. A day of less than a twelfth of them is one by itself, and so is one of
// so few that they are read in a moment.
const (
	parts    = 20
	smallDay = 12
	fewOfDay = 1000
)

// sizesOf counts the events of the range, once a process.
func (b *Backfiller) sizesOf(ctx context.Context, of *usance.Backfill) (s sizes, err error) {
	if s = b.sizes[of.LicenseID]; s.startedAt.Equal(of.StartedAt) && s.days != nil {
		return s, nil
	}
	s = sizes{startedAt: of.StartedAt}
	err = b.f.store.View(ctx, func(v usance.View) error {
		s.days, err = v.DayEvents(ctx, of.LicenseID, of.StartDate, of.EndDate+1)
		return err
	})
	var all int64
	for _, n := range s.days {
		all += n
	}
	s.part = all/parts + 1
	maps.DeleteFunc(s.days, func(_ usance.Date, n int64) bool { return n <= max(all/smallDay, fewOfDay) })
	if err == nil {
		b.sizes[of.LicenseID] = s
	}
	return s, err
}

// readPart reads the next part of the backfill's next day, if that is a large one, and
// tells how many events that are; 0 when the rest of the day is read at once.
func (b *Backfiller) readPart(ctx context.Context, at *usance.Backfill) (read int64, err error) {
	s, err := b.sizesOf(ctx, at)
	if err != nil || s.days[at.NextDate] == 0 {
		return 0, err
	}
	next := usance.BackfillPart{}
	if at.Part != nil {
		next.Mark, next.Events = at.Part.Mark, at.Part.Events
	}
	err = b.f.store.View(ctx, func(v usance.View) error {
		sealed, err := v.SealedDays(ctx, at.LicenseID, at.NextDate, at.NextDate+1)
		if err != nil || len(sealed) > 0 {
			return err
		}
		rows := make(map[usance.RollupKey]*usance.Rollup)
		err = v.Rollups(ctx, at.LicenseID, at.NextDate, at.NextDate+1, nil, func(r *usance.Rollup) error {
			names := r.Names()
			rows[r.RollupKey] = &names
			return nil
		})
		if err != nil {
			return err
		}
		sum := newBites(rows, b.f.o.Bite)
		if err := sum.goOn(at.Part, usance.Day{LicenseID: at.LicenseID, Date: at.NextDate}); err != nil {
			return err
		}
		next.Mark, err = v.FoldedPart(ctx, at.LicenseID, at.NextDate, next.Mark, int(s.part), b.f.o.Now(), func(e *usance.Event) error {
			sum.add(e)
			read++
			return nil
		})
		if err != nil {
			return err
		}
		sum.spill()
		for _, key := range slices.SortedFunc(maps.Keys(rows), usance.RollupKey.Compare) {
			next.Rollups = append(next.Rollups, *rows[key])
		}
		for _, s := range sum.sum.sessions {
			next.Sessions = *s
		}
		return nil
	})
	if err != nil || read == 0 {
		return 0, err
	}
	next.Events += read
	at.Part = &next
	return read, nil
}

// goOn adds what was read of the day before.
func (b *bites) goOn(part *usance.BackfillPart, day usance.Day) error {
	if part == nil {
		return nil
	}
	for i := range part.Rollups {
		b.merge(part.Rollups[i].RollupKey, &part.Rollups[i])
	}
	if part.Sessions.Estimate() == 0 {
		return nil
	}
	b.sum.sessions[day] = new(usance.Sessions)
	return b.sum.sessions[day].Merge(&part.Sessions)
}

// readRest reads what came to the day behind the part. Some of what came before may
// have been folded since: it is not told where then, and nothing is read. Nor is it
// when the row that is stored names values by now that the part has among others.
func (f *Folder) readRest(ctx context.Context, v usance.View, licenseID string, day usance.Date, part *usance.BackfillPart, sum *bites,
	stored map[usance.RollupKey]*usance.Rollup, read func(*usance.Event) error,
) (partial bool, err error) {
	for i := range part.Rollups {
		r := &part.Rollups[i]
		if old := stored[r.RollupKey]; old != nil && r.NamesLess(old) {
			return true, nil
		}
	}
	if err := sum.goOn(part, usance.Day{LicenseID: licenseID, Date: day}); err != nil {
		return false, err
	}
	left := int64(0)
	_, err = v.FoldedPart(ctx, licenseID, day, part.Mark, 0, f.o.Now(), func(e *usance.Event) error {
		left++
		return read(e)
	})
	if err != nil {
		return false, err
	}
	there, err := v.DayEvents(ctx, licenseID, day, day+1)
	if err != nil {
		return false, err
	}
	pending := int64(0)
	err = v.Tail(ctx, licenseID, day, day+1, func(*usance.Event) error {
		pending++
		return nil
	})
	return there[day] != part.Events+left+pending, err
}
