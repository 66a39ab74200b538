package usance

import "testing"

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
