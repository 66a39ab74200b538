package forecast

import (
	"cmp"
	"runtime"
	"slices"
	"sync"
)

// A Question asks what the total of a period will be, as of a day of a series
// whose later days are not looked at. Days are indices into the series; day 0
// counts as a Sunday, since only the differences between weekdays matter.
type Question struct {
	Series int // which one
	Start  int // the period's first day
	Origin int // the first day that is not known
	Cold   bool
	// Cold: the days before Start are not known either, as for a new licence.
}

// known gives the days that the question may look at.
func (q Question) known() (from, to int) {
	if q.Cold {
		return min(q.Start, q.Origin), q.Origin
	}
	return 0, q.Origin
}

// maxCutoffs bounds how many priors are learned for questions of many days.
const maxCutoffs = 8

// Answer answers questions about periods of that many days. What is known of
// the series for other questions serves as the prior, and of that only what lies
// before the question's own origin. Questions are answered in parallel; the
// answers do not depend on how many processors there are.
func Answer(series [][]float64, questions []Question, days int) []Total {
	out := make([]Total, len(questions))
	cuts := cutoffs(questions)
	priors := make([]*Prior, len(cuts))
	parallel(len(cuts), func(i int, _ *Forecaster) {
		priors[i] = priorAt(series, questions, cuts[i])
	})
	parallel(len(questions), func(i int, f *Forecaster) {
		q := questions[i]
		c, found := slices.BinarySearch(cuts, q.Origin)
		if !found {
			c--
		}
		y := series[q.Series]
		from, to := q.known()
		used := 0.0
		for _, v := range y[min(q.Start, q.Origin):q.Origin] {
			used += known0(v)
		}
		out[i] = f.answer(y[from:to], from%7, q, used, max(0, q.Start+days-q.Origin), priors[c])
	})
	return out
}

// answer forecasts the total of one question.
func (f *Forecaster) answer(known []float64, weekday int, q Question, used float64, left int, p *Prior) Total {
	ahead := max(0, q.Start-q.Origin) // days before the period begins
	switch {
	case left == 0:
		return Total{Used: used}
	case !slices.ContainsFunc(known, isKnown):
		return p.unknown(left - ahead)
	}
	h := history{days: known, weekday: weekday, elapsed: q.Origin - q.Start}
	return f.outlook(h, left, Auto, p).total(used, ahead, left)
}

// cutoffs gives the days before which priors are learned, in order: that of the
// first question is always among them.
func cutoffs(questions []Question) []int {
	origins := make([]int, len(questions))
	for i, q := range questions {
		origins[i] = q.Origin
	}
	slices.Sort(origins)
	distinct := slices.Compact(slices.Clone(origins))
	if len(distinct) <= maxCutoffs {
		return distinct
	}
	cuts := make([]int, maxCutoffs)
	for i := range cuts {
		cuts[i] = origins[i*(len(origins)-1)/maxCutoffs]
	}
	return slices.Compact(cuts)
}

// priorAt learns from what questions may look at before the day cut.
func priorAt(series [][]float64, questions []Question, cut int) *Prior {
	type span struct{ series, from, to int }
	var spans []span
	for _, q := range questions {
		from, to := q.known()
		if to = min(to, cut); from < to {
			spans = append(spans, span{q.Series, from, to})
		}
	}
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(a.series-b.series, a.from-b.from, b.to-a.to)
	})
	var l Learner
	for i, s := range spans {
		if i > 0 && s.series == spans[i-1].series && s.to <= spans[i-1].to {
			spans[i].to = spans[i-1].to // known already
			continue
		}
		l.Add(series[s.series][s.from:s.to], s.from%7)
	}
	return l.Prior()
}

// All forecasts h more values of every series, in parallel, as Forecaster.Series
// does one by one.
func All(series [][]float64, cycles []int, h int) []Values {
	out := make([]Values, len(series))
	parallel(len(series), func(i int, f *Forecaster) { out[i] = f.Series(series[i], cycles, h) })
	return out
}

// parallel runs n pieces of work, each with a forecaster that nobody else uses.
func parallel(n int, work func(i int, f *Forecaster)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			var f Forecaster
			for i := range next {
				work(i, &f)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
