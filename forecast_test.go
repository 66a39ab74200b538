package usance

import (
	"math"
	"testing"
	"time"
)

func TestForecastAgainst(t *testing.T) {
	t.Parallel()
	p := func(v float64) *float64 { return &v }
	f := Forecast{
		LimitQuantity: 1000, PredictedQuantity: 900, LowerBound: 700, UpperBound: 1100, ConfidenceLevel: 0.8,
		BreachProbability: p(0.2), NaiveError: p(50), ForecastDate: 10, PeriodEnd: 17,
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-12 {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	at := time.Unix(1, 0)
	for _, c := range []struct {
		actual            int64
		off               int64
		pinball           float64
		covered, breached bool
		scaled, brier     float64
	}{
		// 0.1 of what is above the lower bound, half of what the median is off, and so on.
		{actual: 1000, off: 100, pinball: (0.1*300 + 50 + 0.1*100) / 3, covered: true, scaled: 2, brier: 0.04},
		{actual: 1001, off: 101, pinball: (0.1*301 + 50.5 + 0.1*99) / 3, covered: true, breached: true, scaled: 2.02, brier: 0.64},
		{actual: 600, off: 300, pinball: (0.9*100 + 150 + 0.1*500) / 3, scaled: 6, brier: 0.04},
		{actual: 1200, off: 300, pinball: (0.1*500 + 150 + 0.9*100) / 3, breached: true, scaled: 6, brier: 0.64},
		{actual: 700, off: 200, pinball: (0 + 100 + 0.1*400) / 3, covered: true, scaled: 4, brier: 0.04},
	} {
		s := f.Against(c.actual, at)
		if s.ActualQuantity != c.actual || s.AbsoluteError != c.off || s.Covered != c.covered || *s.Breached != c.breached || !s.ScoredAt.Equal(at) {
			t.Errorf("%d: %+v", c.actual, s)
		}
		near("pinball", s.PinballLoss, c.pinball)
		near("scaled", *s.ScaledError, c.scaled)
		near("Brier", *s.BrierScore, c.brier)
	}
	// A hard limit let nothing more in: what was forecast above it may have been right.
	for _, c := range []struct {
		actual, off int64
		covered     bool
		brier       float64
	}{{800, 0, true, 0.64}, {650, 0, true, 0.64}, {1000, 100, true, 0.64}, {1150, 250, false, 0.64}} {
		s := f.AgainstHeld(c.actual, at)
		if s.ActualQuantity != c.actual || s.AbsoluteError != c.off || s.Covered != c.covered || !*s.Breached {
			t.Errorf("held at %d: %+v", c.actual, s)
		}
		near("Brier", *s.BrierScore, c.brier)
	}
	if s := f.AgainstHeld(650, at); s.PinballLoss != 0 {
		t.Errorf("held at 650: a loss of %v", s.PinballLoss)
	}
	f.BreachProbability, f.NaiveError = nil, p(0)
	if s := f.Against(1, at); s.Breached != nil || s.BrierScore != nil || s.ScaledError != nil {
		t.Errorf("without a limit, and a history that never changed: %+v", s)
	}
}
