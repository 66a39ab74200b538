package sim

import (
	"math/big"
	"time"
)

// Day is a calendar day: days since 1970-01-01.
type Day = int

// A total period is all days from minDay to before maxDay.
const (
	minDay Day = -719162
	maxDay Day = 2932896
)

func date(d Day) (int, time.Month, int) { return time.Unix(int64(d)*86400, 0).UTC().Date() }

func dayOf(y int, m time.Month, d int) Day {
	return Day(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

// LocalDay is the day that the licence's calendar shows.
func (l *License) LocalDay(t time.Time) Day { y, m, d := t.In(l.Zone).Date(); return dayOf(y, m, d) }

// Midnight is when the local day begins.
func (l *License) Midnight(d Day) time.Time {
	y, m, dd := date(d)
	return time.Date(y, m, dd, 0, 0, 0, 0, l.Zone)
}

// PeriodOf is the period that holds the day, half-open.
func (l *License) PeriodOf(period string, d Day) (start, end Day) {
	y, m, _ := date(d)
	months := map[string]time.Month{"monthly": 1, "quarterly": 3, "yearly": 12}[period]
	switch period {
	case "daily":
		return d, d + 1
	case "weekly":
		start = d - (int(time.Unix(int64(d)*86400, 0).UTC().Weekday())+6)%7
		return start, start + 7
	case "total":
		return minDay, maxDay
	}
	first := (m-1)/months*months + 1
	if d < l.anchorIn(y, first) {
		first -= months
	}
	return l.anchorIn(y, first), l.anchorIn(y, first+months)
}

// anchorIn is the licence's anchor day in a month, or the month's last day.
func (l *License) anchorIn(y int, m time.Month) Day {
	return min(dayOf(y, m, 1)+l.Anchor-1, dayOf(y, m+1, 1)-1)
}

func (l *License) inTerm(t time.Time) bool {
	bound := func(s string) Day { d, _ := time.Parse(time.DateOnly, s); return Day(d.Unix() / 86400) }
	return (l.Start == "" || !t.Before(l.Midnight(bound(l.Start)))) && (l.End == "" || t.Before(l.Midnight(bound(l.End)+1)))
}

// fee is exact and rounded once, half to even.
func (t *Terms) fee(units int64) int64 {
	tiers := t.Tiers
	if t.Rate != "" {
		tiers = []Tier{{0, t.Rate}}
	}
	sum, below := new(big.Rat), int64(0)
	for _, tier := range tiers {
		upTo := units
		if tier.UpTo > 0 {
			upTo = min(units, tier.UpTo)
		}
		if upTo > below {
			rate, _ := new(big.Rat).SetString(tier.Rate)
			sum.Add(sum, rate.Mul(rate, new(big.Rat).SetInt64(upTo-below)))
			below = upTo
		}
	}
	whole, rest := new(big.Int).QuoRem(sum.Num(), sum.Denom(), new(big.Int))
	half := rest.Lsh(rest, 1).Cmp(sum.Denom())
	if half > 0 || half == 0 && whole.Bit(0) == 1 {
		return whole.Int64() + 1
	}
	return whole.Int64()
}
