package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/usance/usance/store/sqlite"
)

type backupCmd struct {
	File string `arg:"" type:"path" help:"The file to write; it must not exist yet."`
}

// Run copies the database file as it is at one instant: every event that was
// acknowledged before is in the copy. The server may go on meanwhile.
func (c backupCmd) Run(ctx context.Context, p *program) error {
	if p.cfg.onPostgres() {
		return errors.New("DATABASE_URL names PostgreSQL, which has tools of its own: pg_dump --format=custom --file=FILE, and pg_restore; see docs/postgresql.md")
	}
	path, err := p.cfg.databasePath()
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no database at %s; a backup is made on the machine of the data: name its folder with USANCE_DATA_DIR", path)
	}
	start := time.Now()
	if err := sqlite.Backup(ctx, path, c.File); err != nil {
		return err
	}
	info, err := os.Stat(c.File)
	if err != nil {
		return err
	}
	p.printf("%s: %d bytes, whole and sound, in %s\n", c.File, info.Size(), time.Since(start).Round(time.Millisecond))
	return nil
}
