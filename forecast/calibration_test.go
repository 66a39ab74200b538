package forecast

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/usance/usance"
)

// rnd makes series like page views: a wandering level, weekdays, noise, spikes.
type rnd struct{ *rand.Rand }

func synthetic(seed uint64) rnd { return rnd{rand.New(rand.NewPCG(seed, 1))} } //nolint:gosec // must repeat

func (r rnd) noise() float64 { return r.NormFloat64() }
func (r rnd) Intn(n int) int { return r.IntN(n) }
func (r rnd) views(n int) []float64 {
	level := math.Exp(5 + 1.5*r.noise())
	wander, scatter := 0.02*math.Abs(r.noise()), 0.1+0.2*math.Abs(r.noise())
	var week [7]float64
	for i := range week {
		week[i] = math.Exp(0.2 * r.noise())
	}
	spike, x := 0.0, 0.0
	return series(n, func(i int) float64 {
		x += wander * r.noise()
		spike *= 0.7
		if r.IntN(120) == 0 {
			spike += math.Exp(0.5 + r.noise())
		}
		return math.Round(level * math.Exp(x+scatter*r.noise()) * week[i%7] * (1 + spike))
	})
}

// calibration counts how often what came lay in the intervals, and scores the
// probabilities.
type calibration struct{ n, in80, in95, brier, base, expected, passed float64 }

func (c *calibration) add(total Total, actual float64, limits ...float64) {
	c.n++
	if total.Quantile(0.1) <= actual && actual <= total.Quantile(0.9) {
		c.in80++
	}
	if total.Quantile(0.025) <= actual && actual <= total.Quantile(0.975) {
		c.in95++
	}
	for _, l := range limits {
		p, hit := total.Above(l), 0.0
		if actual > l {
			hit = 1
		}
		c.brier += (p - hit) * (p - hit)
		c.base += 0.25
		c.expected += p
		c.passed += hit
	}
}

func (c *calibration) check(t *testing.T) {
	t.Helper()
	t.Logf("n %v, in 80: %.3f, in 95: %.3f, Brier %.4f of %.4f, passed %.3f, expected %.3f", c.n, c.in80/c.n, c.in95/c.n,
		c.brier/c.n, c.base/c.n, c.passed/c.n, c.expected/c.n)
	if r := c.in80 / c.n; r < 0.74 || r > 0.87 {
		t.Errorf("%.3f lie in the intervals of 80 %%", r)
	}
	if r := c.in95 / c.n; r < 0.91 || r > 0.985 {
		t.Errorf("%.3f lie in the intervals of 95 %%", r)
	}
	if c.brier > 0.6*c.base {
		t.Errorf("Brier %.4f", c.brier/c.n)
	}
	if math.Abs(c.expected-c.passed) > 0.12*c.passed {
		t.Errorf("%v limits were passed, and %v expected", c.passed, c.expected)
	}
}

func TestTotalsAreCalibrated(t *testing.T) {
	t.Parallel()
	r := synthetic(11)
	var f Forecaster
	var c calibration
	for i := range 150 {
		y := r.views(200 + r.Intn(300))
		origin := len(y) - 5 - r.Intn(24)
		start := origin - r.Intn(8)
		period := usance.Period{Start: usance.Date(start), End: usance.Date(len(y))}
		got, err := f.Forecast(Request{Days: y[:origin], Period: period})
		if err != nil {
			t.Fatal(i, err)
		}
		usual := 0.0
		for _, v := range y[start-28 : start] {
			usual += v / 28 * float64(len(y)-start)
		}
		c.add(got.Periods[0].Total, sumOf(y[start:]), 0.8*usual, usual, 1.3*usual)
	}
	c.check(t)
}

func TestQuotaQuestionsAreCalibrated(t *testing.T) {
	t.Parallel()
	series, questions := quotaQuestions(12, 70)
	var cold, warm calibration
	for i, total := range Answer(series, questions, 28) {
		q := questions[i]
		y := series[q.Series]
		usual := sumOf(y[q.Start-28 : q.Start])
		c := &warm
		if q.Cold {
			c = &cold
		}
		c.add(total, sumOf(y[q.Start:q.Start+28]), 0.8*usual, usual, 1.3*usual)
	}
	t.Run("cold", func(t *testing.T) { cold.check(t) })
	t.Run("warm", func(t *testing.T) { warm.check(t) })
}

func quotaQuestions(seed uint64, n int) (series [][]float64, questions []Question) {
	r := synthetic(seed)
	for i := range n {
		series = append(series, r.views(260))
		for k := range 4 {
			start := 100 + r.Intn(130)
			questions = append(questions, Question{Series: i, Start: start, Origin: start + 1 + r.Intn(20), Cold: k%2 == 0})
		}
	}
	return series, questions
}

// What came at or after a question's origin, and before its period when it is
// cold, must not be seen by its answer, not even by way of the others.
func TestAnswersDoNotLookAhead(t *testing.T) {
	t.Parallel()
	series, questions := quotaQuestions(13, 2)
	want := Answer(series, questions, 28)
	for i, q := range questions {
		changed := slices.Clone(series)
		for s := range changed {
			changed[s] = slices.Clone(changed[s])
			for d := q.Origin; d < len(changed[s]); d++ {
				changed[s][d] = 7e6
			}
		}
		if got := Answer(changed, questions, 28)[i]; got != want[i] {
			t.Fatalf("question %d changed with the days from its origin on: %v, before %v", i, got.Median(), want[i].Median())
		}
	}
	// A cold one alone with its series: the days before its period.
	cold := []Question{{Series: 0, Start: 150, Origin: 160, Cold: true}}
	before := Answer(series, cold, 28)
	changed := [][]float64{slices.Clone(series[0])}
	for d := range 150 {
		changed[0][d] = 9e6
	}
	if after := Answer(changed, cold, 28); after[0] != before[0] {
		t.Errorf("a cold question saw the days before its period: %v, before %v", after[0].Median(), before[0].Median())
	}
}

func TestAnswersAtTheEdges(t *testing.T) {
	t.Parallel()
	r := synthetic(16)
	gap := math.NaN()
	series := [][]float64{
		r.views(200), make([]float64, 200), series(200, func(int) float64 { return gap }),
		series(200, func(i int) float64 { return []float64{gap, 40, 60}[i%3] }), {1, 2, 3},
	}
	var questions []Question
	for s, y := range series {
		for _, at := range [][2]int{{0, 0}, {0, 1}, {0, 5}, {150, 150}, {150, 163}, {150, 164}, {150, 178}, {190, 150}, {190, 200}} {
			if at[1] > len(y) {
				continue
			}
			questions = append(questions, Question{s, at[0], at[1], false}, Question{s, at[0], at[1], true})
		}
	}
	for i, total := range Answer(series, questions, 28) {
		last := 0.0
		for _, p := range []float64{0, 0.025, 0.1, 0.5, 0.9, 0.975, 1} {
			v := total.Quantile(p)
			if !(v >= last) || math.IsInf(v, 0) {
				t.Errorf("%+v: quantile %v is %v after %v", questions[i], p, v, last)
			}
			last = v
		}
		if above := total.Above(last / 2); !(above >= 0 && above <= 1) {
			t.Errorf("%+v: passed with %v", questions[i], above)
		}
	}
	// A period that is over is known; one of which nothing is known is like the others.
	over := Answer(series, []Question{{0, 100, 128, false}, {0, 100, 100, true}, {3, 100, 150, false}}, 28)
	near(t, over[0].Quantile(0.9), sumOf(series[0][100:128]), 1e-9)
	if over[1].Quantile(0.9) <= over[1].Quantile(0.1) {
		t.Errorf("nothing is known, and the total is %v", over[1].Median())
	}
}

func TestLearnerFindsTheWeek(t *testing.T) {
	t.Parallel()
	r := synthetic(14)
	week := [7]float64{0.4, 1.2, 1.2, 1.2, 1.2, 1.2, 0.6}
	var l Learner
	for i := range 120 {
		level := math.Exp(3 + r.noise())
		l.Add(series(60, func(d int) float64 { return level * week[(d+i)%7] * math.Exp(0.2*r.noise()) }), i%7)
	}
	p := l.Prior()
	for d, w := range week {
		near(t, p.Weekday[d], w, 0.06)
	}
	if p.Series != 120 {
		t.Errorf("learned from %d", p.Series)
	}
	// Three days from Monday on: the prior knows that a weekend comes.
	var f Forecaster
	monday := usance.MakeDate(2024, time.January, 1)
	got, err := f.Forecast(Request{
		Start: monday, Days: []float64{120, 120, 120}, Prior: p, Period: usance.Period{Start: monday, End: monday + 7},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.Status != StatusPooled {
		t.Errorf("status %s", got.Status)
	}
	near(t, got.Path[2].Median/got.Path[0].Median, 0.5, 0.08)  // Saturday, of Thursday
	near(t, got.Path[3].Median/got.Path[0].Median, 0.33, 0.08) // Sunday
}

func TestLearnerIsBounded(t *testing.T) {
	t.Parallel()
	var l Learner
	for i := range 5 * maxLearned {
		l.Add([]float64{float64(i)}, 0)
	}
	if len(l.series) > maxLearned || l.seen != 5*maxLearned {
		t.Errorf("%d of %d kept", len(l.series), l.seen)
	}
	if first := l.series[0].days[0]; first != 0 {
		t.Errorf("the first kept is %v", first)
	}
}

func TestWeightsBeatNaiveMethods(t *testing.T) {
	t.Parallel()
	r := synthetic(15)
	var f Forecaster
	var ours, naive, seasonal float64
	for range 60 {
		y := r.views(300)
		past, future := y[:272], y[272:]
		v := f.Series(past, dailyCycles, 28).Median()
		scale := meanOf(past)
		for h, a := range future {
			ours += math.Abs(a-v[h]) / scale
			naive += math.Abs(a-past[271]) / scale
			seasonal += math.Abs(a-past[272-7+h%7]) / scale
		}
	}
	t.Logf("ours %.1f, naive %.1f, seasonal naive %.1f", ours, naive, seasonal)
	if ours > 0.85*min(naive, seasonal) {
		t.Errorf("ours %.1f, naive %.1f, seasonal naive %.1f", ours, naive, seasonal)
	}
}

func BenchmarkSeries735(b *testing.B) {
	y := synthetic(1).views(735)
	var f Forecaster
	b.ReportAllocs()
	for b.Loop() {
		f.Series(y, dailyCycles, 28)
	}
}
