package api

import (
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/usance/usance"
)

func TestResultsAreWrittenAsJSON(t *testing.T) {
	t.Parallel()
	text := rapid.OneOf(rapid.Just(""), rapid.Just("lic_1"), rapid.Just("a\"\\\n<\x80>"), rapid.String())
	usage := rapid.Custom(func(t *rapid.T) usance.Usage {
		n := rapid.Int64()
		return usance.Usage{
			ThresholdID: text.Draw(t, "threshold"), UsageType: text.Draw(t, "type"),
			PeriodStart: usance.Date(rapid.IntRange(int(usance.MinDate), int(usance.MaxDate)).Draw(t, "date")),
			Used:        n.Draw(t, "used"), Limit: n.Draw(t, "limit"), Remaining: n.Draw(t, "remaining"),
		}
	})
	result := rapid.Custom(func(t *rapid.T) usance.Result {
		r := usance.Result{
			LicenseID: text.Draw(t, "license"), IdempotencyKey: text.Draw(t, "key"), Tracked: rapid.Bool().Draw(t, "tracked"),
			Duplicate: rapid.Bool().Draw(t, "duplicate"), Status: usance.EventStatus(text.Draw(t, "status")),
			Usage: rapid.SliceOfN(usage, 0, 3).Draw(t, "usage"),
		}
		copy(r.EventID[:], rapid.SliceOfN(rapid.Byte(), 0, 16).Draw(t, "id"))
		if rapid.Bool().Draw(t, "refused") {
			r.Error = usance.Invalid("field", "is not right")
		}
		return r
	})
	rapid.Check(t, func(t *rapid.T) {
		results := rapid.SliceOfN(result, 0, 4).Draw(t, "results")
		want, err := json.Marshal(results, marshalOptions)
		if err != nil {
			t.Fatal(err)
		}
		got, err := appendResults(nil, results)
		if err != nil {
			t.Fatal(err)
		}
		if len(results) == 0 {
			want = []byte("[]")
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Error(diff)
		}
	})
	if _, err := appendResults(nil, []usance.Result{{Usage: []usance.Usage{{PeriodStart: usance.MaxDate + 1}}}}); err == nil {
		t.Error("a date past the year 9999 is written")
	}
}
