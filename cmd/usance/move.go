package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/usance/usance/store/move"
	"github.com/usance/usance/store/postgres"
)

type moveCmd struct {
	To   string `required:"" placeholder:"URL" help:"The PostgreSQL database, as postgres://user@host:5432/database; it must be empty. Its password is read as psql reads it, from ~/.pgpass or PGPASSWORD, unless the URL holds it: what stands on a command line, everybody on the machine can see."`
	Anew bool   `help:"Throw away what an earlier move that did not end left there."`
}

// Run carries the store of the data folder over to PostgreSQL. The file stays as
// it is.
func (c moveCmd) Run(ctx context.Context, p *program) error {
	if p.cfg.onPostgres() {
		return errors.New("DATABASE_URL is where the data come from, which must be SQLite; name where they go with --to")
	}
	if !strings.HasPrefix(c.To, "postgres://") && !strings.HasPrefix(c.To, "postgresql://") {
		return errors.New("--to must be postgres://user:password@host:5432/database")
	}
	where, err := postgres.Where(c.To)
	if err != nil {
		return errors.New("--to cannot be read as a PostgreSQL URL; write postgres://user:password@host:5432/database")
	}
	path, err := p.cfg.databasePath()
	if err != nil {
		return err
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("there is no database at %s; name its folder with USANCE_DATA_DIR", path)
	}
	// What is pending is folded here, so that it need not be carried.
	s, err := newServer(ctx, withKey(p.cfg), slog.New(slog.DiscardHandler), time.Now, opening{current: true})
	if err != nil {
		return err
	}
	if err := s.close(); err != nil {
		return err
	}
	bar := newProgress(p.err)
	stopBar := bar.start()
	report, err := move.Run(ctx, move.Options{From: path, To: c.To, Anew: c.Anew, Progress: func(s move.Step) {
		verb := "carried over"
		if s.Verified {
			verb = "compared"
		}
		bar.note(fmt.Sprintf("%s: %d rows %s", s.Table, s.Rows, verb))
	}})
	stopBar()
	if err != nil && !report.Begun {
		return fmt.Errorf("nothing was moved by this run: %w", err)
	}
	if err != nil {
		return fmt.Errorf("the move has not ended (%d rows were carried over now): %w\nThe same command goes on where it was; no server starts on that database before", report.Carried, err)
	}
	p.printf("%d rows of %d tables are in %s, each compared with %s; %d of them were carried over now.\n", report.Rows, report.Tables, where, path, report.Carried)
	p.printf("Start usance serve with DATABASE_URL naming it, and USANCE_ADMIN_KEY. What was sent to the old server after this is not there: do not start it again.\n")
	return nil
}
