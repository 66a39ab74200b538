package query

import (
	"math"
	"slices"

	"github.com/usance/usance"
)

// Trend is where usage is heading.
type Trend struct {
	// Direction is up, down or flat. It is flat unless the Mann–Kendall test
	// finds a trend at the 5 % level.
	Direction string `json:"direction"`
	// Slope is the Theil–Sen estimate of the change in quantity from one bucket
	// to the next: the median over all pairs of buckets, which no single
	// outlier moves.
	Slope float64 `json:"slope"`
	// Buckets is how many complete buckets it rests on: the latest ones, at
	// most 366.
	Buckets int `json:"buckets"`
}

// maxTrendBuckets bounds the pairs that are looked at.
const maxTrendBuckets = 366

// significance is the two-sided 5 % point of the normal distribution.
const significance = 1.96

// trendOf works out the trend of quantities in time order.
//
// The slope is that of H. Theil, "A rank-invariant method of linear and
// polynomial regression analysis" (1950), and P. K. Sen, "Estimates of the
// regression coefficient based on Kendall's tau" (1968). The test is that of
// H. B. Mann, "Nonparametric tests against trend" (1945), with the variance
// corrected for ties and for continuity after M. G. Kendall, "Rank Correlation
// Methods" (1975).
func trendOf(quantities []int64) Trend {
	q := quantities[max(0, len(quantities)-maxTrendBuckets):]
	n := len(q)
	t := Trend{Direction: "flat", Buckets: n}
	if n < 2 {
		return t
	}
	slopes := make([]float64, 0, n*(n-1)/2)
	s := 0
	for i := range q {
		for j := i + 1; j < n; j++ {
			d := q[j] - q[i]
			slopes = append(slopes, float64(d)/float64(j-i))
			switch {
			case d > 0:
				s++
			case d < 0:
				s--
			}
		}
	}
	t.Slope = median(slopes)
	variance := kendall(n)
	sorted := slices.Sorted(slices.Values(q))
	for i := 0; i < n; {
		j := i
		for j < n && sorted[j] == sorted[i] {
			j++
		}
		variance -= kendall(j - i)
		i = j
	}
	if variance <= 0 {
		return t
	}
	// S moves in steps of two; one is taken off before it is held against a
	// continuous distribution.
	z := (math.Abs(float64(s)) - 1) / math.Sqrt(variance)
	if z > significance {
		t.Direction = "up"
		if s < 0 {
			t.Direction = "down"
		}
	}
	return t
}

// kendall is the variance of S over n values in random order; over the n
// values of a tie, what the tie takes off.
func kendall(n int) float64 { return float64(n) * float64(n-1) * float64(2*n+5) / 18 }

// median reorders v, which is not empty.
func median(v []float64) float64 {
	k := len(v) / 2
	upper := usance.SelectNth(v, k)
	if len(v)%2 == 1 {
		return upper
	}
	return (slices.Max(v[:k]) + upper) / 2
}

// Trends is the trend of all usage and of each type.
type Trends struct {
	Total  Trend            `json:"total"`
	ByType map[string]Trend `json:"byType"`
}

// trends works out the trends over the buckets that are complete.
func (p *part) trends(complete []bool) Trends {
	out := Trends{ByType: make(map[string]Trend)}
	total := make([]int64, len(complete))
	series := func(tallies []usance.Tally) []int64 {
		var q []int64
		for i, t := range tallies {
			total[i] += t.Quantity
			if complete[i] {
				q = append(q, t.Quantity)
			}
		}
		return q
	}
	for _, name := range p.types {
		out.ByType[name] = trendOf(series(make([]usance.Tally, len(complete))))
	}
	for name, tallies := range p.Types {
		out.ByType[name] = trendOf(series(tallies))
	}
	var q []int64
	for i, n := range total {
		if complete[i] {
			q = append(q, n)
		}
	}
	out.Total = trendOf(q)
	return out
}
