package fold

import (
	"context"
	"fmt"
	"time"

	"github.com/usance/usance"
)

// Books is what comparing one licence's figures came to: each rollup row with
// its raw events, each day's unique sessions with those of its raw events, each
// counter with the usage of its period, the overages of each period with its
// counter.
type Books struct {
	LicenseID string         `json:"licenseId"`
	Rows      int            `json:"rows"`     // rollup rows compared
	Events    int64          `json:"events"`   // raw events that those were compared with
	Sealed    int            `json:"sealed"`   // days not compared: their raw events are pruned
	Counters  int            `json:"counters"` // compared; those of retired thresholds stand still and are not
	Overages  int            `json:"overages"` // rows whose sums were compared
	Wrong     map[string]int `json:"wrong"`    // figures that differ, by kind
	Faults    []Discrepancy  `json:"faults"`   // the first of each kind
}

// What a Discrepancy is about.
const (
	WrongRollup   = "rollup"
	WrongSessions = "sessions"
	WrongCounter  = "counter"
	WrongOverage  = "overage"
	WrongLicense  = "license"
)

// Discrepancy is a figure that differs from what it must be.
type Discrepancy struct {
	Kind        string            `json:"kind"` // rollup, sessions, counter, overage or license
	LicenseID   string            `json:"licenseId"`
	Date        usance.Date       `json:"date,omitzero"` // of the rollup or sessions; first day of the counter's period
	UsageType   string            `json:"usageType,omitempty"`
	ThresholdID string            `json:"thresholdId,omitempty"`
	PeriodType  usance.PeriodType `json:"periodType,omitempty"` // of the threshold
	Problem     string            `json:"problem"`
	Fix         string            `json:"fix"` // what to do about it
}

// booksTime is after how long CheckBooks leaves the rest to the next call.
const booksTime = 10 * time.Second

// CheckBooks compares the books of licences, in the order of their ids and
// deleted ones too, and changes nothing. days is how many local days back, today
// included; 0 stands for all that is kept. It answers the books of at most
// page.Limit licences, of fewer when it takes long, and the next page's cursor.
func (f *Folder) CheckBooks(ctx context.Context, page usance.Page, days int) ([]Books, string, error) {
	start := time.Now()
	var out []Books
	one := usance.Page{Cursor: page.Cursor, Limit: 1}
	for len(out) < page.Limit && (len(out) == 0 || time.Since(start) < booksTime) {
		var licenses []usance.License
		err := f.store.View(ctx, func(v usance.View) (err error) {
			licenses, one.Cursor, err = v.Licenses(ctx, usance.LicenseFilter{Deleted: true}, one)
			return err
		})
		if err != nil {
			return nil, "", err
		}
		for i := range licenses {
			b, err := f.checkBooks(ctx, &licenses[i], days)
			if err := new(faults).add(ctx, b.LicenseID, err); err != nil {
				return nil, "", fmt.Errorf("checking the books of %q: %w", b.LicenseID, err)
			}
			if err != nil {
				b.add(Discrepancy{Kind: WrongLicense, LicenseID: b.LicenseID, Problem: fmt.Sprintf("what is not named cannot be compared: %v", err),
					Fix: "put right what the problem names; what is damaged comes back from a backup alone"})
			}
			out = append(out, b)
		}
		if one.Cursor == "" {
			break
		}
	}
	return out, one.Cursor, nil
}

func (f *Folder) checkBooks(ctx context.Context, l *usance.License, days int) (Books, error) {
	b := Books{LicenseID: l.ID, Wrong: make(map[string]int), Faults: []Discrepancy{}}
	zone, err := usance.ParseZone(l.Timezone)
	if err != nil { // of a table of licences that is another program's too
		b.add(Discrepancy{Kind: WrongLicense, LicenseID: l.ID, Problem: fmt.Sprintf("nothing of it can be compared: %v", err),
			Fix: "put its timezone right, in the table of licences or by PUT /v1/licenses/" + l.ID})
		return b, nil
	}
	now := f.o.Now().UTC()
	from, to := usance.MinDate, usance.MaxDate
	if days > 0 {
		to = usance.DateOf(now, zone).AddDays(2) // events may be dated some minutes ahead
		from = to.AddDays(-1 - days)
	}
	m := usance.Moment{Now: now, Zone: zone, AnchorDay: l.BillingAnchorDay, LateGrace: f.o.LateGrace}
	if err := f.checkRollups(ctx, l.ID, from, to, &b); err != nil {
		return b, err
	}
	err = f.store.View(ctx, func(v usance.View) error {
		facts, err := v.Facts(ctx, []string{l.ID})
		if err != nil || len(facts) == 0 {
			return err
		}
		if fault := facts[0].Fault; fault != nil {
			b.add(Discrepancy{Kind: WrongLicense, LicenseID: l.ID, Problem: fmt.Sprintf("its counters and overages cannot be compared: %v", fault),
				Fix: "put the row of license_usage_thresholds right, or back from a backup"})
			return nil
		}
		for i := range facts[0].Thresholds {
			t := &facts[0].Thresholds[i]
			counters, overages, wrong, err := usance.CheckCounters(ctx, v, &facts[0].License, t, from, to, m)
			if err != nil {
				return err
			}
			b.Counters += counters
			b.Overages += overages
			b.addCounts(wrong)
		}
		strays, err := usance.CheckStrays(ctx, v, &facts[0].License, facts[0].Thresholds, m)
		b.addCounts(strays)
		return err
	})
	return b, err
}

// checkRollups compares rows and events a month at a time, and at once what
// lies before and after all rows: events there have none.
func (f *Folder) checkRollups(ctx context.Context, licenseID string, from, to usance.Date, b *Books) error {
	first, last := to, from
	err := f.store.View(ctx, func(v usance.View) error {
		days, err := v.DayUsage(ctx, licenseID, from, to)
		if len(days) > 0 {
			first, last = days[0].Date, days[len(days)-1].Date+1
		}
		return err
	})
	if err != nil {
		return err
	}
	for start := from; start < to; {
		end := to
		switch {
		case start < first:
			end = first
		case start < last:
			end = min(start+chunkDays, last)
		}
		d, err := f.diff(ctx, licenseID, start, end, nil)
		if err != nil {
			return err
		}
		b.Rows += d.compared
		b.Events += d.events
		b.Sealed += len(d.sealed)
		for i := range d.rows {
			r := &d.rows[i]
			problem := fmt.Sprintf("the rollup differs from its raw events by %d events, %d units and %d cents", -r.Events, -r.Quantity, -r.RevenueCents)
			if r.Tally == (usance.Tally{}) {
				problem = "the rollup's breakdown differs from its raw events, though its totals do not"
			}
			b.add(Discrepancy{Kind: WrongRollup, LicenseID: licenseID, Date: r.Date, UsageType: r.UsageType, Problem: problem, Fix: recalculation(licenseID, r.Date)})
		}
		for i := range d.sessions {
			date := d.sessions[i].Date
			problem := "the day's unique sessions lack sessions of its raw events"
			if e, ok := d.estimates[date]; ok {
				problem = fmt.Sprintf("the day's unique_sessions is %d, its sketch comes to %d", e.kept, e.sketch)
			}
			b.add(Discrepancy{Kind: WrongSessions, LicenseID: licenseID, Date: date, Problem: problem, Fix: recalculation(licenseID, date)})
		}
		start = end
	}
	return nil
}

// recalculation says how a day is put right.
func recalculation(licenseID string, date usance.Date) string {
	return fmt.Sprintf("recalculate the day: POST /v1/recalculate with licenseId %q, startDate and endDate %s", licenseID, date)
}

func (b *Books) addCounts(wrong []usance.Miscount) {
	for _, w := range wrong {
		d := Discrepancy{
			Kind: WrongCounter, LicenseID: w.LicenseID, Date: w.PeriodStart, UsageType: w.UsageType,
			ThresholdID: w.ThresholdID, PeriodType: w.PeriodType, Problem: w.Problem, Fix: w.Fix,
		}
		if w.Overages {
			d.Kind = WrongOverage
		}
		b.add(d)
	}
}

// maxFaults bounds how many figures of a kind are named.
const maxFaults = 100

func (b *Books) add(d Discrepancy) {
	b.Wrong[d.Kind]++
	if b.Wrong[d.Kind] <= maxFaults {
		b.Faults = append(b.Faults, d)
	}
}
