package redistest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// Line is a way to the server that a test may make slow.
type Line struct {
	t     testing.TB
	proxy *toxiproxy.Proxy
}

// Line opens another way to the server, as fast as the direct one at first.
func (s *Server) Line() *Line {
	s.t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := toxiproxy.NewProxy(server, "redis", "127.0.0.1:0", s.addr)
	if err := p.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(p.Stop)
	return &Line{s.t, p}
}

// URL names the server by this way.
func (l *Line) URL() string { return urlOf(l.proxy.Listen) }

// Slow lets each answer take so much longer, from now on; 0 lets it be.
func (l *Line) Slow(by time.Duration) {
	l.t.Helper()
	const name = "slow"
	if l.proxy.Toxics.GetToxic(name) != nil {
		if err := l.proxy.Toxics.RemoveToxic(context.Background(), name); err != nil {
			l.t.Fatal(err)
		}
	}
	if by == 0 {
		return
	}
	toxic := fmt.Sprintf(`{"name": %q, "type": "latency", "stream": "downstream", "attributes": {"latency": %d}}`, name, by.Milliseconds())
	if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
		l.t.Fatal(err)
	}
}
