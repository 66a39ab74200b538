package api

import (
	"io"
	"net/http"
	"strings"
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

// sender names the key of a request for shares of room: the same however it is sent.
func sender(r *http.Request) string {
	words := strings.Fields(r.Header.Get("Authorization"))
	return strings.Join(words[max(0, len(words)-1):], "")
}

// room is memory that is shared: no key has more than half of it.
type room struct {
	size  int64
	mu    sync.Mutex
	taken int64
	byKey map[string]int64
}

// take takes n bytes for a key, if there are so many.
func (m *room) take(key string, n int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.taken+n > m.size || m.byKey[key]+n > m.size/2 {
		return false
	}
	if m.byKey == nil {
		m.byKey = make(map[string]int64)
	}
	m.taken += n
	m.byKey[key] += n
	return true
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
	if !r.held.room.take(r.held.key, int64(n)) {
		full := usance.NewError(usance.CodeOverloaded, "more is being sent than there is memory for; nothing of this request was looked at; send it again, or smaller requests")
		full.RetryAfter = time.Second
		return n, full
	}
	r.held.bytes += int64(n)
	return n, err
}

// heldOf gives what the request of an answer holds; every answer comes by wrap.
func heldOf(w http.ResponseWriter) *held { return &w.(*answerWriter).held }
