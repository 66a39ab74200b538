package sim

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// gate stands between a node and its database, as a socket of its own, and lets
// one statement wait before the database has seen anything of it. The node knows
// nothing of it: what runs is the product as it is.
type gate struct {
	listener net.Listener
	server   string // the database's socket

	mu       sync.Mutex
	open     map[net.Conn]bool
	at       int      // of the statements since it was armed, which is to wait; 0: none
	passed   []string // all statements since then, the one that waits last
	reached  chan string
	released chan struct{}
	refusals map[string]int // errors that the database answered, by code
}

const socketName = ".s.PGSQL.5432"

// newGate opens a gate to the database of the URL, and gives the URL by it.
func newGate(t *testing.T, database, name string) (*gate, string) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	folder, err := os.MkdirTemp("", "usance-gate") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{server: filepath.Join(q.Get("host"), socketName), open: make(map[net.Conn]bool), refusals: make(map[string]int)}
	if g.listener, err = net.Listen("unix", filepath.Join(folder, socketName)); err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			client, err := g.listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { g.serve(client) })
		}
	})
	t.Cleanup(func() {
		g.listener.Close()
		g.mu.Lock()
		for c := range g.open {
			c.Close()
		}
		g.mu.Unlock()
		serving.Wait()
		os.RemoveAll(folder)
	})
	q.Set("host", folder)
	q.Set("application_name", name)
	q.Set("deadlock_timeout", "20ms")
	u.RawQuery = q.Encode()
	return g, u.String()
}

// arm lets the statement of that number wait, counted from 1 from now on.
func (g *gate) arm(at int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.at, g.passed = at, nil
	g.reached, g.released = make(chan string, 1), make(chan struct{})
}

// release lets the statement that waits go on, and all that come.
func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.at = 0
	close(g.released)
}

// statements are those that came since it was armed.
func (g *gate) statements() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.passed)
}

// refused are the errors that the database answered so far, by code: answers may
// still come, as to the pool's own pings.
func (g *gate) refused() map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.refusals)
}

func (g *gate) pass(statement string) {
	if strings.HasPrefix(statement, "-- ping") {
		return // the pool's own
	}
	g.mu.Lock()
	g.passed = append(g.passed, statement)
	var wait chan struct{}
	if g.at > 0 && len(g.passed) == g.at {
		wait = g.released
		g.reached <- statement
	}
	g.mu.Unlock()
	if wait != nil {
		<-wait
	}
}

// serve carries one connection.
func (g *gate) serve(client net.Conn) {
	server, err := net.Dial("unix", g.server)
	if err != nil {
		client.Close()
		return
	}
	g.mu.Lock()
	g.open[client], g.open[server] = true, true
	g.mu.Unlock()
	var ways sync.WaitGroup
	ways.Go(func() {
		_ = g.statementsOf(client, server) // it ends with the connection
		server.Close()
	})
	ways.Go(func() {
		_ = g.answersOf(server, client)
		client.Close()
	})
	ways.Wait()
	g.mu.Lock()
	delete(g.open, client)
	delete(g.open, server)
	g.mu.Unlock()
}

// message reads one message: its kind, and all of it. The first of a connection
// has no kind.
func message(in *bufio.Reader, first bool) (kind byte, body, whole []byte, err error) {
	head := make([]byte, 5)
	if first {
		head = head[:4]
	}
	if _, err = io.ReadFull(in, head); err != nil {
		return 0, nil, nil, err
	}
	if !first {
		kind = head[0]
	}
	size := int(binary.BigEndian.Uint32(head[len(head)-4:])) - 4
	if size < 0 || size > 64<<20 {
		return 0, nil, nil, errors.New("no message of the protocol")
	}
	whole = make([]byte, len(head)+size)
	body = whole[copy(whole, head):]
	_, err = io.ReadFull(in, body)
	return kind, body, whole, err
}

// text gives the text before the first zero, and what follows that.
func text(body []byte) (string, []byte) {
	before, after, _ := bytes.Cut(body, []byte{0})
	return string(before), after
}

// statementsOf carries what the node sends. To prepare a statement is none; each
// that is carried out comes by pass, also those sent together, and so does the
// end of the rows of a COPY.
func (g *gate) statementsOf(node io.Reader, database io.Writer) error {
	in, prepared := bufio.NewReader(node), make(map[string]string)
	for first := true; ; first = false {
		kind, body, whole, err := message(in, first)
		if err != nil {
			return err
		}
		switch kind {
		case 'P':
			name, rest := text(body)
			prepared[name], _ = text(rest)
		case 'B':
			_, rest := text(body)
			name, _ := text(rest)
			g.pass(prepared[name])
		case 'Q':
			statement, _ := text(body)
			g.pass(statement)
		case 'c':
			g.pass("-- the end of the rows of a COPY")
		}
		if _, err := database.Write(whole); err != nil {
			return err
		}
	}
}

// answersOf carries what the database answers, and counts errors.
func (g *gate) answersOf(database io.Reader, node io.Writer) error {
	in := bufio.NewReader(database)
	for {
		kind, body, whole, err := message(in, false)
		if err != nil {
			return err
		}
		for kind == 'E' && len(body) > 1 {
			field := body[0]
			var value string
			if value, body = text(body[1:]); field == 'C' {
				g.mu.Lock()
				g.refusals[value]++
				g.mu.Unlock()
			}
		}
		if _, err := node.Write(whole); err != nil {
			return err
		}
	}
}
