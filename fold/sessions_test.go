package fold_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/fold"
)

// forgetful is a store that loses the sessions of what is folded.
type forgetful struct{ usance.Store }

func (s forgetful) Update(ctx context.Context, locks usance.Locks, fn func(usance.Tx) error) error {
	return s.Store.Update(ctx, locks, func(tx usance.Tx) error { return fn(forgetfulTx{tx}) })
}

type forgetfulTx struct{ usance.Tx }

func (forgetfulTx) MergeSessions(context.Context, []usance.DaySketch) error { return nil }

// TestLostSessions: sessions that a day lacks, all of them or some, are drift
// that verification and the books name; the day keeps its raw events until a
// recalculation has merged them in, and is as if they had never been lost.
func TestLostSessions(t *testing.T) {
	k := newKit(t)
	flush := func(f *fold.Folder) {
		t.Helper()
		if _, err := f.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	loses := fold.New(forgetful{k.store}, fold.Options{Now: func() time.Time { return k.now }})
	old, whole := k.now.AddDate(0, 0, -3), k.now.AddDate(0, 0, -2)
	k.send(t, "l", "a", 30, whole)
	k.send(t, "l", "b", 4, k.now)
	flush(k.a)
	k.send(t, "l", "c", 30, old) // loses its row
	k.send(t, "l", "d", 30, k.now)
	flush(loses)

	today := usance.DateOf(k.now, time.UTC)
	estimates := func() (out []int64) {
		t.Helper()
		err := k.store.View(t.Context(), func(v usance.View) error {
			return v.DaySessions(t.Context(), "l", today-3, today+1, func(_ usance.Date, s *usance.Sessions) error {
				out = append(out, s.Estimate())
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	version := func() (n int64) {
		t.Helper()
		err := k.store.View(t.Context(), func(v usance.View) (err error) {
			n, err = v.Version(t.Context(), "l")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if got := estimates(); !slices.Equal(got, []int64{11, 4}) {
		t.Fatalf("sessions stored %d; the test loses a day's and some of another's", got)
	}
	want := []fold.DriftedRow{{LicenseID: "l", Date: today - 3, Sessions: true}, {LicenseID: "l", Date: today, Sessions: true}}
	if d := k.verify(t, "l"); d.Drifted != 2 || d.Rows != 9 || !slices.Equal(d.Keys, want) {
		t.Errorf("verification finds %+v, want %+v", d, want)
	}
	problem := "the day's unique sessions lack sessions of its raw events"
	faults := []fold.Discrepancy{
		{Kind: fold.WrongSessions, LicenseID: "l", Date: today - 3, Problem: problem, Fix: `recalculate the day: POST /v1/recalculate with licenseId "l", startDate and endDate 2026-04-28`},
		{Kind: fold.WrongSessions, LicenseID: "l", Date: today, Problem: problem, Fix: `recalculate the day: POST /v1/recalculate with licenseId "l", startDate and endDate 2026-05-01`},
	}
	if b := k.books(t, 0)[0]; b.Wrong[fold.WrongSessions] != 2 || !slices.Equal(b.Faults, faults) {
		t.Errorf("the books name %+v, want %+v", b, faults)
	}

	rows := k.rows(t, "l")
	k.now = k.now.AddDate(0, 0, 40)
	if r, err := k.a.Retain(t.Context(), 30*24*time.Hour); err != nil || r.Days != 1 || r.Drifted != 2 || r.Events != 30 {
		t.Errorf("retention %+v, %v; the days that lack sessions keep their events", r, err)
	}
	before := version()
	if r, err := k.a.Recalculate(t.Context(), "l", today-3, today+1, "test"); err != nil || r.Changed != 2 || len(r.Sealed) != 1 {
		t.Errorf("recalculation %+v, %v", r, err)
	}
	if got := estimates(); !slices.Equal(got, []int64{11, 11, 11}) {
		t.Errorf("sessions after it %d", got)
	}
	if version() == before {
		t.Error("what is cached of the days would be served still")
	}
	if d := k.verify(t, "l"); d.Drifted != 0 {
		t.Errorf("after it verification finds %+v", d)
	}
	if r, err := k.a.Recalculate(t.Context(), "l", today-3, today+1, "test"); err != nil || r.Changed != 0 {
		t.Errorf("a second one %+v, %v", r, err)
	}
	if got := k.rows(t, "l"); len(got) != len(rows) {
		t.Errorf("%d rows, want %d as before", len(got), len(rows))
	}
	if r, err := k.a.Retain(t.Context(), 30*24*time.Hour); err != nil || r.Days != 2 || r.Drifted != 0 || r.Events != 64 {
		t.Errorf("retention of what is right again %+v, %v", r, err)
	}
}
