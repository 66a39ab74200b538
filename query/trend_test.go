package query

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestTrend(t *testing.T) {
	t.Parallel()
	year := make([]int64, 400)
	for i := range year {
		year[i] = int64(3 * i)
	}
	for _, c := range []struct {
		name string
		in   []int64
		want Trend
	}{
		{"nothing", nil, Trend{"flat", 0, 0}},
		{"one", []int64{5}, Trend{"flat", 0, 1}},
		{"rising", []int64{1, 2, 3, 4, 5, 6}, Trend{"up", 1, 6}},
		{"falling", []int64{60, 50, 40, 30, 20}, Trend{"down", -10, 5}},
		{"constant", []int64{7, 7, 7, 7, 7, 7, 7}, Trend{"flat", 0, 7}},
		// Slopes 3, 1, 2/3 between neighbours and so on; too few to be sure.
		{"short", []int64{0, 3, 4}, Trend{"flat", 2, 3}},
		// One outlier does not bend the line: the median slope stays 1.
		{"outlier", []int64{1, 2, 3, 1000, 5, 6, 7, 8, 9}, Trend{"up", 1, 9}},
		{"noise", []int64{5, 1, 4, 2, 5, 1, 4, 2}, Trend{"flat", -1. / 12, 8}},
		{"long", year, Trend{"up", 3, 366}},
	} {
		if got := trendOf(c.in); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
	start := time.Now()
	trendOf(year)
	t.Logf("a year took %v", time.Since(start))
}

func TestMedian(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for n := 1; n < 60; n++ {
		v := make([]float64, n)
		for i := range v {
			v[i] = float64(r.IntN(20)) // many ties
		}
		s := slices.Sorted(slices.Values(v))
		want := (s[(n-1)/2] + s[n/2]) / 2
		if got := median(v); got != want {
			t.Fatalf("median of %v: got %v, want %v", s, got, want)
		}
	}
}
