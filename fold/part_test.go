package fold_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/fold"
	"github.com/usance/usance/ingest"
)

func (v *dyingView) FoldedPart(ctx context.Context, licenseID string, day usance.Date, mark string, n int, now time.Time, yield func(*usance.Event) error) (string, error) {
	return v.View.FoldedPart(ctx, licenseID, day, mark, n, now, func(e *usance.Event) error {
		if v.d.dead() {
			return errKilled
		}
		v.d.read++
		return yield(e)
	})
}

// TestBackfillOfFewDaysKilled: of a range of one day, or of few, little is read again
// too.
func TestBackfillOfFewDaysKilled(t *testing.T) {
	t.Parallel()
	for _, days := range []int{1, 3} {
		t.Run(fmt.Sprint(days), func(t *testing.T) {
			t.Parallel()
			const perDay = 2400
			k := newKit(t)
			from, to := k.days(t, "l", days, perDay)
			k.now = k.now.Add(time.Minute)
			k.spoil(t, "l", from)
			all := int64(days * perDay)
			first := &dying{Store: k.store, last: all/2 + 17, died: make(chan struct{})}
			b, stop := k.process(t, first, true, 0)
			if _, err := b.Start(t.Context(), "l", from, to, "test"); err != nil {
				t.Fatal(err)
			}
			<-first.died
			stop()
			second := &dying{Store: k.store}
			b, stop = k.process(t, second, true, 0)
			defer stop()
			s := await(t, b, "l", ended)
			if s.Status != usance.BackfillDone || s.Events != all || s.Days != days || s.Changed != 1 || s.Part != nil {
				t.Errorf("at the end: %+v", s)
			}
			again := first.read + second.read - all
			t.Logf("read again: %d of %d events", again, all)
			if again <= 0 || again >= all/10 {
				t.Errorf("read %d of %d events again", again, all)
			}
			if d := k.verify(t, "l"); d.Drifted != 0 {
				t.Errorf("drifted %d", d.Drifted)
			}
		})
	}
}

// meddled is a store in which something happens before each transaction and view.
type meddled struct {
	fold.Store
	meddle func()
	parts  int
	forget int // events that a part does not see, as one that is pending, and is folded then
	again  int64
}

func (m *meddled) Update(ctx context.Context, locks usance.Locks, fn func(usance.Tx) error) error {
	m.meddle()
	return m.Store.Update(ctx, locks, fn)
}

func (m *meddled) View(ctx context.Context, fn func(usance.View) error) error {
	m.meddle()
	return m.Store.View(ctx, func(v usance.View) error { return fn(&meddledView{v, m}) })
}

type meddledView struct {
	usance.View
	m *meddled
}

func (v *meddledView) FoldedPart(ctx context.Context, licenseID string, day usance.Date, mark string, n int, now time.Time, yield func(*usance.Event) error) (string, error) {
	v.m.parts++
	return v.View.FoldedPart(ctx, licenseID, day, mark, n, now, func(e *usance.Event) error {
		if v.m.forget > 0 {
			v.m.forget--
			return nil
		}
		return yield(e)
	})
}

func (v *meddledView) Folded(ctx context.Context, licenseID string, from, to usance.Date, yield func(*usance.Event) error) error {
	return v.View.Folded(ctx, licenseID, from, to, func(e *usance.Event) error {
		v.m.again++
		return yield(e)
	})
}

// TestBackfillInPartsIsExact: a day that is read in parts comes to what its events
// are, whatever comes, is voided and folded meanwhile, in whatever order.
func TestBackfillInPartsIsExact(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 5))
			k := newKit(t)
			from, to := k.days(t, "l", 2, 1500)
			k.now = k.now.Add(time.Minute)
			k.spoil(t, "l", from)
			n := 0
			m := &meddled{Store: k.store, forget: int(seed % 2)}
			m.meddle = func() {
				n++
				k.now = k.now.Add(time.Second)
				day := k.now.AddDate(0, 0, -random.IntN(2))
				switch random.IntN(4) {
				case 0:
					k.send(t, "l", fmt.Sprint("late", n, "-"), 1+random.IntN(20), day)
				case 1:
					key := fmt.Sprint("day", random.IntN(2), "-", random.IntN(1500))
					if _, err := k.in.Void(t.Context(), ingest.VoidRequest{LicenseID: "l", IdempotencyKey: key, Actor: "test"}); err != nil {
						t.Error(err)
					}
				case 2:
					if _, err := k.a.Flush(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
			asks := fold.NewBackfiller(k.a, true) // beside the one that is meddled with
			if _, err := asks.Start(t.Context(), "l", from, to, "test"); err != nil {
				t.Fatal(err)
			}
			_, stop := k.process(t, m, true, 0)
			s := await(t, asks, "l", ended)
			stop()
			if s.Status != usance.BackfillDone || s.Changed != 1 || m.parts < 20 {
				t.Errorf("%+v, in %d parts", s, m.parts)
			}
			if (m.again > 0) != (seed%2 == 1) {
				t.Errorf("%d events were read at once", m.again)
			}
			if _, err := k.a.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if d := k.verify(t, "l"); d.Drifted != 0 {
				t.Errorf("drifted: %+v", d)
			}
		})
	}
}
