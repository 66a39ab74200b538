package fold

import (
	"slices"

	"github.com/usance/usance"
)

// queue holds the pending batches of this node, by groups of licences.
type queue struct {
	apart   bool                         // a bite is of one group
	memory  int                          // events whose counts may be kept
	fresh   []usance.Batch               // as they were offered, not filed yet
	groups  [usance.MaxGroups + 1][]kept // oldest first
	events  [usance.MaxGroups + 1]int    // that wait in each group
	waiting int                          // in all groups
	chosen  [usance.MaxGroups + 1]bool   // groups of which a bite was taken that is folded at once with the next
	held    int                          // events that are in memory
	ids     map[usance.ID]bool           // of all that is here or being folded
	last    uint64                       // number of the last batch that was offered
}

// kept is a batch that waits. parts is nil when its events were let go.
type kept struct {
	id     usance.ID
	number uint64
	count  int
	group  int
	parts  []part
}

// part is what an event adds to rollups: a third of an event's size, and its
// texts are shared.
type part struct {
	license, usageType, platform, device, place, source string
	quantity, revenue                                   int64
	session                                             uint64
	date                                                usance.Date
	hour                                                int8
	void                                                bool
}

// maxQueued bounds the batches that are known in memory; others stay pending in
// the store, where they are found.
const maxQueued = 200_000

func newQueue(memory int) queue { return queue{memory: memory, ids: make(map[usance.ID]bool)} }

func (q *queue) offer(b usance.Batch) {
	if len(q.ids) >= maxQueued {
		return
	}
	if q.held+len(b.Events) > q.memory {
		b.Events = nil
	}
	q.held += len(b.Events)
	q.ids[b.ID] = true
	q.fresh = append(q.fresh, b)
}

// file puts batches into their groups.
func (q *queue) file(batches []kept) {
	for _, b := range batches {
		q.last++
		b.number = q.last
		q.groups[b.group] = append(q.groups[b.group], b)
		q.count(b, 1)
	}
}

func (q *queue) count(b kept, sign int) {
	q.events[b.group] += sign * b.count
	q.waiting += sign * b.count
}

// next takes the bite that is best folded now, if any: under load what waits
// above that which may, and when it is idle, so that nothing is left to gather
// for, about size events.
func (q *queue) next(o Options, idle bool, size int) []kept {
	left := 0
	if !idle {
		size, left = min(q.waiting-o.Waiting, o.Bite), o.Waiting
	}
	var bite []kept
	for n := 0; n < size && q.waiting > left && (n == 0 || !q.apart); n = eventsOf(bite) {
		group := q.fullest()
		if group < 0 {
			break
		}
		bite = append(bite, q.take(group, o.Bite, q.last)...)
	}
	return bite
}

// choose takes bites that can be folded at once: they are of different groups,
// since two of one would write the same rows and wait for each other.
func (q *queue) choose(n int, one func(*queue) []kept) (bites [][]kept) {
	for range n {
		bite := one(q)
		if len(bite) == 0 {
			break
		}
		bites = append(bites, bite)
		for i := range bite {
			q.chosen[bite[i].group] = true
		}
	}
	clear(q.chosen[:])
	return bites
}

// oldest takes a bite of the group whose oldest batch has waited longest.
func (q *queue) oldest(size int) []kept {
	first := -1
	for group, waiting := range q.groups {
		if len(waiting) > 0 && !q.chosen[group] && (first < 0 || waiting[0].number < q.groups[first][0].number) {
			first = group
		}
	}
	if first < 0 {
		return nil
	}
	return q.take(first, size, q.last)
}

// before takes a bite of what was filed up to the number.
func (q *queue) before(last uint64, size int) []kept {
	var bite []kept
	for group := range q.groups {
		n := eventsOf(bite)
		if n >= size || n > 0 && q.apart {
			break
		}
		if !q.chosen[group] {
			bite = append(bite, q.take(group, size-n, last)...)
		}
	}
	return bite
}

func eventsOf(bite []kept) (n int) {
	for i := range bite {
		n += bite[i].count
	}
	return n
}

// fullest gives the group in which most events wait; -1 when none has any.
func (q *queue) fullest() int {
	fullest, most := -1, 0
	for group, n := range q.events {
		if n > most && !q.chosen[group] {
			fullest, most = group, n
		}
	}
	return fullest
}

// take takes a group's oldest batches, about size events of them and none
// after the number last.
func (q *queue) take(group, size int, last uint64) []kept {
	waiting := q.groups[group]
	n, events := 0, 0
	for n < len(waiting) && waiting[n].number <= last && (n == 0 || events+waiting[n].count <= size) {
		events += waiting[n].count
		q.count(waiting[n], -1)
		n++
	}
	bite := slices.Clone(waiting[:n])
	q.groups[group] = slices.Delete(waiting, 0, n)
	return bite
}

// putBack undoes take.
func (q *queue) putBack(bite []kept) {
	for _, b := range slices.Backward(bite) {
		q.groups[b.group] = slices.Insert(q.groups[b.group], 0, b)
		q.count(b, 1)
	}
}

// done forgets a bite.
func (q *queue) done(bite []kept) {
	for _, b := range bite {
		delete(q.ids, b.id)
		q.held -= len(b.parts)
	}
}

// words gives equal texts the same memory.
type words struct {
	known map[string]string
	hosts map[string]string // of referrers
}

// Bounds of what is remembered: texts, and referrers, each of them short.
const (
	maxWords      = 50_000
	maxReferrers  = 10_000
	shortReferrer = 100 // bytes
)

func newWords() words { return words{make(map[string]string), make(map[string]string)} }

func (w words) same(s string) string {
	if known, ok := w.known[s]; ok {
		return known
	}
	if len(w.known) >= maxWords {
		clear(w.known)
	}
	w.known[s] = s
	return s
}

// sourceHost remembers the hosts of short referrers, which come again.
func (w words) sourceHost(e *usance.Event) string {
	if host, ok := w.hosts[e.Referrer]; ok {
		return host
	}
	host := w.same(e.SourceHost())
	if len(e.Referrer) <= shortReferrer {
		if len(w.hosts) >= maxReferrers {
			clear(w.hosts)
		}
		w.hosts[e.Referrer] = host
	}
	return host
}

// keep makes of a batch what is kept of it.
func (w words) keep(b usance.Batch) kept {
	k := kept{id: b.ID, count: b.Count, group: b.Group}
	if b.Events == nil {
		return k
	}
	k.parts = make([]part, len(b.Events))
	for i := range b.Events {
		e := &b.Events[i]
		k.parts[i] = part{
			license: w.same(e.LicenseID), usageType: w.same(e.UsageType), platform: w.same(e.Platform), device: w.same(e.DeviceType),
			place: w.same(e.GeographicLocation), source: w.sourceHost(e), quantity: e.Quantity, revenue: e.RevenueCents,
			session: e.SessionHash, date: e.LocalDate, hour: int8(e.HourSlot), void: !e.VoidOf.IsZero(),
		}
	}
	return k
}

// event gives of an event what rollups are made of, but for its source host.
func (p *part) event() usance.Event {
	e := usance.Event{
		LicenseID: p.license, UsageType: p.usageType, Platform: p.platform, DeviceType: p.device, GeographicLocation: p.place,
		Quantity: p.quantity, RevenueCents: p.revenue, SessionHash: p.session, LocalDate: p.date, HourSlot: int(p.hour),
	}
	if p.void {
		e.VoidOf[0] = 1 // which event it takes back is no matter here
	}
	return e
}
