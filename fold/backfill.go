package fold

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/usance/usance"
)

// Backfiller recomputes long ranges of days from their raw events, day by day,
// with a checkpoint in the store after each day that held any, and after each part
// of a large one: a process that is killed leaves its work to the next one, which
// goes on there. There is one backfill a licence; those of several licences take turns.
type Backfiller struct {
	f      *Folder
	runner string           // this process among others
	alone  bool             // there are no others
	wake   chan struct{}    // told when there is something to do
	sizes  map[string]sizes // by licence, of those that are worked on
}

// NewBackfiller makes a Backfiller; Run does the work. alone tells that no other
// process has the store open, so that what runs there has lost its runner.
func NewBackfiller(f *Folder, alone bool) *Backfiller {
	return &Backfiller{f: f, runner: rand.Text(), alone: alone, wake: make(chan struct{}, 1), sizes: make(map[string]sizes)}
}

const (
	// abandoned is how long a backfill makes no progress before another process
	// takes it over. Two at work on one day correct it once all the same.
	abandoned = 15 * time.Second
	// emptyDays is how many days without raw events are passed between checkpoints.
	emptyDays = 31
)

// Start asks for the licence's days [from, to) to be recomputed, and answers at
// once. The same range again joins the one that runs, and goes on with one that
// failed; another range while one runs is refused as CONFLICT.
func (b *Backfiller) Start(ctx context.Context, licenseID string, from, to usance.Date, actor string) (out usance.Backfill, err error) {
	if from >= to {
		return out, usance.Invalid("endDate", "must not lie before startDate")
	}
	now := b.f.o.Now().UTC().Truncate(time.Microsecond)
	err = b.f.store.Update(ctx, usance.Locks{Exclusive: []string{licenseID}}, func(tx usance.Tx) error {
		old, err := tx.Backfill(ctx, licenseID)
		if err != nil && usance.ErrorCode(err) != usance.CodeNotFound {
			return err
		}
		same := err == nil && old.StartDate == from && old.EndDate == to-1
		switch {
		case same && old.Status == usance.BackfillRunning:
			out = old
			return nil
		case err == nil && old.Status == usance.BackfillRunning:
			return usance.NewError(usance.CodeConflict, "the days %s to %s of the licence are being recomputed, the next is %s; ask again when that is done",
				old.StartDate, old.EndDate, old.NextDate)
		case same && old.Status == usance.BackfillFailed:
			out = old
			if out.Part != nil { // what failed may have been mended in what was read
				out.Events -= out.Part.Events
				out.Part = nil
			}
			out.Status, out.Error, out.Runner, out.Actor, out.UpdatedAt = usance.BackfillRunning, "", "", actor, now
		default:
			out = usance.Backfill{LicenseID: licenseID, StartDate: from, EndDate: to - 1, Status: usance.BackfillRunning, NextDate: from,
				Actor: actor, StartedAt: now, UpdatedAt: now}
		}
		return tx.PutBackfill(ctx, out)
	})
	if err == nil {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
	return out, err
}

// Status answers how far the licence's last backfill is, and which of the days
// that it passed are sealed. NOT_FOUND when there never was one.
func (b *Backfiller) Status(ctx context.Context, licenseID string) (out usance.Backfill, sealed []usance.Date, err error) {
	err = b.f.store.View(ctx, func(v usance.View) error {
		if out, err = v.Backfill(ctx, licenseID); err != nil {
			return err
		}
		sealed, err = v.SealedDays(ctx, licenseID, out.StartDate, out.NextDate)
		return err
	})
	return out, sealed, err
}

// Run works on the backfills that are asked for, and on those that a process
// left which is no more, until ctx ends.
func (b *Backfiller) Run(ctx context.Context) error {
	poll := time.NewTicker(abandoned / 3)
	defer poll.Stop()
	for {
		if err := b.work(ctx); err != nil && ctx.Err() == nil {
			b.f.o.Logger.Error("backfills cannot be worked on; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			b.leave(context.WithoutCancel(ctx))
			return ctx.Err()
		case <-b.wake:
		case <-poll.C:
		}
	}
}

// work advances in turns until none is left.
func (b *Backfiller) work(ctx context.Context) error {
	for {
		mine, err := b.mine(ctx)
		if err != nil || len(mine) == 0 {
			return err
		}
		for i := range mine {
			err = errors.Join(err, b.advance(ctx, mine[i])) // one that fails holds up no other
		}
		if err != nil {
			return err // to be tried again after a while
		}
	}
}

// mine gives the backfills that are this process's to work on.
func (b *Backfiller) mine(ctx context.Context) (mine []usance.Backfill, err error) {
	err = b.f.store.View(ctx, func(v usance.View) error {
		mine = nil
		running, err := v.RunningBackfills(ctx)
		for _, r := range running {
			if b.alone || r.Runner == "" || r.Runner == b.runner || b.f.o.Now().Sub(r.UpdatedAt) > abandoned {
				mine = append(mine, r)
			}
		}
		return err
	})
	return mine, err
}

// advance recomputes the next day that holds events, or reads a part of it, or passes
// some that hold none, and keeps how far that is.
func (b *Backfiller) advance(ctx context.Context, at usance.Backfill) error {
	if at.Runner != b.runner { // taken before the work, so that no other takes it meanwhile
		taken := at
		taken.Runner = b.runner
		if ok, err := b.keep(ctx, at.Runner, taken); err != nil || !ok {
			return err
		}
		at = taken
	}
	var done Recalculation
	var err error
	for n := 0; n < emptyDays && done.Events == 0 && at.NextDate <= at.EndDate; n++ {
		var read int64
		if read, err = b.readPart(ctx, &at); err != nil || read > 0 {
			done.Events += read
			break
		}
		whole := at.Part == nil
		if err = b.f.recalculateChunk(ctx, at.LicenseID, at.NextDate, at.NextDate+1, at.Part, &done); err != nil {
			break
		}
		at.NextDate++
		if at.Part = nil; !whole {
			break
		}
	}
	at.Days += done.Days
	at.Skipped += len(done.Sealed)
	at.Events += done.Events
	at.Changed += done.Changed
	if err == nil && at.NextDate > at.EndDate {
		at.Status = usance.BackfillDone
		delete(b.sizes, at.LicenseID)
	}
	if err == nil {
		_, err = b.keep(ctx, b.runner, at)
	}
	var known *usance.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err() // what was cut short is taken up again
	case err == nil:
		return nil
	case errors.As(err, &known) && known.Code == usance.CodeUnavailable:
		return fmt.Errorf("the backfill of %q: %w", at.LicenseID, err)
	}
	b.f.o.Logger.Error("a backfill failed", "license", at.LicenseID, "day", at.NextDate, "error", err)
	at.Status, at.Error = usance.BackfillFailed, "a fault of the server; its log has the cause"
	if known != nil {
		at.Error = known.Error()
	}
	_, err = b.keep(ctx, b.runner, at)
	return err
}

// keep writes the state of a backfill that runner works on, and ends one that
// is done; ok is false when it is another's by now.
func (b *Backfiller) keep(ctx context.Context, runner string, s usance.Backfill) (ok bool, err error) {
	err = b.f.store.Update(ctx, usance.Locks{Exclusive: []string{s.LicenseID}}, func(tx usance.Tx) error {
		now, err := tx.Backfill(ctx, s.LicenseID)
		ok = err == nil && now.Runner == runner && now.Status == usance.BackfillRunning && now.StartedAt.Equal(s.StartedAt)
		if err != nil || !ok {
			return err
		}
		row := s
		row.UpdatedAt = b.f.o.Now().UTC().Truncate(time.Microsecond)
		if row.Status == usance.BackfillDone {
			if row.Counters, err = b.f.recount(ctx, tx, row.LicenseID, row.StartDate, row.EndDate+1, row.Actor, row.Changed); err != nil {
				return err
			}
		}
		if row.Status != usance.BackfillRunning {
			row.Runner = ""
		}
		return tx.PutBackfill(ctx, row)
	})
	return ok && err == nil, err
}

// leave gives up what this process works on, so that the next need not wait.
func (b *Backfiller) leave(ctx context.Context) {
	mine, err := b.mine(ctx)
	for i := range mine {
		if mine[i].Runner != b.runner || err != nil {
			continue
		}
		free := mine[i]
		free.Runner = ""
		_, err = b.keep(ctx, b.runner, free)
	}
	if err != nil {
		b.f.o.Logger.Warn("backfills could not be given up; others take them over after a while", "error", err)
	}
}
