package weblog

import (
	"cmp"
	"container/heap"
	"errors"
	"io"
	"slices"
)

// merge joins logs by time. Logs that follow one another are read one after the
// other; those that overlap, side by side, always the one whose next line is
// oldest, so that no line of the whole is further out of order than in its log.
// A log is open only while its lines are due.
type merge struct {
	open    func(Source) (*stream, error)
	pending []dated // by first time
	heads   heads
	current bool // the top of the heap has handed out its hit
}

type dated struct {
	Source
	first int64
}

func (m *merge) start(logs []Source) error {
	for _, log := range logs {
		d := dated{Source: log}
		if len(logs) > 1 {
			first, ok, err := m.begins(log)
			if err != nil {
				return err
			}
			// A log without a line that can be read is opened all the same, for
			// what it adds to the report.
			if ok {
				d.first = first
			}
		}
		m.pending = append(m.pending, d)
	}
	slices.SortStableFunc(m.pending, func(a, b dated) int { return cmp.Compare(a.first, b.first) })
	return nil
}

// begins tells the time of the first line of a log.
func (m *merge) begins(log Source) (first int64, ok bool, err error) {
	s, err := m.open(log)
	if err != nil {
		return 0, false, err
	}
	s.quiet = true
	h, err := s.next()
	switch {
	case errors.Is(err, io.EOF):
		err = nil
	case err == nil:
		first, ok = h.time, true
	}
	return first, ok, errors.Join(err, s.file.Close())
}

// next gives the oldest of the next lines, valid until the call after.
func (m *merge) next() (*hit, error) {
	if m.current {
		m.current = false
		s := m.heads[0]
		switch _, err := s.next(); {
		case errors.Is(err, io.EOF):
			heap.Pop(&m.heads)
			if err := s.file.Close(); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, err
		default:
			heap.Fix(&m.heads, 0)
		}
	}
	for len(m.pending) > 0 && (len(m.heads) == 0 || m.pending[0].first <= m.heads[0].h.time) {
		s, err := m.open(m.pending[0].Source)
		if err != nil {
			return nil, err
		}
		m.pending = m.pending[1:]
		switch _, err := s.next(); {
		case errors.Is(err, io.EOF):
			if err := s.file.Close(); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, errors.Join(err, s.file.Close())
		default:
			heap.Push(&m.heads, s)
		}
	}
	if len(m.heads) == 0 {
		return nil, io.EOF
	}
	m.current = true
	return &m.heads[0].h, nil
}

func (m *merge) close() {
	for _, s := range m.heads {
		_ = s.file.Close() // read only: nothing can be lost
	}
	m.heads = nil
}

type heads []*stream

func (h heads) Len() int           { return len(h) }
func (h heads) Less(i, j int) bool { return h[i].h.time < h[j].h.time }
func (h heads) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *heads) Push(x any)        { *h = append(*h, x.(*stream)) }
func (h *heads) Pop() any {
	old := *h
	n := len(old) - 1
	x := old[n]
	old[n], *h = nil, old[:n]
	return x
}
