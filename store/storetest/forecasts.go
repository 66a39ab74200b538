package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/usance/usance"
)

// predicted is the n-th forecast of a licence's threshold t1, made on the day.
func predicted(n int, licenseID string, on usance.Date) usance.Forecast {
	return usance.Forecast{
		ID: id(n), LicenseID: licenseID, ThresholdID: "t1", UsageType: "view", PeriodType: usance.PeriodMonthly, ForecastDate: on,
		PeriodStart: today - 14, PeriodEnd: today + 17, LimitQuantity: 1000, LimitWithGrace: 1100, UsedQuantity: 400,
		PredictedQuantity: 1200, LowerBound: 900, UpperBound: 1500, ConfidenceLevel: 0.8,
		PredictedBreachDate: ptr(on + 5), BreachProbability: ptr(0.75),
		Outlook: usance.Outlook{
			Intervals: []usance.Interval{{Level: 0.5, Lower: 1100, Upper: 1300}},
			Limit:     &usance.Passing{Probability: 0.75, Early: ptr(on + 3), Median: ptr(on + 5)}, LimitWithGrace: &usance.Passing{Probability: 0.25},
			Through: ptr(today + 10),
		},
		Status: usance.ForecastPooled, ForecastingMethod: "AUTO", HistoricalDaysUsed: 40, MeanAbsoluteError: ptr(3.5), AccuracyScore: ptr(0.9),
		NaiveError: ptr(50.0), CalculatedAt: now,
	}
}

func putForecasts(t *testing.T, s usance.Store, rows ...usance.Forecast) {
	t.Helper()
	update(t, s, func(tx usance.Tx) error { return tx.PutForecasts(t.Context(), rows) })
}

func forecasts(t *testing.T, s usance.Store, f usance.ForecastFilter) (out []usance.Forecast) {
	t.Helper()
	view(t, s, func(v usance.View) (err error) {
		out, _, err = v.Forecasts(t.Context(), f, usance.Page{Limit: 100})
		return err
	})
	return out
}

func testForecasts(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2")
	whole := predicted(1, "l1", today)
	full(t, whole, "Score")
	full(t, whole.Outlook)
	bare := usance.Forecast{ // of no threshold, with what can be absent absent
		ID: id(2), LicenseID: "l1", UsageType: usance.AllTypes, PeriodType: usance.PeriodTotal, ForecastDate: today, PeriodStart: usance.MinDate,
		PeriodEnd: usance.MaxDate, Status: usance.ForecastOK, ForecastingMethod: "AUTO", CalculatedAt: now,
	}
	putForecasts(t, s, whole, bare)
	equal(t, "Forecasts", forecasts(t, s, usance.ForecastFilter{}), []usance.Forecast{bare, whole})

	// Made anew on the same day: in its place, under its id, as if never scored.
	update(t, s, func(tx usance.Tx) error {
		return tx.ScoreForecasts(ctx, []usance.ScoredForecast{{ForecastKey: whole.Key(), ForecastScore: whole.Against(7, now)}})
	})
	anew := predicted(3, "l1", today)
	anew.PredictedQuantity, anew.PredictedBreachDate, anew.BreachProbability, anew.UsedQuantity = 5, nil, nil, 6
	anew.MeanAbsoluteError, anew.NaiveError, anew.Outlook = nil, nil, usance.Outlook{}
	putForecasts(t, s, anew)
	anew.ID = whole.ID
	equal(t, "Forecasts made anew", forecasts(t, s, usance.ForecastFilter{ThresholdID: "t1"}), []usance.Forecast{anew})
	update(t, s, func(tx usance.Tx) error { // twice in one transaction: the last one stays
		first, last := predicted(4, "l2", today), predicted(5, "l2", today)
		first.PredictedQuantity = 1
		return tx.PutForecasts(ctx, []usance.Forecast{first, last})
	})
	twice := predicted(4, "l2", today)
	equal(t, "put twice", forecasts(t, s, usance.ForecastFilter{LicenseID: "l2"}), []usance.Forecast{twice})

	// What is apart from it by any part of its key stands beside it.
	vary := func(n int, change func(*usance.Forecast)) usance.Forecast {
		f := predicted(n, "l2", today)
		change(&f)
		return f
	}
	others := []usance.Forecast{
		vary(11, func(f *usance.Forecast) { f.ThresholdID = "t2" }),
		vary(12, func(f *usance.Forecast) { f.UsageType = "click" }),
		vary(13, func(f *usance.Forecast) { f.ForecastDate-- }),
		vary(14, func(f *usance.Forecast) { f.PeriodStart-- }),
		vary(15, func(f *usance.Forecast) { f.PeriodEnd++ }),
	}
	putForecasts(t, s, others...)
	want := []usance.Forecast{others[4], others[3], others[2], others[1], others[0], twice}
	equal(t, "beside each other", forecasts(t, s, usance.ForecastFilter{LicenseID: "l2"}), want)
	want = []usance.Forecast{others[4], others[3], others[1], others[0], twice}
	equal(t, "the newest", forecasts(t, s, usance.ForecastFilter{LicenseID: "l2", Latest: true}), want)
	equal(t, "of a type", forecasts(t, s, usance.ForecastFilter{UsageType: "click"}), others[1:2])
	equal(t, "of a brand", forecasts(t, s, usance.ForecastFilter{Scope: usance.Scope{BrandIDs: []string{"another"}}}), nil)

	if err := s.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		scored := predicted(20, "l1", today)
		scored.Score = new(usance.ForecastScore)
		return tx.PutForecasts(ctx, []usance.Forecast{scored})
	}); err == nil {
		t.Error("a forecast was put with a score, which is not kept")
	}
}

func testForecastScores(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2")
	ends := func(n int, licenseID string, end usance.Date, lead int) usance.Forecast {
		f := predicted(n, licenseID, end-usance.Date(lead))
		f.PeriodStart, f.PeriodEnd = end-31, end
		return f
	}
	a, b := ends(4, "l1", today, 3), ends(3, "l1", today, 4)
	c, d := ends(1, "l2", today, 40), ends(2, "l1", today+1, 1)
	c.BreachProbability, c.PredictedBreachDate, c.NaiveError = nil, nil, nil
	putForecasts(t, s, a, b, c, d)
	unscored := func(by usance.Date, after usance.ForecastKey, limit int) (out []usance.ID) {
		view(t, s, func(v usance.View) error {
			rows, err := v.Unscored(ctx, by, after, limit)
			for _, f := range rows {
				out = append(out, f.ID)
			}
			return err
		})
		return out
	}
	equal(t, "Unscored", unscored(today, usance.ForecastKey{}, 10), []usance.ID{b.ID, a.ID, c.ID})
	equal(t, "Unscored, later", unscored(today+1, usance.ForecastKey{}, 10), []usance.ID{b.ID, a.ID, c.ID, d.ID})
	equal(t, "Unscored, a page", unscored(today+1, a.Key(), 1), []usance.ID{c.ID})
	equal(t, "Unscored, the last page", unscored(today+1, c.Key(), 2), []usance.ID{d.ID})

	scores := []usance.ScoredForecast{
		{ForecastKey: a.Key(), ForecastScore: a.Against(1000, now)}, // not passed; 200 off
		{ForecastKey: b.Key(), ForecastScore: b.Against(1600, now)}, // passed; 400 off, not covered
		{ForecastKey: c.Key(), ForecastScore: c.Against(1200, now)}, // no limit asked for
		{ForecastKey: usance.ForecastKey{LicenseID: "l1", ID: id(99)}, ForecastScore: c.Against(1, now)},
	}
	full(t, scores[1].ForecastScore, "Covered")
	update(t, s, func(tx usance.Tx) error { return tx.ScoreForecasts(ctx, scores) })
	a.Score, b.Score, c.Score = &scores[0].ForecastScore, &scores[1].ForecastScore, &scores[2].ForecastScore
	equal(t, "scored", forecasts(t, s, usance.ForecastFilter{}), []usance.Forecast{a, b, d, c})
	equal(t, "Unscored, after scoring", unscored(today+1, usance.ForecastKey{}, 10), []usance.ID{d.ID})

	accuracy := func(f usance.AccuracyFilter) (out []usance.ForecastAccuracy) {
		view(t, s, func(v usance.View) (err error) {
			out, err = v.ForecastAccuracy(ctx, f)
			return err
		})
		return out
	}
	short := usance.ForecastAccuracy{
		MinLeadDays: 1, MaxLeadDays: 3, Forecasts: 1, MeanAbsoluteError: 200, WeightedError: ptr(0.2), MeanScaledError: ptr(4.0),
		MeanPinballLoss: (10 + 100 + 50) / 3.0, Coverage: 1, ConfidenceLevel: 0.8,
		BreachForecasts: 1, BrierScore: ptr(0.5625), MeanBreachProbability: ptr(0.75), BreachRate: ptr(0.0),
	}
	middle := usance.ForecastAccuracy{
		MinLeadDays: 4, MaxLeadDays: 7, Forecasts: 1, MeanAbsoluteError: 400, WeightedError: ptr(0.25), MeanScaledError: ptr(8.0),
		MeanPinballLoss: (70 + 200 + 90) / 3.0, Coverage: 0, ConfidenceLevel: 0.8,
		BreachForecasts: 1, BrierScore: ptr(0.0625), MeanBreachProbability: ptr(0.75), BreachRate: ptr(1.0),
	}
	long := usance.ForecastAccuracy{
		MinLeadDays: 32, Forecasts: 1, WeightedError: ptr(0.0), MeanPinballLoss: (30 + 0 + 30) / 3.0, Coverage: 1, ConfidenceLevel: 0.8,
	}
	near := func(what string, got, want []usance.ForecastAccuracy) {
		t.Helper()
		for i := range got {
			for _, v := range []**float64{&got[i].WeightedError, &got[i].MeanScaledError, &got[i].BrierScore, &got[i].MeanBreachProbability} {
				if *v != nil { // sums may end in other digits on another store
					*v = ptr(round(**v))
				}
			}
			got[i].MeanPinballLoss, got[i].ConfidenceLevel = round(got[i].MeanPinballLoss), round(got[i].ConfidenceLevel)
		}
		for i := range want {
			want[i].MeanPinballLoss = round(want[i].MeanPinballLoss)
		}
		equal(t, what, got, want)
	}
	near("ForecastAccuracy", accuracy(usance.AccuracyFilter{}), []usance.ForecastAccuracy{short, middle, long})
	near("of a licence", accuracy(usance.AccuracyFilter{LicenseID: "l2"}), []usance.ForecastAccuracy{long})
	near("of a type", accuracy(usance.AccuracyFilter{UsageType: "click"}), nil)
	near("before", accuracy(usance.AccuracyFilter{To: today}), nil)
	near("within", accuracy(usance.AccuracyFilter{From: today, To: today + 1, LicenseID: "l2"}), []usance.ForecastAccuracy{long})
	near("of another brand", accuracy(usance.AccuracyFilter{Scope: usance.Scope{BrandIDs: []string{"another"}}}), nil)

	// Those that were scored go, and those whose period never ends.
	endless := predicted(30, "l2", today)
	endless.PeriodStart, endless.PeriodEnd, endless.PeriodType = usance.MinDate, usance.MaxDate, usance.PeriodTotal
	putForecasts(t, s, endless)
	prune := func(before time.Time, limit int) (n int) {
		update(t, s, func(tx usance.Tx) (err error) {
			n, err = tx.PruneForecasts(ctx, before, limit)
			return err
		})
		return n
	}
	if n := prune(now, 10); n != 0 {
		t.Errorf("%d forecasts pruned that were scored or made no earlier", n)
	}
	later := now.Add(time.Second)
	if n, m, o := prune(later, 3), prune(later, 3), prune(later, 3); n != 3 || m != 1 || o != 0 {
		t.Errorf("pruned %d, %d and %d forecasts, want 3, 1 and 0", n, m, o)
	}
	equal(t, "what is left", forecasts(t, s, usance.ForecastFilter{}), []usance.Forecast{d})
}

func round(v float64) float64 { return float64(int64(v*1e6+0.5)) / 1e6 }

func testBreaches(t *testing.T, s usance.Store) {
	ctx := t.Context()
	putLicenses(t, s, "l1", "l2", "l3")
	asked := usance.BreachFilter{MadeSince: now, MinProbability: 0.75, Within: 5}
	vary := func(n int, change func(*usance.Forecast)) usance.Forecast {
		f := predicted(n, "l1", today)
		f.ThresholdID = fmt.Sprint("t", n)
		change(&f)
		return f
	}
	hit, other := predicted(1, "l2", today), vary(2, func(*usance.Forecast) {})
	unnoticed := predicted(3, "l3", today-1)
	newer := predicted(4, "l3", today) // says that it does not
	newer.PredictedBreachDate, newer.BreachProbability = nil, ptr(0.1)
	putForecasts(t, s, hit, other, unnoticed, newer,
		vary(10, func(f *usance.Forecast) { f.CalculatedAt = now.Add(-time.Second) }),
		vary(11, func(f *usance.Forecast) { f.BreachProbability = ptr(0.749) }),
		vary(12, func(f *usance.Forecast) { f.PredictedBreachDate = ptr(today + 6) }),
		vary(13, func(f *usance.Forecast) { f.PredictedBreachDate = ptr(today - 1) }),
		vary(14, func(f *usance.Forecast) { f.UsedQuantity = f.LimitQuantity }),
		vary(15, func(f *usance.Forecast) { f.ThresholdID = "" }),
	)
	breaches := func(after usance.ForecastKey, limit int) (out []usance.Forecast) {
		view(t, s, func(v usance.View) (err error) {
			out, err = v.Breaches(ctx, asked, after, limit)
			return err
		})
		return out
	}
	equal(t, "Breaches", breaches(usance.ForecastKey{}, 10), []usance.Forecast{other, hit})
	equal(t, "Breaches, the first page", breaches(usance.ForecastKey{}, 1), []usance.Forecast{other})
	equal(t, "Breaches, the next page", breaches(other.Key(), 1), []usance.Forecast{hit})
	equal(t, "Breaches, the last page", breaches(hit.Key(), 1), nil)
}

func testJobState(t *testing.T, s usance.Store) {
	ctx := t.Context()
	read := func(name string) (value usance.RawJSON) {
		view(t, s, func(v usance.View) (err error) {
			value, err = v.JobState(ctx, name)
			return err
		})
		return value
	}
	equal(t, "nothing", read("a"), nil)
	for _, value := range []string{`{"cursor":"x"}`, `[1, 2]`} {
		update(t, s, func(tx usance.Tx) error { return tx.PutJobState(ctx, "a", usance.RawJSON(value), now) })
		equal(t, "JobState", read("a"), usance.RawJSON(value))
	}
	equal(t, "another's", read("b"), nil)
}

func listForecasts(ctx context.Context, v usance.View, p usance.Page) ([]usance.Forecast, string, error) {
	return v.Forecasts(ctx, usance.ForecastFilter{}, p)
}
