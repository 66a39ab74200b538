package api

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"github.com/usance/usance"
)

// The memory that bodies may take together, whoever sends them: as bytes, of which
// what is decoded takes as much again. What fits into smallBody is not counted, so
// that large bodies leave room for others at all times.
const (
	roomForBodies = 48 << 20
	smallBody     = 64 << 10
)

// room is what bodies may take together.
type room struct{ taken atomic.Int64 }

// held is what the bodies of one request have taken of it.
type held struct{ bytes atomic.Int64 }

type heldKeyType struct{}

// hold gives a context whose request's bodies are held against the room until
// release: for as long as something refers to them.
func (m *room) hold(ctx context.Context) (_ context.Context, release func()) {
	h := new(held)
	return context.WithValue(ctx, heldKeyType{}, h), func() { m.taken.Add(-h.bytes.Swap(0)) }
}

// reader takes room for what is read, and fails once there is none.
func (m *room) reader(ctx context.Context, body io.Reader) io.Reader {
	h, _ := ctx.Value(heldKeyType{}).(*held)
	return &roomReader{body, m, h}
}

type roomReader struct {
	io.Reader
	room *room
	held *held
}

func (r *roomReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.held.bytes.Add(int64(n))
	if r.room.taken.Add(int64(n)) > roomForBodies {
		return n, overfull()
	}
	return n, err
}

func overfull() error {
	err := usance.NewError(usance.CodeOverloaded, "more is being sent than there is memory for; nothing of this request was looked at; send it again, or send smaller requests or application/x-ndjson")
	err.RetryAfter = time.Second
	return err
}
