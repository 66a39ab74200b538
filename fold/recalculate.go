package fold

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/usance/usance"
)

// Recalculation is what recomputing a range from its raw events came to.
type Recalculation struct {
	LicenseID string        `json:"licenseId"`
	StartDate usance.Date   `json:"startDate"`
	EndDate   usance.Date   `json:"endDate"` // inclusive
	Days      int           `json:"days"`    // days recomputed
	Events    int64         `json:"events"`  // raw events read
	Changed   int           `json:"changed"` // rollup rows, and days of unique sessions, that differed
	Counters  int           `json:"counters"`
	Sealed    []usance.Date `json:"sealed"` // days skipped: their raw events are pruned
}

// chunkDays is how many days one snapshot and one transaction recompute.
const chunkDays = 31

// maxTries bounds how often a chunk is recomputed when another recalculation
// got in between.
const maxTries = 10

// Recalculate recomputes the licence's rollups of the local days [from, to)
// from their folded events, and the counters of the periods they touch. It
// adds only the difference, so that usage may go on meanwhile; sessions that a
// day's sketch lacks are merged into it. Sealed days are skipped and listed. What
// was done to counters by hand is undone; see usance.MendCounters.
func (f *Folder) Recalculate(ctx context.Context, licenseID string, from, to usance.Date, actor string) (out Recalculation, err error) {
	out = Recalculation{LicenseID: licenseID, StartDate: from, EndDate: to - 1, Sealed: []usance.Date{}}
	f.o.Logger.Debug("recalculating", "license", licenseID, "from", from, "to", to)
	defer func() { f.o.Logger.Debug("recalculated", "license", licenseID, "changed", out.Changed, "error", err) }()
	for start := from; start < to; start += chunkDays {
		end := min(start+chunkDays, to)
		if err := f.recalculateChunk(ctx, licenseID, start, end, nil, &out); err != nil {
			return out, err
		}
	}
	err = f.store.Update(ctx, usance.Locks{Exclusive: []string{licenseID}}, func(tx usance.Tx) (err error) {
		out.Counters, err = f.recount(ctx, tx, licenseID, from, to, actor, out.Changed)
		return err
	})
	return out, err
}

// recount ends a recalculation of [from, to) that changed so many rows: it
// recomputes the counters of the periods that the days touch, in a transaction
// that holds the licence's group exclusively, and tells how many differed.
func (f *Folder) recount(ctx context.Context, tx usance.Tx, licenseID string, from, to usance.Date, actor string, rows int) (changed int, err error) {
	facts, err := tx.Facts(ctx, []string{licenseID})
	if err != nil {
		return 0, err
	}
	if len(facts) == 0 {
		return 0, usance.LicenseNotFound(licenseID)
	}
	l := &facts[0].License
	zone, _, _, err := facts[0].Term()
	if err != nil {
		return 0, err
	}
	now := f.o.Now().UTC().Truncate(time.Microsecond)
	m := usance.Moment{Now: now, Zone: zone, AnchorDay: l.BillingAnchorDay, LateGrace: f.o.LateGrace}
	for i := range facts[0].Thresholds {
		t := &facts[0].Thresholds[i]
		mended, err := usance.MendCounters(ctx, tx, l, t, from, to, m)
		if err != nil {
			return 0, err
		}
		n, err := usance.Recount(ctx, tx, l, t, from, to, false, m, usance.Cause{Actor: actor, Reason: "usage.recalculate"})
		if err != nil {
			return 0, err
		}
		changed += mended + n
	}
	e := usance.NewAuditEntry(now, actor, "usage.recalculate", licenseID)
	e.LicenseID, e.Reason = licenseID, fmt.Sprintf("%s to %s: %d rows and %d counters changed", from, to-1, rows, changed)
	return changed, tx.AddAudit(ctx, []usance.AuditEntry{e})
}

// recalculateChunk corrects the rows of a few days; or of one, of which a part was
// read before.
func (f *Folder) recalculateChunk(ctx context.Context, licenseID string, from, to usance.Date, part *usance.BackfillPart, out *Recalculation) error {
	var twice int64 // events of the part, counted when they were read, and again
	for range maxTries {
		d, err := f.diff(ctx, licenseID, from, to, part)
		if err == nil && d.partial {
			twice, part = part.Events, nil // all anew, of one snapshot
			d, err = f.diff(ctx, licenseID, from, to, nil)
		}
		if err != nil {
			return err
		}
		ok, err := f.correct(ctx, licenseID, d)
		if err != nil {
			return err
		}
		if ok {
			out.Days += int(to-from) - len(d.sealed)
			out.Sealed = append(out.Sealed, d.sealed...)
			out.Events += d.events - twice
			out.Changed += d.drifted()
			f.metrics.drift.Add(float64(d.drifted()))
			return nil
		}
	}
	return usance.NewError(usance.CodeUnavailable, "other recalculations of %q are under way; try again", licenseID)
}

// difference is what rows lack, or have too much, against their events.
type difference struct {
	rows      []usance.Rollup // by key; Revision is the row's when it was read
	revisions map[usance.RollupKey]int
	sessions  []usance.DaySketch       // what is to be merged into days, in their order: the events' sketch where the stored one lacks some
	estimates map[usance.Date]estimate // of those, the days beside whose sketch another number is kept
	sealed    []usance.Date
	events    int64
	compared  int  // rows
	partial   bool // the part that was read before is not all that there is: nothing is told
}

// estimate is a day's number of unique sessions, as it is kept for SQL to read
// and as the day's sketch has it.
type estimate struct{ kept, sketch int64 }

// drifted is how many figures differ: rows, and days of sessions.
func (d *difference) drifted() int { return len(d.rows) + len(d.sessions) }

// diff compares rows and folded events in one snapshot. The events of a day
// are summed in bites, so that memory does not grow with them. Of one day, a part
// may have been read before, in other snapshots: then only what came in since is.
func (f *Folder) diff(ctx context.Context, licenseID string, from, to usance.Date, part *usance.BackfillPart) (*difference, error) {
	d := &difference{revisions: make(map[usance.RollupKey]int)}
	err := f.store.View(ctx, func(v usance.View) (err error) {
		if d.sealed, err = v.SealedDays(ctx, licenseID, from, to); err != nil {
			return err
		}
		fresh := make(map[usance.RollupKey]*usance.Rollup)
		stored := make(map[usance.RollupKey]*usance.Rollup)
		err = v.Rollups(ctx, licenseID, from, to, nil, func(r *usance.Rollup) error {
			if slices.Contains(d.sealed, r.Date) {
				return nil
			}
			row, names := r.Clone(), r.Names()
			stored[r.RollupKey], fresh[r.RollupKey] = &row, &names
			d.revisions[r.RollupKey] = r.Revision
			return nil
		})
		if err != nil {
			return err
		}
		bites := newBites(fresh, f.o.Bite)
		read := func(e *usance.Event) error {
			if slices.Contains(d.sealed, e.LocalDate) {
				return nil
			}
			d.events++
			bites.add(e)
			return nil
		}
		if part != nil && len(d.sealed) == 0 {
			d.partial, err = f.readRest(ctx, v, licenseID, from, part, bites, stored, read)
		} else {
			err = v.Folded(ctx, licenseID, from, to, read)
		}
		if err != nil || d.partial {
			return err
		}
		bites.spill()
		for _, key := range slices.SortedFunc(maps.Keys(fresh), usance.RollupKey.Compare) {
			r := fresh[key]
			if old := stored[key]; old != nil {
				r.Subtract(old)
			}
			d.compared++
			if !r.IsZero() {
				d.rows = append(d.rows, *r)
			}
		}
		return d.compareSessions(ctx, v, licenseID, from, to, bites.sum.sessions)
	})
	return d, err
}

// compareSessions finds the days whose sketch does not contain that of their
// events, and those beside whose sketch another number than its estimate is kept;
// to merge nothing puts that right, on sealed days too. A sketch cannot be
// subtracted from: one that holds more than its events is not found out.
func (d *difference) compareSessions(ctx context.Context, v usance.View, licenseID string, from, to usance.Date, fresh map[usance.Day]*usance.Sessions) error {
	kept, err := v.UniqueSessions(ctx, licenseID, from, to)
	if err != nil {
		return err
	}
	d.estimates = make(map[usance.Date]estimate)
	err = v.DaySessions(ctx, licenseID, from, to, func(date usance.Date, stored *usance.Sessions) error {
		day := usance.Day{LicenseID: licenseID, Date: date}
		if fresh[day] != nil {
			whole, err := stored.Contains(fresh[day])
			if err != nil {
				return fmt.Errorf("comparing the sessions of %s, %s: %w", licenseID, date, err)
			}
			if whole {
				delete(fresh, day)
			}
		}
		if e := (estimate{kept[date], stored.Estimate()}); e.kept != e.sketch && fresh[day] == nil {
			d.estimates[date] = e
			fresh[day] = new(usance.Sessions)
		}
		return nil
	})
	for day, s := range fresh {
		d.sessions = append(d.sessions, usance.DaySketch{Day: day, Sessions: *s})
	}
	slices.SortFunc(d.sessions, func(a, b usance.DaySketch) int { return a.Compare(b.Day) })
	return err
}

// correct adds the difference under the rows' locks; ok is false when another
// recalculation changed one of them since it was read, or one is gone. Sessions that were merged
// meanwhile are merged once more, which changes nothing.
func (f *Folder) correct(ctx context.Context, licenseID string, d *difference) (ok bool, err error) {
	if d.drifted() == 0 {
		return true, nil
	}
	err = f.store.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		ok = true
		keys := make([]usance.RollupKey, len(d.rows))
		var missing []usance.RollupKey // when they were read
		for i := range d.rows {
			keys[i] = d.rows[i].RollupKey
			if _, there := d.revisions[keys[i]]; !there {
				missing = append(missing, keys[i])
			}
		}
		if err := tx.EnsureRollups(ctx, missing); err != nil {
			return err
		}
		rows, err := tx.LockRollups(ctx, keys)
		if err != nil {
			return err
		}
		if len(rows) < len(keys) { // by somebody's hand: what one lacked is not what it lacks now
			ok = false
			return nil
		}
		for i := range rows {
			if rows[i].Revision != d.revisions[rows[i].RollupKey] {
				ok = false
				return nil
			}
			rows[i].Merge(&d.rows[i])
			rows[i].Revision++
		}
		if err := tx.PutRollups(ctx, rows); err != nil {
			return err
		}
		if len(d.sessions) > 0 {
			if err := tx.MergeSessions(ctx, d.sessions); err != nil {
				return err
			}
		}
		return tx.RenewVersions(ctx, []string{licenseID})
	})
	return ok, err
}

// Drift is what verification found: rows that differ from their raw events, and
// days whose unique sessions lack some of them.
type Drift struct {
	Licenses int          `json:"licenses"`
	Rows     int          `json:"rows"`    // rollup rows compared
	Drifted  int          `json:"drifted"` // rows, and days of unique sessions
	Events   int64        `json:"events"`
	Keys     []DriftedRow `json:"keys,omitempty"` // the first of them
}

// maxDriftKeys bounds the figures that a Drift names.
const maxDriftKeys = 100

// DriftedRow names a row and its difference: events less rollup; or a day whose
// unique sessions, which are of all usage types, lack sessions of its events.
type DriftedRow struct {
	LicenseID  string       `json:"licenseId"`
	Date       usance.Date  `json:"date"`
	UsageType  string       `json:"usageType,omitempty"`
	Difference usance.Tally `json:"difference,omitzero"`
	Sessions   bool         `json:"sessions,omitempty"` // it is the unique sessions that drifted
}

// Verify compares the licence's rollups and unique sessions of [from, to) with
// their raw events and changes nothing. With an error it gives what it found before.
func (f *Folder) Verify(ctx context.Context, licenseID string, from, to usance.Date) (Drift, error) {
	out := Drift{Licenses: 1}
	for start := from; start < to; start += chunkDays {
		d, err := f.diff(ctx, licenseID, start, min(start+chunkDays, to), nil)
		if err != nil {
			return out, err
		}
		out.Rows += d.compared
		out.Events += d.events
		out.Drifted += d.drifted()
		for i := range d.rows {
			if len(out.Keys) < maxDriftKeys {
				r := &d.rows[i]
				out.Keys = append(out.Keys, DriftedRow{LicenseID: r.LicenseID, Date: r.Date, UsageType: r.UsageType, Difference: r.Tally})
			}
		}
		for i := range d.sessions {
			if len(out.Keys) < maxDriftKeys {
				out.Keys = append(out.Keys, DriftedRow{LicenseID: licenseID, Date: d.sessions[i].Date, Sessions: true})
			}
		}
	}
	return out, nil
}

// VerifyDays verifies every licence's last days that have ended, as the job at
// 02:00 does. Drift is a metric, and must be 0. A licence that cannot be verified
// is named by the error, after all others were.
func (f *Folder) VerifyDays(ctx context.Context, days int) (out Drift, err error) {
	defer func() { // however it ends
		if out.Drifted > 0 {
			f.o.Logger.Error("rollups or unique sessions differ from their events; recalculate the days named", "rows", out.Drifted, "first", out.Keys)
		}
	}()
	var faults faults
	page := usance.Page{Limit: 500}
	for {
		var licenses []usance.License
		err := f.store.View(ctx, func(v usance.View) (err error) {
			licenses, page.Cursor, err = v.Licenses(ctx, usance.LicenseFilter{Deleted: true}, page)
			return err
		})
		if err != nil {
			return out, errors.Join(err, faults.err("verifying licences"))
		}
		for i := range licenses {
			d, err := f.verifyDays(ctx, &licenses[i], days)
			f.metrics.verified.Add(float64(d.Rows))
			f.metrics.drift.Add(float64(d.Drifted))
			out.Licenses += d.Licenses
			out.Rows += d.Rows
			out.Events += d.Events
			out.Drifted += d.Drifted
			out.Keys = append(out.Keys, d.Keys[:min(len(d.Keys), maxDriftKeys-len(out.Keys))]...)
			if err := faults.add(ctx, licenses[i].ID, err); err != nil {
				return out, errors.Join(err, faults.err("verifying licences"))
			}
		}
		if page.Cursor == "" {
			return out, faults.err("verifying licences")
		}
	}
}

// verifyDays verifies a licence's last days that have ended.
func (f *Folder) verifyDays(ctx context.Context, l *usance.License, days int) (Drift, error) {
	zone, err := usance.ParseZone(l.Timezone)
	if err != nil {
		return Drift{}, fmt.Errorf("put its timezone right: %w", err)
	}
	today := usance.DateOf(f.o.Now(), zone)
	return f.Verify(ctx, l.ID, today.AddDays(-days), today)
}
