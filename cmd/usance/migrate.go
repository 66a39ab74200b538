package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/usance/usance"
	"github.com/usance/usance/store/schema"
	"github.com/usance/usance/store/sqlite"
)

type migrateCmd struct {
	Status  migrateStatusCmd  `cmd:"" help:"List the migrations, and which are applied; exits with 1 when one is pending."`
	Up      migrateUpCmd      `cmd:"" help:"Apply the migrations that are pending; serve does it too."`
	Down    migrateDownCmd    `cmd:"" help:"Take back the latest migration and all that its tables hold."`
	Show    migrateShowCmd    `cmd:"" help:"Print the SQL that is to come, or that of the migration named."`
	Resolve migrateResolveCmd `cmd:"" help:"Mark a migration as rolled back that was undone by hand."`
	Reset   migrateResetCmd   `cmd:"" help:"Take back every migration and apply them anew: all data is lost."`
}

// migrationsOf gives the steps of a store's schema, which both stores have.
func migrationsOf(store usance.Store) schema.Migrations {
	return store.(interface{ Migrations() schema.Migrations }).Migrations()
}

// schemaStore is a store that is opened for its schema alone.
type schemaStore struct {
	usance.Store
	schema.Migrations
}

// openSchema opens the database as it is. No server may have a SQLite file open.
func openSchema(ctx context.Context, p *program, makeIt bool) (*schemaStore, error) {
	if path, err := p.cfg.databasePath(); err == nil && !p.cfg.onPostgres() && !makeIt {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("there is no database at %s; usance migrate up makes it", path)
		}
	}
	store, err := awaitStore(ctx, p.cfg, p.log, opening{leave: true})
	if err != nil {
		return nil, err
	}
	return &schemaStore{store, migrationsOf(store)}, nil
}

type migrateStatusCmd struct{}

// Run lists the migrations.
func (migrateStatusCmd) Run(ctx context.Context, p *program) (err error) {
	store, err := openSchema(ctx, p, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	list, err := store.Status(ctx)
	if err != nil {
		return err
	}
	pending := 0
	w := tabwriter.NewWriter(p.out, 0, 8, 2, ' ', 0)
	put(w, "MIGRATION", "APPLIED (UTC)")
	for _, m := range list {
		at := stamp(m.AppliedAt)
		if m.Pending() {
			pending++
			at = "pending"
		}
		put(w, m.Name, at)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if pending > 0 {
		return fmt.Errorf("%d migrations are pending; run: usance migrate up", pending)
	}
	return nil
}

type migrateShowCmd struct {
	Name string `arg:"" optional:"" help:"A migration, applied or not; all that are pending unless told."`
}

// Run prints what migrations are made of, to be reviewed.
func (c migrateShowCmd) Run(ctx context.Context, p *program) error {
	list, err := c.list(ctx, p)
	if err != nil {
		return err
	}
	shown := 0
	for _, m := range list {
		if m.Name != c.Name && (c.Name != "" || !m.Pending()) {
			continue
		}
		shown++
		state := "pending"
		if !m.Pending() {
			state = "applied " + stamp(m.AppliedAt)
		}
		p.printf("-- %s, %s\n\n%s\n", m.Name, state, m.SQL)
	}
	switch {
	case shown > 0:
	case c.Name != "":
		return fmt.Errorf("there is no migration %q; usance migrate status lists them", c.Name)
	default:
		p.printf("nothing is pending\n")
	}
	return nil
}

// list gives the migrations, of a SQLite file that does not exist yet too.
func (c migrateShowCmd) list(ctx context.Context, p *program) (list []schema.Migration, err error) {
	if path, err := p.cfg.databasePath(); err == nil && !p.cfg.onPostgres() {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return sqlite.Steps()
		}
	}
	store, err := openSchema(ctx, p, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return store.Status(ctx)
}

type migrateUpCmd struct{}

// Run applies what is pending.
func (migrateUpCmd) Run(ctx context.Context, p *program) (err error) {
	store, err := openSchema(ctx, p, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	applied, err := store.Up(ctx)
	for _, name := range applied {
		p.printf("applied %s\n", name)
	}
	if err == nil && len(applied) == 0 {
		p.printf("nothing is pending\n")
	}
	return err
}

type confirmation struct {
	Yes bool `help:"Do not ask." short:"y"`
}

// confirm asks before data is lost.
func (c confirmation) confirm(ctx context.Context, p *program, what string) error {
	if c.Yes {
		return nil
	}
	p.printf("%s Type yes to go on: ", what)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(p.in).ReadString('\n')
		answer <- line
	}()
	line := ""
	select {
	case line = <-answer:
	case <-ctx.Done():
	}
	if strings.TrimSpace(line) == "yes" {
		return nil
	}
	if line == "" {
		p.printf("\n")
	}
	return errors.New("nothing was changed")
}

type migrateDownCmd struct{ confirmation }

// Run takes back the latest migration.
func (c migrateDownCmd) Run(ctx context.Context, p *program) (err error) {
	store, err := openSchema(ctx, p, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := c.confirm(ctx, p, "This drops the tables of the latest migration with all that they hold."); err != nil {
		return err
	}
	name, err := store.Down(ctx)
	switch {
	case err != nil:
		return err
	case name == "":
		p.printf("no migration is applied\n")
	default:
		p.printf("took back %s\n", name)
	}
	return nil
}

type migrateResolveCmd struct {
	RolledBack string `required:"" help:"The migration to mark as rolled back." placeholder:"NAME"`
}

// Run marks a migration as rolled back.
func (c migrateResolveCmd) Run(ctx context.Context, p *program) (err error) {
	store, err := openSchema(ctx, p, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := store.Resolve(ctx, c.RolledBack); err != nil {
		return err
	}
	p.printf("%s is marked as rolled back; usance migrate up applies it again\n", c.RolledBack)
	return nil
}

type migrateResetCmd struct {
	confirmation
	SkipSeed bool `help:"Accepted for those who are used to it: there is no seed data to skip."`
}

// Run takes back everything and applies it anew.
func (c migrateResetCmd) Run(ctx context.Context, p *program) (err error) {
	store, err := openSchema(ctx, p, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := c.confirm(ctx, p, "This drops every table with all usage, limits, overages and keys."); err != nil {
		return err
	}
	m := store.Migrations
	for {
		name, err := m.Down(ctx)
		if err != nil {
			return err
		}
		if name == "" {
			break
		}
		p.printf("took back %s\n", name)
	}
	applied, err := m.Up(ctx)
	for _, name := range applied {
		p.printf("applied %s\n", name)
	}
	return err
}
