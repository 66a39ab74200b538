package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/usance/usance/access"
)

// Bounds of the server. There is none on how long a request may take as a
// whole, since an import of a year is one; a client that sends or takes nothing
// for stallTimeout is let go.
const (
	headerTimeout  = 10 * time.Second
	stallTimeout   = time.Minute
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 32 << 10
	// refusedPerMinute is how many requests without a good key one address may send.
	refusedPerMinute = 60
)

// newHTTPServer makes the server of a handler; its requests live under base.
func newHTTPServer(base context.Context, h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           patient(h, stallTimeout),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return base },
	}
}

// patient bounds the time between two reads or writes instead of the whole
// request: long NDJSON streams pass, clients that hang do not. The handler gets
// a copy of the request: the server looks at its own one's body to tell what it
// has to read before an answer that did not want the body.
//
// Once the body has been read, the server waits on the connection for nothing
// but the client's going away, which ends the request's context; a deadline on
// that wait would end it too, and with it a recalculation that takes its time.
func patient(next http.Handler, stall time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		// Connections without deadlines, as in tests, go without.
		_ = c.SetWriteDeadline(time.Now().Add(stall))
		own := *r
		if r.Body == nil || r.Body == http.NoBody {
			_ = c.SetReadDeadline(time.Time{})
		} else {
			_ = c.SetReadDeadline(time.Now().Add(stall))
			own.Body = &patientBody{r.Body, c, stall}
		}
		next.ServeHTTP(&patientWriter{w, c, stall}, &own)
		_ = c.SetWriteDeadline(time.Now().Add(stall)) // what is still buffered goes out now
	})
}

type patientBody struct {
	io.ReadCloser
	c     *http.ResponseController
	stall time.Duration
}

func (b *patientBody) Read(p []byte) (int, error) {
	_ = b.c.SetReadDeadline(time.Now().Add(b.stall))
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.c.SetReadDeadline(time.Time{})
	}
	// The time the server takes over what it read is not the client's.
	_ = b.c.SetWriteDeadline(time.Now().Add(b.stall))
	return n, err
}

type patientWriter struct {
	http.ResponseWriter
	c     *http.ResponseController
	stall time.Duration
}

func (w *patientWriter) Write(p []byte) (int, error) {
	_ = w.c.SetWriteDeadline(time.Now().Add(w.stall))
	return w.ResponseWriter.Write(p)
}

// Unwrap lets handlers reach the connection.
func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// inFlight counts the requests being answered.
func inFlight(gauge prometheus.Gauge, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		gauge.Inc()
		defer gauge.Dec()
		next.ServeHTTP(w, r)
	})
}

// metricsHandler answers /metrics. It is open where only this machine can ask;
// elsewhere it wants USANCE_METRICS_KEY or an admin's key, as allowed decides.
func metricsHandler(registry prometheus.Gatherer, key string, open bool, allowed func(r *http.Request) bool, log *slog.Logger) http.Handler {
	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelError),
		ErrorHandling: promhttp.ContinueOnError, // one collector must not hide the others
		Timeout:       10 * time.Second,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !(open && key == "") && !access.Bears(r.Header.Get("Authorization"), key) && !allowed(r) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="usance"`)
			http.Error(w, `metrics need the header "Authorization: Bearer KEY" with USANCE_METRICS_KEY or an admin's key`, http.StatusUnauthorized)
			return
		}
		metrics.ServeHTTP(w, r)
	})
}

// isLoopback tells whether only this machine can reach the address.
func isLoopback(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return ok && t.IP.IsLoopback()
}
