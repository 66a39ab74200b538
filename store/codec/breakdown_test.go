package codec

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/usance/usance"
)

func TestBreakdown(t *testing.T) {
	t.Parallel()
	tallies := rapid.Custom(func(t *rapid.T) usance.Tally {
		n := rapid.Int64Range(-usance.MaxTotal, usance.MaxTotal)
		return usance.Tally{Events: n.Draw(t, "events"), Quantity: n.Draw(t, "quantity"), RevenueCents: n.Draw(t, "revenue")}
	})
	rapid.Check(t, func(t *rapid.T) {
		want := make(usance.Breakdown)
		for _, d := range usance.Dimensions {
			if rapid.Bool().Draw(t, string(d)) {
				want[d] = rapid.MapOfN(rapid.String(), tallies, 0, 20).Draw(t, "values")
			}
		}
		stored := string(rapid.SampledFrom([]func([]byte, usance.Breakdown) []byte{AppendBreakdown, AppendTexts}).Draw(t, "form")(nil, want))
		if !json.Valid([]byte(stored)) {
			t.Fatalf("stored as %s, which is no JSON", stored)
		}
		got, err := ParseBreakdown(stored)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// PostgreSQL keeps no bytes of a jsonb value, but its meaning.
func TestBreakdownWithSpace(t *testing.T) {
	t.Parallel()
	got, err := ParseBreakdown(`{"hour": {"0": [1, 2, 3], "24": [-1, -2, -3]}, "source": {", : {": [4, 5, 6]}, "platform": {}, "device": {"tv": "7 8 0", "web": "-1 -2 -3"}}`)
	if err != nil {
		t.Fatal(err)
	}
	want := usance.Breakdown{
		usance.ByHour:     {"0": {Events: 1, Quantity: 2, RevenueCents: 3}, "24": {Events: -1, Quantity: -2, RevenueCents: -3}},
		usance.BySource:   {", : {": {Events: 4, Quantity: 5, RevenueCents: 6}},
		usance.ByPlatform: {},
		usance.ByDevice:   {"tv": {Events: 7, Quantity: 8}, "web": {Events: -1, Quantity: -2, RevenueCents: -3}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Whatever the file holds, reading it ends, without a panic.
func FuzzBreakdown(f *testing.F) {
	f.Add(`{"hour":{"0":[1,2,3],"24":[-1,-2,-3]},"platform":{}}`)
	f.Add(`{"hour":{"0":"1 2 3","24":"-1 -2 -3"},"platform":{}}`)
	f.Add(`{"geography":{"a\"}\u0041\\":[0,0,0]}}`)
	f.Add(`{"hour":{"0":[1,2`)
	f.Add(`{"a\`)
	f.Fuzz(func(t *testing.T, s string) {
		b, err := ParseBreakdown(s)
		if err != nil {
			return
		}
		again, err := ParseBreakdown(string(AppendBreakdown(nil, b)))
		if err != nil {
			t.Fatalf("%q was read, but not what it was written as again: %v", s, err)
		}
		for _, d := range usance.Dimensions {
			if len(b[d]) != len(again[d]) {
				t.Fatalf("%q: %v became %v", s, b, again)
			}
		}
	})
}

func BenchmarkBreakdown(b *testing.B) {
	breakdown := make(usance.Breakdown)
	for d, n := range map[usance.Dimension]int{usance.ByHour: 24, usance.ByPlatform: 6, usance.ByDevice: 5, usance.ByGeo: 60, usance.BySource: 200} {
		breakdown[d] = make(map[string]usance.Tally)
		for i := range n {
			breakdown[d][fmt.Sprintf("value-%d", i)] = usance.Tally{Events: 1234, Quantity: 5678, RevenueCents: 91011}
		}
	}
	stored := AppendBreakdown(nil, breakdown)
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			stored = AppendBreakdown(stored[:0], breakdown)
		}
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			if _, err := ParseBreakdown(string(stored)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
