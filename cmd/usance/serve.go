package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usance/usance"
	"github.com/usance/usance/access"
	"github.com/usance/usance/api"
	"github.com/usance/usance/billing"
	"github.com/usance/usance/catalog"
	"github.com/usance/usance/fold"
	"github.com/usance/usance/forecast/watch"
	"github.com/usance/usance/ingest"
	"github.com/usance/usance/jobs"
	"github.com/usance/usance/query"
	"github.com/usance/usance/redis"
)

type serveCmd struct {
	kong.Plugins // the settings of the server
}

// softMemory is what the program's own memory is kept to where possible, beside
// the embedded database's page caches, unless GOMEMLIMIT says otherwise. A server
// of PostgreSQL is not meant for the smallest machines.
const (
	softMemory         = 112 << 20
	softMemoryPostgres = 512 << 20
)

// gcPercent spends memory, as far as softMemory leaves any, to collect garbage
// seldom: of ingest's time a third goes into it otherwise. GOGC goes first.
const (
	gcPercent         = 200
	gcPercentPostgres = 400
)

// spendMemory sets how much memory the program may take to save time.
func spendMemory(onPostgres bool) {
	limit, percent := int64(softMemory), gcPercent
	if onPostgres {
		limit, percent = softMemoryPostgres, gcPercentPostgres
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

// Run serves until it is told to stop.
func (serveCmd) Run(ctx context.Context, p *program) error {
	spendMemory(p.cfg.onPostgres())
	for _, name := range p.cfg.idle() {
		p.log.Warn("the setting has no effect in this build", "variable", name)
	}
	f := newFront(ctx, p.cfg, p.log)
	defer f.close()
	if p.cfg.onPostgres() { // which may not be up yet
		if err := f.listen(); err != nil {
			return err
		}
	}
	s, err := newServer(f.ctx, p.cfg, p.log, time.Now, opening{serving: true})
	if err != nil {
		return f.stopped(err)
	}
	if s.firstStart { // before anything can fail: it is shown this once
		p.printf("The admin key, printed this once and kept in %s:\n\n    %s\n\n", filepath.Join(p.cfg.folder(), adminKeyFile), s.adminKey)
	}
	return s.serve(f, func(url string) {
		v, _ := buildVersion()
		p.printf("usance %s serves %s (docs at %[2]s/docs), data in %s\n", v, url, p.cfg.where())
	})
}

// server is every stage on one store.
type server struct {
	cfg      config
	log      *slog.Logger
	store    usance.Store
	access   *access.Access
	ingest   *ingest.Ingester
	fold     *fold.Folder
	backfill *fold.Backfiller
	catalog  *catalog.Catalog
	billing  *billing.Billing
	query    *query.Query
	watch    *watch.Watch
	jobs     *jobs.Runner
	redis    *redis.Redis // nil when nodes share nothing beside the store
	tracing  *tracing     // nil when there is none
	requests prometheus.Gauge
	now      func() time.Time
	open     bool // /metrics needs no key
	lookOnly bool // no event comes, and nothing is folded at the end

	collectors []prometheus.Collector // of /metrics
	secret     []byte                 // the store's
	adminKey   string
	rotating   sync.Mutex // of the admin key
	firstStart bool       // the key was made by this start
}

// newServer opens the store, takes or makes the admin key, and sets the stages
// up; close takes it all down.
func newServer(ctx context.Context, c config, log *slog.Logger, now func() time.Time, how opening) (*server, error) {
	store, err := awaitStore(ctx, c, log, how)
	if err != nil {
		return nil, err
	}
	retract(c) // what a crash left: nobody else is there, since the file is ours
	s := &server{cfg: c, log: log, store: store, now: now, lookOnly: how.look}
	if how.serving {
		s.redis, err = openRedis(ctx, c, log, store)
		if err == nil {
			s.tracing, err = newTracing(ctx, c, log)
		}
	}
	if err == nil {
		err = s.setUp(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.closeStore())
	}
	return s, nil
}

// closeStore closes the store, and what nodes share beside it.
func (s *server) closeStore() error {
	ctx, cancel := context.WithTimeout(context.Background(), lastSpans)
	defer cancel()
	s.tracing.close(ctx)
	if s.redis != nil {
		s.redis.Close()
	}
	return s.store.Close()
}

// foldedApart is how many groups of licences are folded apart on PostgreSQL.
const foldedApart = 16

// setUp makes the stages.
func (s *server) setUp(ctx context.Context) (err error) {
	c, log, now, store, spans := s.cfg, s.log, s.now, s.tracing.over(s.store, s.cfg), s.tracing.spans()
	if s.adminKey, s.firstStart, err = adminKey(c); err != nil {
		return fmt.Errorf("the admin key: %w", err)
	}
	if !s.lookOnly { // it is made where there is none
		if s.secret, err = store.Secret(ctx, "session-hash"); err != nil {
			return err
		}
	}
	folding := fold.Options{
		Now: now, Interval: c.FoldInterval, LateGrace: c.LateGrace, Logger: log, Spans: spans,
		Busy:  func() bool { return s.ingest.Busy() }, // asked when all is there
		Alone: !c.onPostgres(),                        // nobody else can have a file open
	}
	if c.onPostgres() {
		// No writer waits for a fold there: larger ones save statements, two at once
		// keep the database and the program busy, and the more gathers under load the
		// fewer rows are rewritten. While there is less each group is folded within
		// seconds, so that readers find little that is not.
		folding.LightBite, folding.AtOnce, folding.Groups, folding.Prompt = 4000, 2, foldedApart, 4
		folding.Waiting, folding.Memory = 400_000, 500_000
	}
	s.fold = fold.New(store, folding)
	s.backfill = fold.NewBackfiller(s.fold, !c.onPostgres())
	s.catalog = catalog.New(store, catalog.Options{Now: now, LateGrace: c.LateGrace, NewSecret: access.NewSecret})
	s.billing = billing.New(store, billing.Options{Now: now, LateGrace: c.LateGrace, AutoApproveCents: c.AutoApproveCents, Logger: log})
	reading := query.Options{Now: now, TTL: time.Duration(c.CacheTTLSeconds) * time.Second}
	if s.redis != nil {
		reading.Shared = s.redis
	}
	s.query = query.New(store, reading)
	s.watch = watch.New(store, watch.Options{
		Now: now, LateGrace: c.LateGrace, BreachDays: c.BreachAlertDays, Rest: 3, Busy: folding.Busy, Logger: log,
	})
	s.access = access.New(store, access.Options{Now: now, AdminKey: s.adminKey})
	if s.jobs, err = jobs.New(store, s.tracing.tasks(tasks(c, s.fold, s.billing, s.watch)), jobs.Options{Now: now, Logger: log}); err != nil {
		return err
	}
	s.requests = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "usance_http_requests_in_flight", Help: "Requests being answered.",
	})
	taking := ingest.Options{Now: now, LateGrace: c.LateGrace, SessionKey: s.secret, Committed: s.fold.Offer, Logger: log, Spans: spans}
	if c.onPostgres() {
		// The database takes transactions side by side; four lanes fill two cores.
		// No writer waits for a fold there, so that larger ones cost nothing, and
		// fewer pending batches cost less: to write, to delete, and to look through.
		taking.Lanes, taking.Split, taking.Shared = 4, foldedApart, true
	}
	// Ingest starts last: it has a goroutine that an error above would leave behind.
	s.ingest = ingest.New(store, taking)
	return nil
}

// handler is the whole of what is answered over HTTP.
func (s *server) handler() (http.Handler, error) {
	v, _ := buildVersion()
	metrics := http.NewServeMux()
	deps := api.Deps{
		Store: s.tracing.over(s.store, s.cfg), Access: s.access, Ingest: s.ingest, Fold: s.fold, Catalog: s.catalog, Billing: s.billing,
		Query: s.query, Watch: s.watch, Jobs: s.jobs, Backfill: s.backfill, RotateAdminKey: s.rotateAdminKey, Limits: api.RateLimits{
			Calls: s.cfg.RateLimitCalls, Events: s.cfg.RateLimitEvents, Refused: refusedPerMinute, Proxies: s.cfg.TrustedProxies,
		}, Metrics: metrics, Logger: s.log, Now: s.now, Version: v, Spans: s.tracing.spans(),
	}
	if s.redis != nil {
		deps.Degraded, deps.Limits.Shared = s.redis.Degraded, s.redis
	}
	a := api.New(deps)
	s.collectors = slices.Concat(processMetrics(), logMetrics(s.store),
		s.ingest.Metrics(), s.fold.Metrics(), s.billing.Metrics(), s.query.Metrics(), s.watch.Metrics(), s.jobs.Metrics(), a.Metrics(),
		[]prometheus.Collector{s.requests, newStoreMetrics(s.store, s.now, s.log)},
	)
	if s.redis != nil {
		s.collectors = append(s.collectors, s.redis.Metrics()...)
	}
	registry := prometheus.NewRegistry()
	for _, c := range s.collectors {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	isAdmin := func(r *http.Request) bool {
		p, err := a.Authenticate(r)
		return err == nil && p.May(access.ReadAll)
	}
	metrics.Handle("/", metricsHandler(registry, string(s.cfg.MetricsKey), s.open, isAdmin, s.log))
	return inFlight(s.requests, a), nil
}

// serve answers requests until a signal comes, or what f was made of ends, and
// then stops in such an order that nothing acknowledged is lost: no new requests,
// those under way to their end, what is queued committed, what is pending folded,
// the store closed. A second signal ends the program at once; that loses nothing
// either, since whatever was acknowledged is on the disk.
func (s *server) serve(f *front, ready func(url string)) (err error) {
	defer func() { err = errors.Join(err, s.closeStore()) }()
	if err := f.listen(); err != nil {
		return errors.Join(err, s.drain())
	}
	s.open = isLoopback(f.listener.Addr())
	handler, err := s.handler()
	if err != nil {
		return errors.Join(err, s.drain())
	}
	ctx := f.ctx
	// Before any event can come and any job run, which would have the clock that is
	// told now taken for right.
	if _, err := s.fold.LookAtClock(ctx, s.cfg.retention()); err != nil {
		s.log.Warn("the clock was not noted at the start; the jobs do it", "error", err)
	}
	if err := s.noteAdminKey(ctx); err != nil {
		s.log.Warn("whether the admin key is another one was not recorded; the next start does it", "error", err)
	}
	// What runs in the background stops after the last request, not with the first signal.
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	var loops sync.WaitGroup
	loops.Go(func() { s.report("fold", s.fold.Run(background)) })
	loops.Go(func() { s.report("backfills", s.backfill.Run(background)) })
	loops.Go(func() { s.report("jobs", s.jobs.Run(background)) })
	loops.Go(func() { s.report("keys", s.access.Run(background, s.log)) })

	f.become(handler)
	url := urlOf(f.listener.Addr())
	if err := announce(s.cfg, url); err != nil {
		s.log.Warn("the address cannot be written to the data folder; commands need USANCE_URL until it can", "error", err)
		loops.Go(func() { announceAgain(background, s.cfg, url) })
	}
	defer retract(s.cfg)
	s.log.Info("serving", "url", url, "data", s.cfg.where())
	ready(url)

	select {
	case err = <-f.served:
		err = fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
		s.log.Info("stopping: answering what is under way", "atMost", s.cfg.ShutdownTimeout)
	}
	grace, done := context.WithTimeout(context.Background(), s.cfg.ShutdownTimeout)
	defer done()
	if e := f.http.Shutdown(grace); e != nil {
		s.log.Warn("requests were cut off; what they were not told is not lost if they retry", "error", e)
		f.close()
	}
	last, done := context.WithTimeout(context.Background(), time.Minute) // what is queued is durable soon, or the disk is stuck
	defer done()
	e := s.ingest.Close(last)
	stopBackground()
	loops.Wait()
	err = errors.Join(err, e, s.drain())
	s.log.Info("stopped")
	return err
}

// drain commits what is queued and folds what is pending, unless this process
// was only to look.
func (s *server) drain() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := s.ingest.Close(ctx)
	if s.lookOnly {
		return err
	}
	if _, e := s.fold.Flush(ctx); e != nil {
		// Not an error of the stop: the next start folds it.
		s.log.Warn("not all was folded; the next start goes on", "error", e)
	}
	return err
}

// close takes down a server that never served.
func (s *server) close() error { return errors.Join(s.drain(), s.closeStore()) }

func (s *server) report(what string, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		s.log.Error("stopped with an error", "what", what, "error", err)
	}
}

// urlOf is how this machine reaches an address that is listened on.
func urlOf(a net.Addr) string {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return "http://" + a.String()
	}
	host := t.IP.String()
	if t.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return "http://" + host + ":" + strconv.Itoa(t.Port)
}
