package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/fold"
	"github.com/usance/usance/ingest"
)

// operation is something that one node does while another does something else.
// Of an operation that is several transactions each is a part.
type operation struct {
	name string
	do   func(c *scene, by int, licence string) outcome
}

// operations are the eight of which every pair is tried: ingest, fold,
// recalculation, void, threshold change, period close, seal and prune; some of
// them in more than one shape.
var operations = []operation{
	{"ingest", (*scene).ingest},      // all new: the quick way, unless the other took the key that both send
	{"ingest again", (*scene).again}, // with what was counted and what was refused before: the careful way
	{"fold", (*scene).fold},          // of what is pending with the node, with the other, and with one that died
	{"recalculate", (*scene).recalculate},
	{"void", (*scene).void},          // of what is pending
	{"void late", (*scene).voidLate}, // of what lies on the day to be closed and sealed
	{"create threshold", (*scene).create},
	{"raise limit", (*scene).raise},
	{"retire threshold", (*scene).retire},
	{"close periods", (*scene).closePeriods},
	{"seal", (*scene).seal},
	{"prune", (*scene).prune},
}

// of makes an outcome that touches one licence.
func of(licence string, err error, parts ...part) outcome {
	return outcome{err: err, parts: func(l string) []part {
		if l != licence {
			return nil
		}
		return parts
	}}
}

// ofAll makes one that touches every licence alike.
func ofAll(err error, parts ...part) outcome {
	return outcome{err: err, parts: func(string) []part { return parts }}
}

func (c *scene) sent(by int, licence string, events []Event) outcome {
	q := request{events: events, backdate: true}
	got, err := c.nodes[by].in.Track(c.ctx, q.product())
	return of(licence, err, func(w *world) error { return sameResults(got, w.Track(c.now, q.events, false, true)) })
}

func (c *scene) ingest(by int, licence string) outcome {
	late := c.event(licence, fmt.Sprint("late ", by), "download", 6)
	late.At = c.on(5, 20)
	return c.sent(by, licence, []Event{
		c.event(licence, fmt.Sprint("view ", by), "view", 7), // the limit has room for one of them
		late,
		c.event(licence, fmt.Sprint("download ", by), "download", 4),
		c.event(licence, "of both", "download", 1),
	})
}

func (c *scene) again(by int, licence string) outcome {
	return c.sent(by, licence, []Event{
		c.due(licence),
		c.event(licence, "pending", "view", 4),
		c.event(licence, "blocked", "view", 50),
		c.event(licence, "of both", "download", 1),
		c.event(licence, fmt.Sprint("view again ", by), "view", 7),
	})
}

func (c *scene) fold(by int, _ string) outcome {
	_, err := c.nodes[by].fold.Flush(c.ctx)
	return ofAll(err)
}

func (c *scene) recalculate(by int, licence string) outcome {
	from, to := Day(usance.DateOf(c.on(4, 0), c.zone)), Day(usance.DateOf(c.on(8, 0), c.zone))
	got, err := c.nodes[by].fold.Recalculate(c.ctx, licence, usance.Date(from), usance.Date(to), "sim")
	if err == nil && (got.Changed != 0 || got.Counters != 0) {
		err = fmt.Errorf("recalculated %+v; nothing was wrong", got)
	}
	return of(licence, err, func(w *world) error {
		w.Recalculate(c.now, w.l, from, to)
		return nil
	})
}

func (c *scene) void(by int, licence string) outcome { return c.voidOf(by, licence, "pending") }
func (c *scene) voidLate(by int, licence string) outcome {
	return c.voidOf(by, licence, "due download")
}

func (c *scene) voidOf(by int, licence, key string) outcome {
	got, err := c.nodes[by].in.Void(c.ctx, ingest.VoidRequest{LicenseID: licence, IdempotencyKey: key, Reason: "because", Actor: "sim"})
	name := fmt.Sprint(by)
	return of(licence, nil,
		func(w *world) error {
			w.found[name] = w.l.Find(key)
			return nil
		},
		func(w *world) error {
			want := w.Void(c.now, w.l, w.found[name])
			if err != nil || w.found[name] == nil {
				return same("void", code(err), want.Code)
			}
			return sameResults([]usance.Result{got}, []Result{want})
		})
}

func (c *scene) create(by int, licence string) outcome {
	t := Threshold{License: &License{ID: licence}, Type: "all", Period: "monthly", Terms: Terms{Limit: 40}, Levels: []int{50, 100}}
	made, err := c.nodes[by].catalog.CreateThreshold(c.ctx, t.product(), "sim", false)
	return of(licence, nil, func(w *world) error {
		return same("create", code(err), w.Create(c.now, w.l, t, made.ID))
	})
}

func (c *scene) raise(by int, licence string) outcome {
	limit := int64(26 + 4*by)
	id := c.thresholds[licence+" "+hardViews]
	_, err := c.nodes[by].catalog.UpdateThreshold(c.ctx, id, body{"limitQuantity": limit}.bytes(), "sim", false)
	return c.changed(licence, id, err, func(t *Threshold) { t.Limit = limit })
}

func (c *scene) retire(by int, licence string) outcome {
	id := c.thresholds[licence+" "+ratedDownloads]
	_, err := c.nodes[by].catalog.RetireThreshold(c.ctx, id, "sim", false)
	return c.changed(licence, id, err, func(t *Threshold) { t.Active = false })
}

func (c *scene) changed(licence, id string, err error, change func(*Threshold)) outcome {
	return of(licence, nil, func(w *world) error {
		t := w.l.Thresholds[slices.IndexFunc(w.l.Thresholds, func(t *Threshold) bool { return t.ID == id })]
		next := *t
		change(&next)
		return same("update", code(err), w.Update(c.now, t, next.Terms, next.Levels, next.Active))
	})
}

func (c *scene) closePeriods(by int, _ string) outcome {
	_, _, err := c.nodes[by].billing.ClosePeriods(c.ctx)
	return ofAll(err,
		func(w *world) error { w.CloseEnded(c.now); return nil },
		func(w *world) error { w.SettleDue(c.now); return nil })
}

// seal makes the 5th of March due; prune, what is left of the 4th, which is sealed.
func (c *scene) seal(by int, _ string) outcome  { return c.retained(by, c.on(5, 18)) }
func (c *scene) prune(by int, _ string) outcome { return c.retained(by, c.on(4, 14)) }

func (c *scene) retained(by int, due time.Time) outcome {
	var got fold.Retention
	got, err := c.nodes[by].fold.Retain(c.ctx, c.now.Sub(due))
	if err == nil && got.Drifted > 0 {
		err = fmt.Errorf("retention found %+v; nothing was wrong", got)
	}
	name := fmt.Sprint(by)
	out := ofAll(err,
		func(w *world) error {
			for d := range w.l.CloseDue(due) {
				w.due[name] = append(w.due[name], d)
			}
			return nil
		},
		func(w *world) error {
			for _, d := range w.due[name] {
				w.l.Sealed[d] = true
			}
			return nil
		},
		func(w *world) error { w.l.Prune(due); return nil },
		func(w *world) error { w.l.Forget(due); return nil })
	out.loose = true // raw events, and evidence of what was not counted
	return out
}
