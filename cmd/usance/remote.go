package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/access"
	"github.com/usance/usance/client"
	"github.com/usance/usance/store/sqlite"
)

// patienceOfCommands is how long a command asks a server that does not answer.
const patienceOfCommands = 3 * time.Second

// remote speaks to a server: one that runs, over HTTP, or, when nobody has the
// data folder open, the same handlers within this process.
type remote struct {
	url   string
	key   string
	http  *http.Client
	local *server // set when there is no other process

	faults *lastFault // of the local server
}

// connect finds the server: USANCE_URL; else PostgreSQL, of which this process
// becomes a node; else the data file, opened here when nobody holds it; else the
// process that does.
func (p *program) connect(ctx context.Context, how opening) (*remote, error) {
	if p.cfg.URL != "" {
		return p.over(p.cfg.URL)
	}
	if p.cfg.onPostgres() {
		return p.inProcess(ctx, how)
	}
	path, err := p.cfg.databasePath()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no database at %s; start usance serve, or name the server with USANCE_URL or the folder with USANCE_DATA_DIR", path)
	}
	r, err := p.inProcess(ctx, how)
	if err != nil {
		return p.running(err)
	}
	return r, nil
}

// inProcess makes a node of this process, which answers the command alone.
func (p *program) inProcess(ctx context.Context, how opening) (*remote, error) {
	cfg := withKey(p.cfg)
	cfg.DatabaseWait = 0 // who types a command is there to try again
	faults := new(lastFault)
	s, err := newServer(ctx, cfg, slog.New(faults), time.Now, how)
	if err != nil {
		return nil, err
	}
	handler, err := s.handler()
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return &remote{url: "http://usance.invalid", key: s.adminKey, http: &http.Client{Transport: direct{handler}}, local: s, faults: faults}, nil
}

// withKey gives a command that works in process an admin key of its own where
// there is none yet: the one that is kept is made, and shown, by serve.
func withKey(c config) config {
	if c.AdminKey != "" {
		return c
	}
	if key, err := readAdminKey(c); c.onPostgres() || key == "" && err == nil {
		key, _ = access.NewSecret()
		c.AdminKey = secret(key)
	}
	return c
}

// running makes the remote of the server that has the data file open, which is
// why it could not be opened here; any other failure is passed on.
func (p *program) running(openErr error) (*remote, error) {
	b, err := os.ReadFile(filepath.Join(p.cfg.folder(), urlFile))
	if !errors.Is(openErr, sqlite.ErrInUse) || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, openErr
	}
	url := strings.TrimSpace(string(b))
	if url == "" { // it starts or ends just now, its disk is full, or it is no server
		return nil, fmt.Errorf("%w; its address is not in %s (yet): if it is a server, name it with USANCE_URL", openErr, filepath.Join(p.cfg.folder(), urlFile))
	}
	key := cmp.Or(string(p.cfg.Key), string(p.cfg.AdminKey))
	if key == "" {
		if key, err = readAdminKey(p.cfg); err != nil {
			return nil, err
		}
	}
	return to(url, key)
}

// over makes the remote of the server named by USANCE_URL. The key of the data
// folder is not sent there: it may be another's.
func (p *program) over(url string) (*remote, error) {
	return to(url, cmp.Or(string(p.cfg.Key), string(p.cfg.AdminKey)))
}

func to(url, key string) (*remote, error) {
	if key == "" {
		return nil, errors.New("no API key: set USANCE_KEY to one that the server knows")
	}
	return &remote{url: strings.TrimRight(url, "/"), key: key, http: &http.Client{Timeout: longestCall}}, nil
}

// longestCall bounds one request of a command: a job that is run by hand may
// take its time, and a server that has stopped must not be waited for for ever.
const longestCall = 30 * time.Minute

// with connects, does the work, and closes what was opened. A command of a newer
// program must not bring the schema of servers up to date that go on with theirs,
// or are stopped for a moment only.
func (p *program) with(ctx context.Context, work func(*remote) error) error {
	return p.withStore(ctx, opening{current: true}, work)
}

// looking does the work on a database that is taken as it is and not changed.
func (p *program) looking(ctx context.Context, work func(*remote) error) error {
	return p.withStore(ctx, opening{look: true}, work)
}

func (p *program) withStore(ctx context.Context, how opening, work func(*remote) error) error {
	r, err := p.connect(ctx, how)
	if err != nil {
		return err
	}
	return errors.Join(work(r), r.close())
}

func (r *remote) close() error {
	if r.local == nil {
		return nil
	}
	return r.local.close()
}

// call carries out an operation by its name, such as keys.list.
func (r *remote) call(ctx context.Context, operation string, in, out any) error {
	if r.local != nil {
		r.faults.take() // of what went before
	}
	err := client.New(r.url, r.key, client.Options{HTTP: r.http, Patience: patienceOfCommands}).Do(ctx, operation, in, out)
	if usance.ErrorCode(err) == usance.CodeInternal && r.local != nil {
		if cause := r.faults.take(); cause != "" {
			return fmt.Errorf("%s: %s", operation, cause)
		}
	}
	return err
}

// lastFault is a log that keeps nothing but the cause of the last failed request:
// where no server runs there is no log that somebody could read it in.
type lastFault struct{ cause atomic.Pointer[string] }

// Enabled takes errors alone.
func (l *lastFault) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelError
}

// Handle keeps the cause.
func (l *lastFault) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "cause" || a.Key == "panic" {
			text := a.Value.String()
			l.cause.Store(&text)
		}
		return true
	})
	return nil
}

// WithAttrs adds nothing.
func (l *lastFault) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup adds nothing.
func (l *lastFault) WithGroup(string) slog.Handler { return l }

func (l *lastFault) take() string {
	if cause := l.cause.Swap(nil); cause != nil {
		return *cause
	}
	return ""
}

// get asks for a page that is no operation, and answers nothing but its failure.
func (r *remote) get(ctx context.Context, path string) error {
	_, err := r.page(ctx, path)
	return err
}

// maxPage bounds a page that is no operation.
const maxPage = 32 << 20

// page asks for a page that is no operation.
func (r *remote) page(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+r.key)
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the server at %s does not answer: %w", r.url, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	if err != nil {
		return nil, fmt.Errorf("reading %s%s: %w", r.url, path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s%s answers %s: %.200s", r.url, path, resp.Status, bytes.TrimSpace(b))
	}
	return b, nil
}

// direct answers requests by a handler, without a network.
type direct struct{ handler http.Handler }

// RoundTrip answers one request.
func (t direct) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if r.Body == nil {
		r.Body = http.NoBody
	}
	r.RequestURI = r.URL.RequestURI()
	r.RemoteAddr = "127.0.0.1:0"
	w := &answer{header: make(http.Header)}
	t.handler.ServeHTTP(w, r)
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: w.header, Request: r,
		Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()),
	}, nil
}

type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *answer) Header() http.Header { return w.header }

func (w *answer) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *answer) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}
