package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/usance/usance"
	"github.com/usance/usance/api"
)

// front is what the program listens with. It can listen before there is a store
// to answer from: whoever watches over the program then learns that it lives and
// what it waits for.
type front struct {
	addr     string
	log      *slog.Logger
	ctx      context.Context // ends with the first signal
	cutOff   func()          // ends the requests under way
	listener net.Listener    // nil before listen
	http     *http.Server
	handler  atomic.Pointer[http.Handler]
	served   chan error // told when the server ends by itself
}

// newFront makes a front that does not listen yet; close takes it down.
func newFront(ctx context.Context, c config, log *slog.Logger) *front {
	f := &front{addr: c.Addr, log: log, ctx: ctx, served: make(chan error, 1)}
	base, cutOff := context.WithCancel(context.WithoutCancel(ctx))
	f.cutOff = cutOff
	f.http = newHTTPServer(base, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*f.handler.Load()).ServeHTTP(w, r) }), log)
	f.become(http.HandlerFunc(notUp))
	return f
}

// listen begins to answer, unless it has begun.
func (f *front) listen() (err error) {
	if f.listener != nil {
		return nil
	}
	if f.listener, err = new(net.ListenConfig).Listen(f.ctx, "tcp", f.addr); err != nil {
		f.listener = nil
		return fmt.Errorf("USANCE_ADDR: %w", err)
	}
	go func() { f.served <- f.http.Serve(f.listener) }()
	return nil
}

// become has the handler answer from now on.
func (f *front) become(h http.Handler) { f.handler.Store(&h) }

// close ends what is under way, at once.
func (f *front) close() {
	f.cutOff()
	_ = f.http.Close() // its listener and connections end, one way or the other
}

// notUp answers while the program waits for its database.
func notUp(w http.ResponseWriter, r *http.Request) {
	const waiting = "the server waits for its database, which is not up yet; try again"
	switch r.URL.Path {
	case "/healthz":
		fmt.Fprintln(w, "ok")
	case "/readyz":
		http.Error(w, waiting, http.StatusServiceUnavailable)
	default:
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintf(w, `{"type":%q,"title":"The service is not available","status":503,"detail":%q,"code":%q,"retryable":true}`+"\n",
			api.ProblemType(usance.CodeUnavailable), waiting, usance.CodeUnavailable)
	}
}

// stopped passes an error on unless it is that the program was told to stop.
func (f *front) stopped(err error) error {
	if f.ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
