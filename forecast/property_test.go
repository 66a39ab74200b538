package forecast

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/usance/usance"
)

// counts draws a series of days: level, weekday, spikes, pauses and gaps.
func counts(gaps bool) *rapid.Generator[[]float64] {
	return rapid.Custom(func(t *rapid.T) []float64 {
		n := rapid.IntRange(1, 160).Draw(t, "days")
		if rapid.IntRange(0, 9).Draw(t, "long") == 0 {
			n += 600
		}
		level := rapid.SampledFrom([]float64{0, 0.2, 3, 1000, 1e9}).Draw(t, "level")
		kinds := rapid.SliceOfN(rapid.IntRange(0, 39), n, n).Draw(t, "kinds")
		y := make([]float64, n)
		for i, k := range kinds {
			switch {
			case k == 0:
				y[i] = math.Round(50 * level)
			case k < 4:
				y[i] = 0
			case k == 4 && gaps:
				y[i] = math.NaN()
			default:
				y[i] = math.Round(level * (0.5 + float64(k)/40) * (1 + 0.3*float64(i%7)))
			}
		}
		return y
	})
}

func request(t *rapid.T, y []float64) Request {
	start := usance.MakeDate(2024, time.January, 1+rapid.IntRange(0, 40).Draw(t, "start"))
	anchor := rapid.IntRange(1, 31).Draw(t, "anchor")
	return Request{
		Start: start, Days: y, AnchorDay: anchor,
		Period: usance.PeriodOf(rapid.SampledFrom([]usance.PeriodType{
			usance.PeriodDaily, usance.PeriodWeekly, usance.PeriodMonthly, usance.PeriodQuarterly, usance.PeriodTotal,
		}).Draw(t, "type"), start.AddDays(len(y)), anchor),
		Later:      rapid.IntRange(0, 2).Draw(t, "later"),
		Confidence: rapid.SampledFrom([]float64{0, 0.6, 0.8, 0.99}).Draw(t, "confidence"),
		Method:     rapid.SampledFrom(append(Methods(), "")).Draw(t, "method"),
	}
}

func TestForecastsAreSound(t *testing.T) {
	t.Parallel()
	var f Forecaster
	rapid.Check(t, func(t *rapid.T) {
		y := counts(true).Draw(t, "series")
		r := request(t, y)
		for i := range 6 {
			q := rapid.Float64Range(0, 1e7).Draw(t, "limit")
			r.Limits = append(r.Limits, Limit{q, q * (1 + float64(i)/10)})
		}
		slices.SortFunc(r.Limits, func(a, b Limit) int { return int(math.Copysign(1, a.Quantity-b.Quantity)) })
		got, err := f.Forecast(r)
		if err != nil {
			t.Fatal(err)
		}
		if got.Status == StatusInsufficientData {
			if slices.ContainsFunc(y, func(v float64) bool { return !math.IsNaN(v) }) || len(got.Periods) > 0 {
				t.Fatalf("%d days known, and %+v", len(y), got)
			}
			return
		}
		zeros := !slices.ContainsFunc(y, func(v float64) bool { return v > 0 })
		for _, d := range got.Path {
			ordered(t, d.Median, d.Bands, zeros)
		}
		for _, p := range got.Periods {
			ordered(t, p.Median, p.Bands, zeros)
			if p.Total.Quantile(0.001) < p.Used {
				t.Fatalf("the total may come to %v, and %v is used", p.Total.Quantile(0.001), p.Used)
			}
			last := 1.0
			for _, l := range p.Limits {
				if l.Plain.Probability > last {
					t.Fatalf("a higher limit is passed with probability %v, a lower one with %v", l.Plain.Probability, last)
				}
				last = l.Plain.Probability
				passing(t, p, l.Plain)
				if l.WithGrace.Probability > l.Plain.Probability {
					t.Fatalf("with grace %v, without %v", l.WithGrace.Probability, l.Plain.Probability)
				}
			}
		}
	})
}

func ordered(t *rapid.T, median float64, bands []Band, zeros bool) {
	t.Helper()
	values := []float64{median}
	for _, b := range bands { // narrow ones first
		values = append(values, b.Upper)
		values = slices.Insert(values, 0, b.Lower)
	}
	for i, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 || i > 0 && v < values[i-1] || zeros && v != 0 {
			t.Fatalf("quantiles %v (zeros: %v)", values, zeros)
		}
	}
}

func passing(t *rapid.T, p PeriodForecast, got usance.Passing) {
	t.Helper()
	var last usance.Date = math.MinInt32
	for i, d := range []*usance.Date{got.Early, got.Median, got.Late} {
		want := got.Probability >= [...]float64{0.1, 0.5, 0.9}[i]
		if (d != nil) != want {
			t.Fatalf("probability %v and dates %v %v %v", got.Probability, got.Early, got.Median, got.Late)
		}
		if d == nil {
			continue
		}
		if *d < last || !p.Period.Contains(*d) {
			t.Fatalf("passed at %v, in %v to %v", d, p.Period.Start, p.Period.End)
		}
		last = *d
	}
}

func TestMultiplesForecastMultiples(t *testing.T) {
	t.Parallel()
	var f Forecaster
	rapid.Check(t, func(t *rapid.T) {
		y := counts(true).Draw(t, "series")
		by := rapid.Float64Range(0.001, 1000).Draw(t, "factor")
		z := slices.Clone(y)
		for i := range z {
			z[i] *= by
		}
		r := request(t, y)
		a, err := f.Forecast(r)
		if err != nil {
			t.Fatal(err)
		}
		r.Days = z
		b, err := f.Forecast(r)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range a.Periods {
			for _, q := range []float64{0.01, 0.1, 0.5, 0.9, 0.99} {
				want, got := by*p.Total.Quantile(q), b.Periods[i].Total.Quantile(q)
				if math.Abs(want-got) > 1e-6*(1+want) {
					t.Fatalf("%v times %v is %v, and the forecast %v", by, p.Total.Quantile(q), want, got)
				}
			}
		}
		for i, d := range a.Path {
			if want := by * d.Median; math.Abs(want-b.Path[i].Median) > 1e-6*(1+want) {
				t.Fatalf("day %d: %v times %v, and the forecast %v", i, by, d.Median, b.Path[i].Median)
			}
		}
	})
}

func TestTotalsAndTheirProbabilitiesAreInverse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var spread [grid]float64
		at := rapid.Float64Range(-5, 0).Draw(t, "start")
		for i := range spread {
			at += rapid.Float64Range(0, 1).Draw(t, "step")
			spread[i] = at
		}
		total := newTotal(rapid.Float64Range(0, 100).Draw(t, "used"), 30, rapid.Float64Range(0.001, 50).Draw(t, "mean"), 0.4, &spread, sumLogs)
		for _, p := range []float64{0.002, 0.01, 0.3, 0.5, 0.77, 0.99, 0.998} {
			q := total.Quantile(p)
			if above := total.Above(q * (1 - 1e-9)); q > total.Used*(1+1e-6)+1e-6 && above < 1-p-1e-4 {
				t.Fatalf("%v is not passed with probability %v, and passed with %v", q, p, above)
			}
			if above := total.Above(q * (1 + 1e-9)); above > 1-p+1e-4 {
				t.Fatalf("%v is not passed with probability %v, and passed with %v", q, p, above)
			}
		}
	})
}

// FuzzForecast takes any bytes as the counts of a licence's days, up to 10¹⁵ each:
// nothing must crash, no number come out that is none or below nothing, zeros
// bring zeros, and a higher limit is never passed more surely.
func FuzzForecast(f *testing.F) {
	f.Add([]byte{1, 2, 3}, uint8(0), uint8(30), int64(100))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, uint8(49), uint8(2), int64(1))
	f.Add([]byte{255, 0, 0, 9, 255, 1, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 3}, uint8(48), uint8(1), int64(1_000_000_000_000_000))
	types := []usance.PeriodType{usance.PeriodDaily, usance.PeriodWeekly, usance.PeriodMonthly, usance.PeriodQuarterly, usance.PeriodYearly, usance.PeriodTotal}
	f.Fuzz(func(t *testing.T, data []byte, grow, kind uint8, limit int64) {
		if len(data) == 0 || limit < 0 {
			return
		}
		r := Request{Start: usance.MakeDate(2024, time.February, 27), AnchorDay: 1 + int(kind)%31, Later: int(kind) % 3, Method: Methods()[int(grow)%len(Methods())]}
		zeros := true
		for i, b := range data[:min(len(data), 800)] {
			v := float64(b) * math.Pow(10, float64(int(grow)*(i%3)%14))
			zeros = zeros && v == 0
			if b == 254 {
				v = math.NaN()
			}
			r.Days = append(r.Days, v)
		}
		today := r.Start.AddDays(len(r.Days))
		r.Period = usance.PeriodOf(types[int(kind)%len(types)], today, r.AnchorDay)
		r.Limits = []Limit{{float64(limit), 1.1 * float64(limit)}, {2*float64(limit) + 1, 3*float64(limit) + 1}}
		for h := range int(kind) % 24 {
			r.Hours = append(r.Hours, float64(data[h%len(data)]))
			zeros = zeros && r.Hours[h] == 0
		}
		var fc Forecaster
		got, err := fc.Forecast(r)
		if err != nil {
			t.Fatal(err)
		}
		sound := func(median float64, bands []Band) {
			values := []float64{median}
			for _, b := range bands {
				values = append(slices.Insert(values, 0, b.Lower), b.Upper)
			}
			for i, v := range values {
				if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 || i > 0 && v < values[i-1] || zeros && v != 0 {
					t.Fatalf("quantiles %v (zeros: %v)", values, zeros)
				}
			}
		}
		for _, d := range got.Path {
			sound(d.Median, d.Bands)
		}
		for _, p := range got.Periods {
			sound(p.Median, p.Bands)
			low, high := p.Limits[0], p.Limits[1]
			for _, q := range []float64{low.Plain.Probability, low.WithGrace.Probability, high.Plain.Probability} {
				if !(q >= 0 && q <= 1) {
					t.Fatalf("a probability of %v", q)
				}
			}
			if high.Plain.Probability > low.Plain.Probability || low.WithGrace.Probability > low.Plain.Probability {
				t.Fatalf("%v is passed with %v, %v with %v", low.Limit, low.Plain.Probability, high.Limit, high.Plain.Probability)
			}
		}
	})
}

// FuzzSeries takes any bytes as counts: nothing must crash, and what comes out
// must be in order.
func FuzzSeries(f *testing.F) {
	f.Add([]byte{1, 2, 3}, uint8(7), uint8(10))
	f.Add([]byte("0000000aa00700"), uint8(3), uint8(2)) // 1e160, then dozens
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 127}, uint8(0), uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, season, horizon uint8) {
		var y []float64
		for len(data) >= 8 {
			y = append(y, math.Float64frombits(binary.LittleEndian.Uint64(data)))
			data = data[8:]
		}
		for _, b := range data {
			y = append(y, float64(b))
		}
		var fc Forecaster
		v := fc.Series(y, []int{int(season), 30}, int(horizon))
		last := make([]float64, horizon)
		for _, p := range []float64{0, 0.025, 0.1, 0.5, 0.9, 0.975, 1} {
			for h, q := range v.Quantile(p) {
				if math.IsNaN(q) || math.IsInf(q, 0) || q < last[h] {
					t.Fatalf("quantile %v, %d ahead: %v after %v", p, h+1, q, last[h])
				}
				last[h] = q
			}
		}
	})
}

// One slip of a thousand million units is not what the days after it are measured by.
func TestASlipDoesNotMakeTheRestNothing(t *testing.T) {
	t.Parallel()
	for _, at := range [][]int{{0}, {20}, {50}, {7, 30}, {3}} {
		slipped := make([]float64, 60)
		if at[0] == 3 {
			slipped = slipped[:20] // a short history
		}
		for i := range slipped {
			slipped[i] = float64(1 + i%3)
		}
		for _, i := range at {
			slipped[i] = 1e12
		}
		got := All([][]float64{slipped}, []int{7}, 7)[0]
		low, mid, high := got.Quantile(0.025), got.Quantile(0.5), got.Quantile(0.975)
		for i := range mid {
			if !(mid[i] > 0.5 && mid[i] < 4 && high[i] > mid[i] && low[i] <= mid[i]) {
				t.Errorf("after slips on days %d, day %d ahead is %v, %v to %v", at, i, mid[i], low[i], high[i])
			}
		}
	}
}
