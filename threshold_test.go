package usance

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

// Answers name the day on which a period began, and none for all time.
func TestUsageOfATotalHasNoStart(t *testing.T) {
	t.Parallel()
	h := &Threshold{ID: "t", UsageType: "view"}
	for _, periodType := range PeriodTypes {
		start := PeriodOf(periodType, MakeDate(2026, 3, 15), 1).Start
		c := Counter{CounterKey: CounterKey{ThresholdID: "t", PeriodStart: start}}
		switch got := c.Usage(h).PeriodStart; {
		case periodType == PeriodTotal && got != nil:
			t.Errorf("of a total: %s", got)
		case periodType != PeriodTotal && (got == nil || *got != start):
			t.Errorf("%s: %v, want %s", periodType, got, start)
		}
	}
}

// What SQL may have left in a row is told of, and names it.
func TestCheckStored(t *testing.T) {
	t.Parallel()
	far := time.Date(290_000, 1, 1, 0, 0, 0, 0, time.UTC)
	for what, spoil := range map[string]func(*Threshold) error{
		"a period that is none": func(h *Threshold) error { h.PeriodType = "MONTHLY"; return nil },
		"a day of no calendar":  func(h *Threshold) error { h.EffectiveFrom = MaxDate + 1; return nil },
		"a time JSON lacks":     func(h *Threshold) error { h.CreatedAt = far; return nil },
		"an end JSON lacks":     func(h *Threshold) error { h.RetiredAt = &far; return nil },
		"a negative limit":      func(h *Threshold) error { h.LimitQuantity = -1; return nil },
		"a limit that overruns": func(h *Threshold) error { h.LimitQuantity = math.MaxInt64; return nil },
		"a negative grace":      func(h *Threshold) error { h.GracePercentage = -200; return nil },
		"a grace that overruns": func(h *Threshold) error { h.GracePercentage = math.MaxInt; return nil },
		"a tier of nothing":     func(h *Threshold) error { h.OverageTiers = make([]Tier, 1); return nil },
		"what does not scan":    func(*Threshold) error { return errors.New("NaN") },
	} {
		h := Threshold{ID: "t", LicenseID: "l", PeriodType: PeriodMonthly}
		if err := h.CheckStored(nil); err != nil {
			t.Fatal(err)
		}
		err := h.CheckStored(spoil(&h))
		if _, ok := errors.AsType[*UnreadableError](err); !ok || !strings.Contains(err.Error(), `the threshold t of licence "l"`) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
