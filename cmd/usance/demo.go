package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/usance/usance"
)

type demoCmd struct {
	kong.Plugins        // the settings of the server
	Dir          string `help:"Keep the data in this folder and serve it again next time; default: a temporary folder, removed at the end." type:"path" placeholder:"FOLDER"`
	Days         int    `help:"Make the usage of so many days before now, 60 to 365." default:"365" placeholder:"N"`
}

// Validate is called by kong before Run.
func (d demoCmd) Validate() error {
	if d.Days < 60 || d.Days > demoYear {
		return fmt.Errorf("--days must be from 60 to %d", demoYear)
	}
	return nil
}

// demoFile marks a folder whose data is complete; it holds the demo's keys.
const demoFile = "demo.json"

// Run makes the data unless it is there, and serves it.
func (d demoCmd) Run(ctx context.Context, p *program) (err error) {
	c := p.cfg
	c.DataDir = d.Dir
	if !c.onPostgres() {
		c.DatabaseURL = ""
	}
	if d.Dir == "" {
		if c.DataDir, err = os.MkdirTemp("", "usance-demo-"); err != nil {
			return err
		}
		defer os.RemoveAll(c.DataDir)
	}
	began := time.Now()
	keys, err := d.make(ctx, c, p)
	if err != nil {
		return err
	}
	f := newFront(ctx, c, p.log)
	defer f.close()
	s, err := newServer(f.ctx, c, p.log, time.Now, opening{})
	if err != nil {
		return f.stopped(err)
	}
	return s.serve(f, func(url string) {
		p.printf("\nThe demo serves %s after %s.\n%s", url, time.Since(began).Round(100*time.Millisecond), demoText(url, s.adminKey, keys))
	})
}

// make makes the data, or reads the keys of data that is there.
func (d demoCmd) make(ctx context.Context, c config, p *program) (keys demoKeys, err error) {
	marker := filepath.Join(c.DataDir, demoFile)
	b, err := os.ReadFile(marker)
	if err == nil {
		return keys, json.Unmarshal(b, &keys)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return keys, err
	}
	quiet := slog.New(slog.DiscardHandler)
	began := time.Now()
	clock := &demoClock{t: began}
	// Without waiting for the disk: data that is made anew in seconds needs no
	// durability, and the marker comes last.
	s, err := newServer(ctx, c, quiet, clock.now, opening{volatile: true})
	if err != nil {
		return keys, err
	}
	if err := mustBeEmpty(ctx, s.store, c.where()); err != nil {
		return keys, errors.Join(err, s.close())
	}
	p.printf("Making %d days of usage: 4 brands, 5 creators, 12 assets, 16 licences …\n", d.Days)
	keys, n, err := makeDemo(ctx, s, clock, began.UTC().Truncate(time.Second), d.Days)
	if err = errors.Join(err, s.close()); err != nil {
		return keys, fmt.Errorf("making the demo: %w", err)
	}
	p.printf("%d events counted in %s.\n", n, time.Since(began).Round(100*time.Millisecond))
	if b, err = json.Marshal(keys); err != nil {
		return keys, err
	}
	return keys, os.WriteFile(marker, b, 0o600)
}

// mustBeEmpty refuses a store that holds licences, which a demo would mix with.
func mustBeEmpty(ctx context.Context, store usance.Viewer, where string) error {
	return store.View(ctx, func(v usance.View) error {
		found, _, err := v.Licenses(ctx, usance.LicenseFilter{Deleted: true}, usance.Page{Limit: 1})
		if err == nil && len(found) > 0 {
			err = fmt.Errorf("%s holds data that is no complete demo; name its folder, or another, with --dir, or take another database", where)
		}
		return err
	})
}

// demoText is what to open and to paste.
func demoText(url, admin string, keys demoKeys) string {
	return strings.NewReplacer("$URL$", url, "$ADMIN$", admin, "$BRAND$", keys.Brand, "$CREATOR$", keys.Creator, "$INGEST$", keys.Ingest).Replace(`
Open   $URL$/docs          every operation
       $URL$/openapi.json
       $URL$/metrics

Keys   admin                       $ADMIN$
       brand Northwind Outdoor     $BRAND$
       creator Inês Carvalho       $CREATOR$
       ingest                      $INGEST$

Paste, in another terminal:

export USANCE_URL=$URL$
export USANCE_KEY=$ADMIN$

# Count a view, and the same again: it counts once.
curl -s "$USANCE_URL/v1/events" -H "Authorization: Bearer $USANCE_KEY" -H 'Content-Type: application/json' \
  -d '{"licenseId":"lic_123","usageType":"view","quantity":1,"platform":"web","deviceType":"desktop","idempotencyKey":"test_event_1"}'

# Where a licence stands against its limits.
curl -s "$USANCE_URL/api/trpc/usage.getThresholdStatus?licenseId=lic_northwind_trail" -H "Authorization: Bearer $USANCE_KEY"

# The last months, by week.
curl -s "$USANCE_URL/api/trpc/usage.getAnalytics?licenseId=lic_lumen_theme&startDate=$(date -d '-90 days' +%F)&endDate=$(date +%F)&granularity=weekly" -H "Authorization: Bearer $USANCE_KEY"

# What is to come of a licence, and which limits will be passed.
curl -s "$USANCE_URL/v1/forecasts?licenseId=lic_pixel_font&latest=true" -H "Authorization: Bearer $USANCE_KEY"
curl -s "$USANCE_URL/v1/alerts?kind=forecast" -H "Authorization: Bearer $USANCE_KEY"

# What waits for approval.
curl -s "$USANCE_URL/v1/overages?status=PENDING_APPROVAL" -H "Authorization: Bearer $USANCE_KEY"

Stop it with Ctrl-C.
`)
}
