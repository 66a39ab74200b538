package sim

import (
	"slices"

	"github.com/usance/usance"
)

func (r *run) terms() Terms {
	t := Terms{Limit: int64(5 + r.rng.IntN(60)), Grace: pick(r, []int64{0, 0, 10, 33, 100})}
	if r.chance(5) {
		t.Limit = 1_000_000
	}
	switch n := r.rng.IntN(100); {
	case n < 40:
	case n < 75:
		t.Allow, t.Rate = true, pick(r, []string{"5", "2.5", "0.3333", "0", "120"})
	case n < 85:
		t.Allow, t.Tiers = true, []Tier{{5, "10"}, {20, "0.5"}, {0, "0.25"}}
	default:
		t.Allow = true
	}
	return t
}

func (r *run) levels() []int {
	return slices.Clone(pick(r, [][]int{{50, 75, 90, 100}, {50, 75, 90, 100}, {80}, {10, 100, 200}, {}}))
}

var periods = []string{"daily", "daily", "weekly", "weekly", "monthly", "monthly", "monthly", "quarterly", "yearly", "total"}

func (r *run) stepCreate() error { return r.create(pick(r, r.licenses), true) }

func (r *run) create(l *License, mayCrash bool) error {
	if err := r.compare(false, l); err != nil {
		return err
	}
	t := Threshold{License: l, Type: pick(r, append([]string{"all"}, types...)), Period: pick(r, periods), Terms: r.terms(), Levels: r.levels()}
	if mayCrash {
		r.arm("PutThreshold", "AddAudit", "EnsureCounters", "PutCounters", "AddAlerts", "PutOverages", "WarnThresholds")
	}
	r.begin("threshold %s %s %s %+v levels %v", l.ID, t.Type, t.Period, t.Terms, t.Levels)
	p, err := r.catalog.CreateThreshold(r.ctx, t.product(), "sim", false)
	died, commits := r.store.disarm()
	id := p.ID
	if died {
		if commits == 0 {
			return r.compare(false, l)
		}
		if id, err = r.newThreshold(l); err != nil {
			return err
		}
	}
	if err := same("threshold", code(err), r.model.Create(r.now, l, t, id)); err != nil {
		return err
	}
	for _, o := range l.Thresholds {
		if !slices.Contains(r.made, o) {
			r.made = append(r.made, o)
		}
	}
	return r.compare(false, l)
}

// newThreshold finds a threshold whose making was not answered.
func (r *run) newThreshold(l *License) (id string, err error) {
	err = r.raw.View(r.ctx, func(v usance.View) error {
		rows, _, err := v.Thresholds(r.ctx, usance.ThresholdFilter{LicenseID: l.ID, Inactive: true}, usance.Page{Limit: 1000})
		for i := range rows {
			if !slices.ContainsFunc(l.Thresholds, func(t *Threshold) bool { return t.ID == rows[i].ID }) {
				id = rows[i].ID
			}
		}
		return err
	})
	return id, err
}

func (r *run) stepUpdate() error {
	if len(r.made) == 0 {
		return nil
	}
	t := pick(r, r.made)
	terms, levels, active := t.Terms, t.Levels, t.Active
	b := body{}
	switch r.rng.IntN(5) {
	case 0, 1:
		terms.Limit = int64(5 + r.rng.IntN(80))
		b["limitQuantity"] = terms.Limit
	case 2:
		terms.Grace = pick(r, []int64{0, 10, 33, 100})
		b["gracePercentage"] = terms.Grace
	case 3:
		levels = r.levels()
		b["warningLevels"] = levels
	default:
		terms = r.terms()
		p := terms.product()
		b = body{"limitQuantity": p.LimitQuantity, "gracePercentage": p.GracePercentage, "allowOverage": p.AllowOverage,
			"overageRateCents": p.OverageRateCents, "overageTiers": nil}
		if len(p.OverageTiers) > 0 {
			b["overageTiers"] = p.OverageTiers
		}
	}
	return r.update(t, b, terms, levels, active)
}

// stepActivate retires a threshold or puts it in force again.
func (r *run) stepActivate() error {
	if len(r.made) == 0 {
		return nil
	}
	t := pick(r, r.made)
	active := !t.Active
	if r.chance(10) {
		active = t.Active
	}
	return r.update(t, body{"isActive": active}, t.Terms, t.Levels, active)
}

func (r *run) update(t *Threshold, b body, terms Terms, levels []int, active bool) error {
	if err := r.compare(false, t.License); err != nil {
		return err
	}
	r.arm("PutThreshold", "AddAudit", "EnsureCounters", "LockCounters", "PutCounters", "AddAlerts", "PutOverages", "WarnThresholds", "Revisions")
	r.begin("update %s of %s (%s %s) %s", t.ID, t.License.ID, t.Type, t.Period, b.bytes())
	var err error
	if retire, ok := b["isActive"]; ok && retire == false {
		_, err = r.catalog.RetireThreshold(r.ctx, t.ID, "sim", false)
	} else {
		_, err = r.catalog.UpdateThreshold(r.ctx, t.ID, b.bytes(), "sim", false)
	}
	died, commits := r.store.disarm()
	switch {
	case died && commits > 0:
		r.model.Update(r.now, t, terms, levels, active)
	case !died:
		if err := same("update", code(err), r.model.Update(r.now, t, terms, levels, active)); err != nil {
			return err
		}
	}
	return r.compare(false, t.License)
}

func (r *run) stepLicense() error {
	l := pick(r, r.licenses)
	today := l.LocalDay(r.now)
	next := *l
	b := body{}
	switch r.rng.IntN(8) {
	case 0:
		next.Status = pick(r, []string{"DRAFT", "ACTIVE", "EXPIRING_SOON", "EXPIRED", "SUSPENDED", "TERMINATED", "DISPUTED", "CANCELED"})
	case 1:
		next.Tracking = r.chance(40)
	case 2:
		next.Start, next.End = pick(r, []string{"", showDay(today - r.rng.IntN(9))}), ""
	case 3:
		next.Start, next.End = "", pick(r, []string{"", showDay(today + r.rng.IntN(9) - 2)})
	case 4:
		if len(l.Events) > 0 {
			field := pick(r, []body{{"timezone": "Europe/Berlin"}, {"billingAnchorDay": 7}, {"brandId": "other"}, {"currency": "EUR"}})
			r.begin("licence %s %s", l.ID, field.bytes())
			_, _, err := r.catalog.PutLicense(r.ctx, l.ID, field.bytes(), "sim")
			return same("licence", code(err), Conflict)
		}
	case 5:
		if !l.Deleted && r.chance(20) {
			return r.deleteLicense(l)
		}
	default: // make it count again
		next.Status, next.Tracking, next.Deleted, next.Start, next.End = "ACTIVE", true, false, "", ""
		b["deletedAt"] = nil
	}
	b["status"], b["usageTrackingEnabled"], b["startDate"], b["endDate"] = next.Status, next.Tracking, next.Start, next.End
	r.arm("PutLicense", "AddAudit")
	r.begin("licence %s %s", l.ID, b.bytes())
	_, _, err := r.catalog.PutLicense(r.ctx, l.ID, b.bytes(), "sim")
	died, commits := r.store.disarm()
	if err != nil && !died {
		return err
	}
	if !died || commits > 0 {
		if next.Status != l.Status || next.Tracking != l.Tracking || next.Deleted != l.Deleted || next.Start != l.Start || next.End != l.End {
			l.Audit["license.put"]++
		}
		l.Status, l.Tracking, l.Deleted, l.Start, l.End = next.Status, next.Tracking, next.Deleted, next.Start, next.End
	}
	return r.compare(false, l)
}

func (r *run) deleteLicense(l *License) error {
	r.arm("PutLicense", "AddAudit")
	r.begin("delete %s", l.ID)
	_, err := r.catalog.DeleteLicense(r.ctx, l.ID, "sim")
	died, commits := r.store.disarm()
	if err != nil && !died {
		return err
	}
	if !died || commits > 0 {
		l.Audit["license.delete"]++
		l.Deleted = true
	}
	return r.compare(false, l)
}
