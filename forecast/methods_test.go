package forecast

import (
	"math"
	"testing"

	"github.com/usance/usance"
)

// one runs a single method over daily values and gives the medians ahead.
func one(t *testing.T, y []float64, method Method, elapsed, h int) []float64 {
	t.Helper()
	var f Forecaster
	z, by := f.measure(y)
	f.engine.run(z, job{cycles: dailyCycles, horizon: h, method: method, elapsed: elapsed, sums: true})
	out := make([]float64, h)
	for i, v := range f.engine.end() {
		out[i] = v * by
	}
	return out
}

func series(n int, value func(i int) float64) []float64 {
	y := make([]float64, n)
	for i := range y {
		y[i] = value(i)
	}
	return y
}

func near(t *testing.T, got, want, within float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > within {
		t.Errorf("got %v, want %v within %v", got, want, within)
	}
}

func TestWhatDoesNotChangeGoesOn(t *testing.T) {
	t.Parallel()
	for _, m := range Methods() {
		for _, n := range []int{1, 2, 6, 15, 60, 400} {
			for _, v := range one(t, series(n, func(int) float64 { return 12 }), m, 3, 9) {
				want := 12.0
				if m == SBA {
					want *= 1 - sbaAlpha/2 // its correction supposes that sizes and gaps vary
				}
				if math.Abs(v-want) > 1e-6 {
					t.Fatalf("%s, %d days: %v", m, n, v)
				}
			}
		}
	}
}

func TestAWeekGoesOn(t *testing.T) {
	t.Parallel()
	week := []float64{10, 20, 30, 40, 50, 5, 2}
	y := series(140, func(i int) float64 { return week[i%7] })
	for _, m := range []Method{
		Auto, SeasonalNaive, WeekdayProfile, SES, DampedHolt, ETS, Theta, ExponentialSmoothing, SeasonalDecomposition, LinearRegression, Pacing,
	} {
		for h, v := range one(t, y, m, 14, 10) {
			if math.Abs(v-week[h%7]) > 0.5 {
				t.Errorf("%s, %d ahead: %v, want %v", m, h+1, v, week[h%7])
			}
		}
	}
}

func TestALineGoesOn(t *testing.T) {
	t.Parallel()
	y := series(120, func(i int) float64 { return 100 + 3*float64(i) })
	for h, v := range one(t, y, LinearRegression, 0, 10) {
		near(t, v, 100+3*float64(120+h), 1e-3)
	}
	// The others follow it some way, and none falls behind the last value.
	for _, m := range []Method{Auto, DampedHolt, Theta, ETS} {
		v := one(t, y, m, 0, 10)
		if v[9] < 457+8 || v[9] > 487+1 {
			t.Errorf("%s: %v ten days after 457, on a line to 487", m, v[9])
		}
	}
}

func TestSimpleMethodsByHand(t *testing.T) {
	t.Parallel()
	y := []float64{3, 0, 4, 0, 0, 8, 6}
	near(t, one(t, y, Naive, 0, 1)[0], 6, 1e-6)
	near(t, one(t, y, MovingAverage, 0, 1)[0], 3, 1e-6)
	near(t, one(t, y, Pacing, 2, 1)[0], 7, 1e-6)

	s := ses{alpha: 0.5}
	s.reset([]float64{4, 8})
	s.advance([]float64{4, 8}, 2)
	near(t, s.level, 6.5, 1e-12) // from 6: 5, then 6.5

	h := holt{alpha: 0.5, beta: 0.25, damp: 0.8}
	h.reset([]float64{4, 8})
	h.advance([]float64{4, 8}, 2)
	// l=6, b=0; e=-2: l=5, b=-0.5; b→-0.4, e=8-4.6=3.4: l=4.6+1.7, b=-0.4+0.85.
	near(t, h.level, 6.3, 1e-12)
	near(t, h.trend, 0.45, 1e-12)
	out := make([]float64, 2)
	h.emit(out)
	near(t, out[1], 6.3+0.8*0.45+0.64*0.45, 1e-12)
}

// The line of the theta method is that of least squares, whatever its recursion.
func TestThetaKeepsTheRegressionLine(t *testing.T) {
	t.Parallel()
	x := []float64{2, 3, 7, 1, 9, 4, 6, 12}
	var m theta
	m.lines(x)
	for n := 2; n <= len(x); n++ {
		var sx, sy, sxx, sxy float64
		for i, v := range x[:n] {
			d := float64(i + 1)
			sx, sy, sxx, sxy = sx+d, sy+v, sxx+d*d, sxy+d*v
		}
		k := float64(n)
		b := (k*sxy - sx*sy) / (k*sxx - sx*sx)
		near(t, m.b[n], b, 1e-12)
		near(t, m.a[n], (sy-b*sx)/k, 1e-12)
	}
}

func TestIntermittentUse(t *testing.T) {
	t.Parallel()
	every3 := series(300, func(i int) float64 {
		if i%3 == 0 {
			return 9
		}
		return 0
	})
	for _, m := range []Method{Auto, TSB, SBA} {
		v := one(t, every3, m, 0, 6)
		sum := 0.0
		for _, x := range v {
			sum += x
		}
		if sum < 13 || sum > 23 {
			t.Errorf("%s: %v in six days, of which two bring 9 each", m, sum)
		}
	}
	// What died out goes to nothing with TSB, and stays with SBA.
	dead := append(every3, make([]float64, 100)...)
	if v := one(t, dead, TSB, 0, 1)[0]; v > 0.5 {
		t.Errorf("TSB expects %v after a hundred days of nothing", v)
	}
}

func TestTwoSeasonsAreToldApart(t *testing.T) {
	t.Parallel()
	day := func(i int) float64 { return 10 * math.Sin(2*math.Pi*float64(i)/24) }
	week := func(i int) float64 { return 4 * math.Cos(2*math.Pi*float64(i)/168) }
	var s seasons
	x := series(168*5, func(i int) float64 { return 50 + day(i) + week(i) })
	s.fit(x, []int{24, 168})
	for p, v := range s.cycles[0].index {
		near(t, v, day(p), 0.4)
	}
	rest := make([]float64, len(x))
	s.without(x, rest)
	for i := 168; i < len(x)-168; i++ {
		near(t, rest[i], 50, 1)
	}
	var f Forecaster
	for h, v := range f.Series(x, []int{24, 168}, 48).Median() {
		i := len(x) + h
		near(t, v, 50+day(i)+week(i), 1)
	}
}

func TestNoiseIsNoSeason(t *testing.T) {
	t.Parallel()
	noise := synthetic(3).noise
	kept := 0
	for range 200 {
		var s seasons
		s.fit(series(140, func(int) float64 { return 100 + 10*noise() }), []int{7})
		if s.cycles[0].strength > 0.05 {
			kept++
		}
	}
	if kept > 10 {
		t.Errorf("a week was found in %d of 200 series without one", kept)
	}
}

func TestSeasonsOfAFileAreFound(t *testing.T) {
	t.Parallel()
	noise := synthetic(4).noise
	of := func(length int) (list [][]float64) {
		for range 20 {
			list = append(list, series(6*max(length, 30), func(i int) float64 {
				return 100 + 30*math.Sin(2*math.Pi*float64(i)/float64(max(length, 1))) + 5*noise()
			}))
		}
		return list
	}
	for _, c := range []struct {
		length, named int
		want          []int
	}{
		{7, 0, []int{7, 365}}, {24, 0, []int{24, 168}}, {52, 0, []int{52}}, {12, 0, []int{12}},
		{52, 7, []int{52}}, // plainly another one than named
		{52, 1, []int{52}}, {30, 30, []int{30}}, {7, 7, []int{7, 365}},
	} {
		got := Cycles(of(c.length), c.named)
		if len(got) != len(c.want) || got[0] != c.want[0] {
			t.Errorf("length %d, named %d: %v, want %v", c.length, c.named, got, c.want)
		}
	}
}

func TestSpikesDoNotCarryTheRobustMethodsAway(t *testing.T) {
	t.Parallel()
	y := series(200, func(i int) float64 {
		if i%50 == 48 {
			return 5000
		}
		return 100
	})
	near(t, one(t, y, WeekdayProfile, 0, 1)[0], 100, 20)
	var r robust
	r.fit(y)
	r.reset(y)
	r.advance(y, len(y))
	near(t, r.level, 100, 20)
}

func TestSelection(t *testing.T) {
	t.Parallel()
	rnd := synthetic(5)
	for range 300 {
		n := 1 + rnd.Intn(40)
		v := make([]float64, n)
		for i := range v {
			v[i] = float64(rnd.Intn(9))
		}
		k := rnd.Intn(n)
		got := usance.SelectNth(v, k)
		below, above := 0, 0
		for _, x := range v {
			if x < got {
				below++
			}
			if x > got {
				above++
			}
		}
		if below > k || above > n-1-k {
			t.Fatalf("%v at %d of %v", got, k, v)
		}
		for _, x := range v[:k] {
			if x > got {
				t.Fatalf("%v before %v", x, got)
			}
		}
	}
}

// The mean day of a period that has run for 28 days is its pace, as on any other day.
func TestPacingIsNamed(t *testing.T) {
	t.Parallel()
	today := usance.MakeDate(2026, 3, 1)
	for ran := 27; ran <= 29; ran++ {
		out, err := new(Forecaster).Forecast(Request{
			Start: today.AddDays(-90), Days: series(90, func(i int) float64 { return float64(10 + i%7) }), Method: Pacing,
			Period: usance.Period{Type: usance.PeriodMonthly, Start: today.AddDays(-ran), End: today.AddDays(3)}, AnchorDay: 1,
		})
		if err != nil || len(out.Members) != 1 || out.Members[0].Method != Pacing {
			t.Errorf("after %d days: %+v, %v", ran, out.Members, err)
		}
	}
}
