package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/api"
	"github.com/usance/usance/jobs"
	"github.com/usance/usance/store/sqlite"
)

type checkCmd struct {
	Alive bool `help:"Only ask whether the server at --url, else the one of this machine, is alive: for what watches over a container."`
}

// checklist is what was found, line by line.
type checklist struct {
	rows   [][3]string
	faults int
}

func (c *checklist) ok(name, format string, args ...any) { c.add("ok", name, format, args) }

// note is for what is worth knowing and no fault.
func (c *checklist) note(name, format string, args ...any) { c.add("note", name, format, args) }

func (c *checklist) fault(name, format string, args ...any) {
	c.faults++
	c.add("FAULT", name, format, args)
}

func (c *checklist) add(mark, name, format string, args []any) {
	c.rows = append(c.rows, [3]string{mark, name, fmt.Sprintf(format, args...)})
}

// judge is ok unless err is something.
func (c *checklist) judge(name string, err error, format string, args ...any) bool {
	if err != nil {
		c.fault(name, "%v", err)
		return false
	}
	c.ok(name, format, args...)
	return true
}

// Run goes through the checklist. It changes nothing that is counted or set:
// what it writes to try the database out is rolled back. The stages that it
// starts fold what is pending and enter the jobs, as every start does.
func (k checkCmd) Run(ctx context.Context, p *program) error {
	if k.Alive {
		return alive(ctx, p.cfg)
	}
	c := new(checklist)
	c.configuration(ctx, p)
	if p.cfgErr == nil {
		c.database(ctx, p)
	}
	w := tabwriter.NewWriter(p.out, 0, 8, 2, ' ', 0)
	put(w, " ", "CHECK", " ")
	for _, r := range c.rows {
		put(w, r[0], r[1], r[2])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if c.faults > 0 {
		return fmt.Errorf("%d of %d checks failed", c.faults, len(c.rows))
	}
	return nil
}

// aliveWait is how long a server that is alive may take to say so.
const aliveWait = 5 * time.Second

// alive asks a server whether it lives, which it does also while its database
// is away: to start it anew would not help then.
func alive(ctx context.Context, c config) error {
	url := c.URL
	if url == "" {
		addr, err := net.ResolveTCPAddr("tcp", c.Addr)
		if err != nil {
			return fmt.Errorf("USANCE_ADDR: %w", err)
		}
		url = urlOf(addr)
	}
	ctx, cancel := context.WithTimeout(ctx, aliveWait)
	defer cancel()
	r := &remote{url: strings.TrimRight(url, "/"), http: http.DefaultClient}
	return r.get(ctx, "/healthz")
}

func (c *checklist) configuration(ctx context.Context, p *program) {
	var faults configError
	switch {
	case errors.As(p.cfgErr, &faults):
		for _, f := range faults {
			c.fault("configuration", "%s %s", f.Variable, f.Problem)
		}
		return
	case p.cfgErr != nil:
		c.fault("configuration", "%v", p.cfgErr)
		return
	}
	c.ok("configuration", "%d settings read", len(settings()))
	if _, err := usance.ParseZone("Europe/Berlin"); err != nil {
		c.fault("time zones", "%v", err)
	} else {
		c.ok("time zones", "the zone database is there")
	}
	c.redis(ctx, p.cfg)
	for _, name := range p.cfg.idle() {
		c.note("configuration", "%s is set and has no effect in this build", name)
	}
}

// database checks the store: in this process when nobody holds it, else
// through the server that does.
func (c *checklist) database(ctx context.Context, p *program) {
	if p.cfg.URL != "" {
		if r, err := p.over(p.cfg.URL); c.judge("server", err, "%s", p.cfg.URL) {
			c.running(ctx, r)
		}
		return
	}
	where := p.cfg.where()
	if !p.cfg.onPostgres() {
		path, err := p.cfg.databasePath()
		if err != nil {
			c.fault("database", "%v", err)
			return
		}
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			if r, err := p.running(sqlite.ErrInUse); err == nil { // the file was taken away under a server
				c.running(ctx, r)
				return
			}
			c.note("database", "there is none at %s yet; the first start makes it", path)
			c.throwAway(ctx, p)
			return
		}
		where = path
	}
	store, err := openStore(ctx, p.cfg, p.log, opening{leave: true})
	if err != nil {
		r, err := p.running(err)
		if err != nil {
			c.fault("database", "%v", err)
			return
		}
		c.running(ctx, r)
		return
	}
	c.ok("database", "%s opens", where)
	current := c.migrations(ctx, store)
	whole := true
	if current {
		faults, err := store.CheckSchema(ctx)
		whole = c.schema(faults, err)
	}
	if err := store.Close(); err != nil {
		c.fault("database", "%v", err)
		return
	}
	if !current {
		c.note("test event", "not tried before the migrations are applied")
		return
	}
	if !whole {
		c.note("test event", "not tried: no server starts before the unique indexes are there")
		return
	}
	c.stages(ctx, p.cfg, opening{current: true, serving: true})
}

// schema names what of the database is not as it must be, and tells whether a
// server can start on it.
func (c *checklist) schema(faults []usance.SchemaFault, err error) (whole bool) {
	if err != nil {
		c.fault("schema", "%v", err)
		return true
	}
	for _, f := range faults {
		c.fault("schema", "%s %s %s; %s", f.Kind, f.Name, f.Problem, f.Fix)
	}
	if len(faults) == 0 {
		c.ok("schema", "every table, column, view and index is there")
	}
	return usance.RequireUnique(faults) == nil
}

func (c *checklist) migrations(ctx context.Context, store usance.Store) (current bool) {
	list, err := migrationsOf(store).Status(ctx)
	if err != nil {
		c.fault("migrations", "%v", err)
		return false
	}
	var pending []string
	for _, m := range list {
		if m.Pending() {
			pending = append(pending, m.Name)
		}
	}
	if len(pending) > 0 {
		c.fault("migrations", "pending: %s; run usance migrate up", strings.Join(pending, ", "))
		return false
	}
	c.ok("migrations", "%d applied, none pending", len(list))
	return true
}

// throwAway tries the stages on a database that is removed at once.
func (c *checklist) throwAway(ctx context.Context, p *program) {
	dir, err := os.MkdirTemp("", "usance-check-")
	if err != nil {
		c.fault("test event", "%v", err)
		return
	}
	defer os.RemoveAll(dir)
	cfg := p.cfg
	cfg.DataDir, cfg.DatabaseURL = dir, ""
	c.stages(ctx, cfg, opening{volatile: true})
}

// stages sets everything up as serve does, and tries it.
func (c *checklist) stages(ctx context.Context, cfg config, how opening) {
	first := cfg.AdminKey == "" && !hasAdminKey(cfg)
	cfg.DatabaseWait = 0
	s, err := newServer(ctx, withKey(cfg), slog.New(slog.DiscardHandler), time.Now, how)
	if err != nil {
		c.fault("stages", "%v", err)
		return
	}
	if how.serving && cfg.DatabaseURLPooled != "" {
		c.ok("pooler", "leads to the same database")
	}
	keys, err := countKeys(ctx, s.store, time.Now())
	if c.judge("admin key", err, "%s, %s", keySource(cfg), howMany(keys)) && first {
		c.note("admin key", "none is set; the first start makes one and prints it")
	}
	c.judge("test event", s.ingest.SelfTest(ctx), "counted in a transaction that was rolled back")
	list, err := s.jobs.List(ctx)
	if c.judge("job schedule", err, "%d jobs", len(list)) {
		c.jobs(list)
	}
	c.judge("job health", s.jobs.Health(ctx), "no job failed last or is overdue")
	if err := s.close(); err != nil {
		c.fault("closing", "%v", err)
	}
}

// countKeys counts the keys that open something now.
func countKeys(ctx context.Context, s usance.Store, now time.Time) (n int, err error) {
	for p := (usance.Page{Limit: 1000}); ; {
		var keys []usance.APIKey
		keys, p.Cursor, err = s.APIKeys(ctx, p)
		for _, k := range keys {
			if k.Usable(now) {
				n++
			}
		}
		if err != nil || p.Cursor == "" {
			return n, err
		}
	}
}

func howMany(n int) string {
	if n == 0 {
		return "no other keys"
	}
	return fmt.Sprintf("%d other keys", n)
}

func keySource(c config) string {
	if c.AdminKey != "" {
		return "USANCE_ADMIN_KEY"
	}
	return filepath.Join(c.folder(), adminKeyFile)
}

func (c *checklist) jobs(list []usance.Job) {
	for _, j := range list {
		if j.Paused {
			c.note("job schedule", "%s is paused", j.Name)
			continue
		}
		c.ok("job schedule", "%s at %s, next %s UTC", j.Name, strings.Join(j.Schedule, "; "), stamp(j.NextRunAt))
	}
}

// patienceWithJobs is how long a job of another process may be due: clocks
// differ a little, and a run that a crash cut short waits for its lease.
const patienceWithJobs = 5 * time.Minute

// running checks a server that runs, by what it answers.
func (c *checklist) running(ctx context.Context, r *remote) {
	if !c.judge("server", r.get(ctx, "/readyz"), "%s is ready", r.url) {
		return
	}
	var self usance.APIKey
	if c.judge("API key", r.call(ctx, "keys.self", nil, &self), "is accepted") && self.Role != usance.RoleAdmin {
		c.fault("API key", "is a key of role %s; the rest needs an admin's", self.Role)
		return
	}
	var state api.SchemaState
	err := r.call(ctx, "usage.checkSchema", nil, &state)
	c.schema(state.Faults, err)
	list, err := listJobs(ctx, r)
	if c.judge("job schedule", err, "%d jobs", len(list)) {
		c.jobs(list)
		var faults []error
		for i := range list {
			faults = append(faults, jobs.Fault(&list[i], time.Now(), patienceWithJobs))
		}
		c.judge("job health", errors.Join(faults...), "no job failed last or is overdue")
	}
	c.judge("test event", r.call(ctx, "usage.selfTest", nil, nil), "is counted, in a transaction that is rolled back")
}
