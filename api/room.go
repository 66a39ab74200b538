package api

import (
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/usance/usance"
)

// The memory that bodies may take together, whoever sends them, and that lines of
// streams may; as bytes, of which what is decoded takes some more. What fits into
// smallBody is not counted, so that there is always room for others.
const (
	roomForBodies = 48 << 20
	roomForLines  = 24 << 20
	smallBody     = 64 << 10
)

// room is memory that is shared: no key has more than half of it.
type room struct {
	size  int64
	mu    sync.Mutex
	taken int64
	byKey map[string]int64
}

// take takes n bytes for the key of an id, and fails when there are not so many.
func (m *room) take(key string, n int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.byKey[key]+n > m.size/2:
		return noRoom("this key is sending %d MiB at once already, half of what there is memory for", m.byKey[key]>>20)
	case m.taken+n > m.size:
		return noRoom("more is being sent than there is memory for")
	}
	if m.byKey == nil {
		m.byKey = make(map[string]int64)
	}
	m.taken += n
	m.byKey[key] += n
	return nil
}

func noRoom(format string, args ...any) error {
	e := usance.NewError(usance.CodeOverloaded, format+"; nothing of this request was looked at; send it again, or smaller requests", args...)
	e.RetryAfter = time.Second
	return e
}

func (m *room) give(key string, n int64) {
	if n == 0 { // as of most requests
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken -= n
	if m.byKey[key] -= n; m.byKey[key] <= 0 {
		delete(m.byKey, key)
	}
}

// held is what one request has taken of the room for bodies, until it is answered:
// for as long as something refers to what was read.
type held struct {
	room  *room
	key   string
	bytes int64
}

func (h *held) release() {
	h.room.give(h.key, h.bytes)
	h.bytes = 0
}

// reader takes room for what is read, and fails when there is none.
func (h *held) reader(body io.Reader) io.Reader { return &roomReader{body, h} }

type roomReader struct {
	io.Reader
	held *held
}

func (r *roomReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if full := r.held.room.take(r.held.key, int64(n)); full != nil {
		return n, full
	}
	r.held.bytes += int64(n)
	return n, err
}

// heldOf gives what the request of an answer holds; every answer comes by wrap.
func heldOf(w http.ResponseWriter) *held { return &w.(*answerWriter).held }
