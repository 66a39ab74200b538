package fold

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/usance/usance"
)

// What makes a clock doubtful, and sure again.
const (
	// clockGap is how far the clock may have moved between two looks at it: more
	// than a week, so that the weekly retention alone will do where events are kept
	// for at least twice as long.
	clockGap = 10 * 24 * time.Hour
	// clockTrial is how long a clock that moved farther has to go on.
	clockTrial = 24 * time.Hour
)

// clockState names what is kept of the clock.
const clockState = "clock"

// gapOf is how far the clock may have moved where events are kept for so long:
// what a jump within it prunes is past half of its time.
func gapOf(keep time.Duration) time.Duration { return min(clockGap, keep/2) }

// Clock is what the store knows of the clock, whoever looked at it.
type Clock struct {
	// SeenAt is when it was looked at last, while there was no doubt of it.
	SeenAt time.Time `json:"seenAt"`
	// DoubtedAt is what it told when it was far ahead of that for the first time,
	// and LookedAt at the last look; zero while there is no doubt.
	DoubtedAt time.Time `json:"doubtedAt,omitzero"`
	LookedAt  time.Time `json:"lookedAt,omitzero"`
}

// next is what is known once the clock tells now, having moved by no more than
// the gap where it is not doubted. Who finds it far ahead of when
// it was seen last cannot tell whether nothing ran for so long or the clock is
// wrong: a clock that goes on for a day without being put right is believed.
// One that is behind closes and prunes nothing that it should not.
func (c Clock) next(now time.Time, gap time.Duration) Clock {
	sure := Clock{SeenAt: now}
	switch {
	case c.SeenAt.IsZero(), now.Sub(c.SeenAt) <= gap:
		return sure
	case c.DoubtedAt.IsZero(), now.Before(c.DoubtedAt), now.Sub(c.LookedAt) > gap:
		return Clock{c.SeenAt, now, now}
	case now.Sub(c.DoubtedAt) >= clockTrial:
		return sure
	}
	c.LookedAt = now
	return c
}

// LookAtClock notes what the clock tells, where raw events are kept for so long.
// Servers call it when they start, before they take events, and jobs each hour or
// so. Where it was never noted, the event that came last tells what it was.
func (f *Folder) LookAtClock(ctx context.Context, keep time.Duration) (c Clock, err error) {
	err = f.store.Update(ctx, usance.Locks{Lazy: true}, func(tx usance.Tx) error {
		now := f.o.Now().UTC().Truncate(time.Microsecond)
		state, err := tx.JobState(ctx, clockState)
		if err != nil {
			return err
		}
		var before Clock
		if len(state) > 0 {
			if err := json.Unmarshal(state, &before); err != nil {
				return err
			}
		}
		if before.SeenAt.IsZero() {
			if before.SeenAt, err = tx.LastReceived(ctx); err != nil {
				return err
			}
		}
		c = before.next(now, gapOf(keep))
		value, err := json.Marshal(c)
		if err != nil {
			return err
		}
		return tx.PutJobState(ctx, clockState, value, now)
	})
	if err != nil {
		return c, fmt.Errorf("noting the clock: %w", err)
	}
	if !c.DoubtedAt.IsZero() {
		f.o.Logger.Warn("the clock is far ahead of when it was last seen; no day is closed and nothing pruned until it has gone on so for a day",
			"seenAt", c.SeenAt, "doubtedAt", c.DoubtedAt)
	}
	return c, nil
}

// CleanUp is Retain for a job: while the clock is in doubt it closes and prunes
// nothing, and fails if a day would have been.
func (f *Folder) CleanUp(ctx context.Context, keep time.Duration) (Retention, error) {
	c, err := f.LookAtClock(ctx, keep)
	if err != nil {
		return Retention{}, err
	}
	if c.DoubtedAt.IsZero() {
		return f.Retain(ctx, keep)
	}
	var due []usance.Day
	err = f.store.View(ctx, func(v usance.View) (err error) {
		due, err = v.DueDays(ctx, f.o.Now().UTC().Add(-keep), usance.Day{}, 1)
		return err
	})
	if err == nil && len(due) > 0 {
		err = usance.NewError(usance.CodeUnavailable,
			"the clock tells %s, and told %s when it was seen last: nothing is closed and pruned. If it is wrong, put it right; if nothing ran meanwhile, this job goes on when it runs after %s",
			f.o.Now().UTC().Format(time.RFC3339), c.SeenAt.Format(time.RFC3339), c.DoubtedAt.Add(clockTrial).Format(time.RFC3339))
	}
	return Retention{}, err
}
