//go:build unix

package main

import (
	"fmt"
	"math"
	"text/tabwriter"
	"time"
)

// sums adds up the measures over tasks.
type sums struct {
	n, points              float64
	smape, mase            float64
	in80, in95, is80, is95 float64
}

// add scores one prediction: sMAPE and MASE as in M4, the scale of MASE being
// the mean absolute seasonal difference of the past; the interval score (Gneiting
// and Raftery, JASA 102, 2007) by the same scale, which makes it M4's MSIS.
func (s *sums) add(t task, p prediction) {
	m := t.frequency
	scale, k := 0.0, 0.0
	for i := m; i < len(t.past); i++ {
		scale += math.Abs(t.past[i] - t.past[i-m])
		k++
	}
	scale /= k
	smape, mase := 0.0, 0.0
	for h, a := range t.future {
		d := math.Abs(a - p.median[h])
		if sum := math.Abs(a) + math.Abs(p.median[h]); sum > 0 {
			smape += 200 * d / sum
		}
		mase += d / scale
		s.points++
		in, score := interval(a, p.lower80[h], p.upper[h], 0.2)
		s.in80, s.is80 = s.in80+in, s.is80+score/scale
		in, score = interval(a, p.lower95[h], p.up95[h], 0.05)
		s.in95, s.is95 = s.in95+in, s.is95+score/scale
	}
	s.n++
	s.smape += smape / float64(len(t.future))
	s.mase += mase / float64(len(t.future))
}

func interval(a, lower, upper, alpha float64) (in, score float64) {
	if lower <= a && a <= upper {
		in = 1
	}
	return in, upper - lower + 2/alpha*(max(0, lower-a)+max(0, a-upper))
}

// print writes the means; OWA is the mean of sMAPE and MASE over those of base.
func (s *sums) print(w *tabwriter.Writer, series, method string, base sums, used time.Duration) {
	owa := (s.smape/base.smape + s.mase/base.mase) / 2
	fmt.Fprintf(w, "%s\t%s\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%.2f\t%.2f\t%.2f\t\n", series, method, s.smape/s.n, s.mase/s.n, owa,
		s.in80/s.points, s.in95/s.points, s.is80/s.points, s.is95/s.points, used.Seconds()*1000/s.n)
}
