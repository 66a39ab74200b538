package watch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/forecast"
)

const (
	detectState = "detectUsageAnomalies"
	// resumeDetect is shorter than the pause between two runs by default: a new
	// one begins anew.
	resumeDetect = 50 * time.Minute
	// What is looked at: whole days for levels, the last of them by hour and source.
	unusualDays  = 63
	unusualHours = 28
	maxTypes     = 10 // of a licence, those with the most use
	// quietDays is for how long a kind is not told again, unless it gets graver.
	quietDays = 3
)

// Detect looks through the use of every licence for what is unusual and raises
// alerts of it: the job detectUsageAnomalies. It tells how many. A kind is told
// once in three days for a licence and usage type, unless it gets graver.
func (w *Watch) Detect(ctx context.Context) (raised int, err error) {
	p, err := w.resume(ctx, detectState, resumeDetect)
	if err != nil {
		return 0, err
	}
	if p.Cursor != "" {
		w.o.Logger.Info("anomalies: going on where the last run was cut short", "startedAt", p.StartedAt)
	}
	faults := faults{count: w.m.failed}
	for !p.Done {
		var list []usance.License
		err := w.store.View(ctx, func(v usance.View) (err error) {
			list, p.Cursor, err = v.Licenses(ctx, usance.LicenseFilter{}, usance.Page{Cursor: p.Cursor, Limit: page})
			return err
		})
		if err != nil {
			return raised, err
		}
		p.Done = p.Cursor == ""
		for i := range list {
			if !watched(&list[i]) {
				continue
			}
			began := time.Now()
			n, err := w.detectLicense(ctx, &list[i])
			if err != nil && ctx.Err() != nil {
				return raised, err
			}
			faults.add(list[i].ID, err)
			raised += n
			if err := w.rest(ctx, began); err != nil {
				return raised, err
			}
		}
		err = w.store.Update(ctx, usance.Locks{Lazy: true}, func(tx usance.Tx) error { return p.write(ctx, tx, detectState, w.now()) })
		if err != nil {
			return raised, err
		}
	}
	return raised, errors.Join(faults.err("looking for what is unusual"))
}

// detectLicense raises the alerts of one licence.
func (w *Watch) detectLicense(ctx context.Context, l *usance.License) (raised int, err error) {
	now := w.now()
	var alerts []usance.Alert
	err = w.store.View(ctx, func(v usance.View) error {
		r, err := readRecent(ctx, v, l, now)
		if err != nil || r == nil {
			return err
		}
		alerts, err = r.alerts(ctx, v)
		return err
	})
	if err != nil || len(alerts) == 0 {
		return 0, err
	}
	if err := w.store.Update(ctx, usance.Locks{}, func(tx usance.Tx) error { return tx.AddAlerts(ctx, alerts) }); err != nil {
		return 0, err
	}
	for _, a := range alerts {
		w.m.alerts.WithLabelValues(string(a.Kind)).Inc()
	}
	return len(alerts), nil
}

// recent is what a licence used lately.
type recent struct {
	license *usance.License
	now     time.Time
	today   usance.Date
	over    int // whole hours of today
	first   usance.Date
	days    []usance.Rollup
	types   map[string]*ofType
	events  int64 // of yesterday, all types
	used    int64
}

// ofType is the use of one type.
type ofType struct {
	days    [unusualDays]float64 // up to yesterday
	total   float64
	hours   [unusualHours][24]float64
	today   [24]float64
	slots   [unusualHours]int // of days whose hours are not known, the one that had all
	events  [unusualHours]int64
	sources [unusualHours]map[string]float64
}

// readRecent reads what was used lately; nil when there is nothing to go by.
func readRecent(ctx context.Context, v usance.View, l *usance.License, now time.Time) (*recent, error) {
	zone, start, _, err := l.Term()
	if err != nil {
		return nil, err
	}
	r := &recent{license: l, now: now, today: usance.DateOf(now, zone), over: min(usance.HourSlot(now, zone), 24), types: make(map[string]*ofType)}
	if start.Before(l.CreatedAt) {
		start = l.CreatedAt
	}
	from := r.today - unusualDays
	days, err := v.DayUsage(ctx, l.ID, from, r.today+1)
	if err != nil {
		return nil, err
	}
	r.days = days
	r.first = max(from, usance.DateOf(start, zone))
	for i := range days {
		d := &days[i]
		if d.Quantity != 0 {
			r.first = min(r.first, d.Date)
		}
		if d.Date == r.today-1 {
			r.events, r.used = r.events+d.Events, r.used+d.Quantity
		}
		if d.Date == r.today {
			continue
		}
		t := r.types[d.UsageType]
		if t == nil {
			t = new(ofType)
			r.types[d.UsageType] = t
		}
		t.days[d.Date-from] = float64(max(0, d.Quantity))
		t.total += float64(max(0, d.Quantity))
	}
	if len(r.types) == 0 {
		return nil, nil
	}
	if names := r.names(); len(names) > maxTypes {
		for _, name := range names[maxTypes:] {
			delete(r.types, name)
		}
	}
	return r, r.readHours(ctx, v)
}

// names gives the types, most used first.
func (r *recent) names() []string {
	return slices.SortedFunc(maps.Keys(r.types), func(a, b string) int {
		switch x, y := r.types[a].total, r.types[b].total; {
		case x > y:
			return -1
		case x < y || a > b:
			return 1
		}
		return -1
	})
}

func (r *recent) readHours(ctx context.Context, v usance.View) error {
	from := r.today - unusualHours
	add := func(usageType string, d usance.Date, slot int, n usance.Tally) {
		t := r.types[usageType]
		if t == nil {
			return
		}
		slot = min(max(slot, 0), 23)
		if d == r.today {
			t.today[slot] += float64(n.Quantity)
			return
		}
		t.hours[d-from][slot] += float64(n.Quantity)
		t.events[d-from] += n.Events
	}
	bring := func(usageType string, d usance.Date, source string, quantity int64) {
		t := r.types[usageType]
		if t == nil || d == r.today || source == usance.NoValue || source == usance.OtherValue {
			return
		}
		if t.sources[d-from] == nil {
			t.sources[d-from] = make(map[string]float64)
		}
		t.sources[d-from][source] += float64(quantity)
	}
	err := v.Rollups(ctx, r.license.ID, from, r.today+1, nil, func(row *usance.Rollup) error {
		for slot, n := range hourSlots(row) {
			add(row.UsageType, row.Date, slot, n)
		}
		for source, n := range row.Breakdown[usance.BySource] {
			bring(row.UsageType, row.Date, source, n.Quantity)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = v.Tail(ctx, r.license.ID, from, r.today+1, func(e *usance.Event) error {
		add(e.UsageType, e.LocalDate, e.HourSlot, usance.Tally{Events: e.Sign(), Quantity: e.Quantity})
		bring(e.UsageType, e.LocalDate, e.SourceHost(), e.Quantity)
		return nil
	})
	for _, t := range r.types {
		for d := range t.hours {
			if t.events[d] > 0 && t.events[d] < 3 { // daily totals that were brought in, and the like
				t.slots[d] = onlyHour(&t.hours[d])
				for h := range t.hours[d] {
					t.hours[d][h] = math.NaN()
				}
			}
		}
	}
	return err
}

// alerts gives the alerts that were not told of yet.
func (r *recent) alerts(ctx context.Context, v usance.View) (out []usance.Alert, err error) {
	known := int(r.today - r.first)
	for _, name := range r.names() {
		t := r.types[name]
		days := t.days[max(0, unusualDays-known):]
		away, stopped := t.away(days)
		if stopped {
			if a := r.noTotals(name, days, away); a != nil {
				out = append(out, *a)
			}
			continue
		}
		in := forecast.Recent{Days: days[:len(days)-away], Weekday: int((r.today - usance.Date(len(days))).Weekday())}
		if away == 0 {
			in.Today = t.today[:min(r.over, 24)]
		}
		if hours := min(known, unusualHours); hours > away {
			in.Events = float64(t.events[unusualHours-1-away])
			in.Hours, in.Sources = t.hours[unusualHours-hours:unusualHours-away], t.sources[unusualHours-hours:unusualHours-away]
		}
		for _, a := range forecast.Unusual(in) {
			a.DaysAgo += away
			out = append(out, r.alert(name, a, t))
		}
	}
	sessions, err := r.sessions(ctx, v)
	if err != nil {
		return nil, err
	}
	for _, a := range sessions { // which says more than that it was within an hour
		out = slices.DeleteFunc(out, func(b usance.Alert) bool { return b.Kind == a.Kind && b.UsageType == a.UsageType })
	}
	out = append(out, sessions...)
	if out, err = r.unheld(ctx, v, out); err != nil {
		return nil, err
	}
	var fresh []usance.Alert
	for _, a := range out {
		told, _, err := v.Alerts(ctx, usance.AlertFilter{LicenseID: a.LicenseID, Kind: a.Kind, UsageType: a.UsageType}, usance.Page{Limit: 20})
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(told, func(b usance.Alert) bool {
			return b.PeriodStart > a.PeriodStart-quietDays && b.Severity.Rank() >= a.Severity.Rank()
		}) {
			fresh = append(fresh, a)
		}
	}
	return fresh, nil
}

// unheld leaves out that there was less use, or none, where a hard limit let
// nothing more in: that has alerts of its own.
func (r *recent) unheld(ctx context.Context, v usance.View, list []usance.Alert) ([]usance.Alert, error) {
	less := func(a usance.Alert) bool { return a.Kind == usance.AlertDrop || a.Kind == usance.AlertFlat }
	if !slices.ContainsFunc(list, less) {
		return list, nil
	}
	facts, err := v.Facts(ctx, []string{r.license.ID})
	if err != nil || len(facts) == 0 {
		return list, err
	}
	zone, _, _, err := r.license.Term()
	if err != nil {
		return nil, err
	}
	u := usage{license: *r.license, zone: zone, first: r.first, days: r.days}
	// Limits of the days before are of no interest, but those of longer periods are.
	from := r.today
	for i := range facts[0].Thresholds {
		t := &facts[0].Thresholds[i]
		if t.PeriodType == usance.PeriodDaily {
			continue
		}
		// A period that is over may have been held to terms that have changed since.
		if p := usance.PeriodOf(t.PeriodType, r.today-1, r.license.BillingAnchorDay); t.Kind() == usance.KindHard || p.End <= r.today {
			from = min(from, p.Start)
		}
	}
	if from == r.today {
		return list, nil
	}
	if from < r.today-unusualDays {
		if u.days, err = v.DayUsage(ctx, r.license.ID, from, r.today+1); err != nil {
			return nil, err
		}
	}
	if err := u.readFull(ctx, v, facts[0].Thresholds); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(a usance.Alert) bool {
		if !less(a) {
			return false
		}
		for by, periods := range u.full {
			if !covers(by, a.UsageType) {
				continue
			}
			for _, p := range periods { // from the day on on which it was full
				if a.PeriodStart >= p.Start-1 && a.PeriodStart < p.End {
					return true
				}
			}
		}
		return false
	}), nil
}

func (r *recent) alert(usageType string, a forecast.Anomaly, t *ofType) usance.Alert {
	date := r.today - usance.Date(a.DaysAgo)
	quantity := r.used
	switch {
	case t != nil && a.DaysAgo == 0:
		quantity = 0
		for _, v := range t.today {
			quantity += units(v)
		}
	case t != nil:
		quantity = units(t.days[unusualDays-a.DaysAgo])
	}
	return usance.Alert{
		ID: usance.NewID(r.now), Kind: a.Kind, LicenseID: r.license.ID, UsageType: usageType, PeriodStart: date, PeriodEnd: date + 1,
		Epoch: int(mix(usageType+" "+string(a.Severity)) & math.MaxInt32), Quantity: quantity, Severity: a.Severity,
		Reason: reason(usageType, date, a), CreatedAt: r.now,
	}
}

// reason says in words what is unusual.
func reason(usageType string, date usance.Date, a forecast.Anomaly) string {
	what := usageType + " usage"
	if usageType == usance.AllTypes {
		what = "usage"
	}
	when := fmt.Sprintf("on %s", date)
	if a.Hour >= 0 {
		when = fmt.Sprintf("between %02d:00 and %02d:00 on %s", a.Hour, a.Hour+1, date)
	}
	switch a.Kind {
	case usance.AlertSpike, usance.AlertDrop:
		much := ""
		if a.Expected >= 1 {
			if times := a.Actual / a.Expected; times >= 1 {
				much = fmt.Sprintf(", %.1f times as much", times)
			} else {
				much = fmt.Sprintf(", %.0f %% of it", 100*times)
			}
		}
		return fmt.Sprintf("%s came to %.0f %s, where about %.0f was to be expected%s", what, a.Actual, when, a.Expected, much)
	case usance.AlertFlat:
		if a.Same {
			if a.Hours > 24 {
				return fmt.Sprintf("%s was exactly %.0f on each of %d days up to %s, where it used to vary", what, a.Actual, a.Hours/24, date)
			}
			return fmt.Sprintf("%s was exactly %.0f in each of %d hours, where it used to vary", what, a.Actual, a.Hours)
		}
		return fmt.Sprintf("there has been no %s for %d hours, in which about %.0f was to be expected", what, a.Hours, a.Expected)
	}
	switch {
	case a.Session:
		return fmt.Sprintf("one session carried %.0f %% of the %s %s", 100*a.Actual, what, when)
	case a.Hour >= 0:
		came := fmt.Sprintf("%.0f %% of the day's %s came %s", 100*a.Actual, what, when)
		if a.Expected == 0 {
			return came
		}
		return came + fmt.Sprintf(", where the busiest hour usually has %.0f %%", 100*a.Expected)
	}
	return fmt.Sprintf("%s carried %.0f %% of the %s %s, where %.0f %% is usual", usance.Clip(a.Source), 100*a.Actual, what, when, 100*a.Expected)
}
