package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/query"
)

// exportCmd is usance export.
type exportCmd struct {
	Daily   bool     `required:"" help:"Daily totals: a row for each licence, local day and usage type."`
	License []string `sep:"none" placeholder:"ID" help:"Only of these licences; of all unless told."`
	From    string   `placeholder:"DATE" help:"First local day; the first that there is unless told."`
	To      string   `placeholder:"DATE" help:"Last local day, inclusive; today unless told."`
	Output  string   `short:"o" placeholder:"FILE" help:"Where to; the standard output unless told."`
}

// exportHeader are the columns that newDailyColumns reads.
var exportHeader = []string{"licenseId", "date", "usageType", "quantity", "revenueCents", "events"}

// Run exports. A file is there whole or not at all.
func (c *exportCmd) Run(ctx context.Context, p *program) error {
	from, to := usance.MakeDate(1970, time.January, 1), usance.DateOf(time.Now(), time.UTC)+1 // it may be tomorrow somewhere
	var err error
	for _, d := range []struct {
		text string
		date *usance.Date
	}{{c.From, &from}, {c.To, &to}} {
		if d.text != "" {
			if *d.date, err = usance.ParseDate(d.text); err != nil {
				return err
			}
		}
	}
	if from > to {
		return errors.New("--to must not lie before --from")
	}
	if err := c.replaceable(); err != nil {
		return err
	}
	return p.with(ctx, func(r *remote) error {
		if c.Output == "" {
			return c.write(ctx, r, p.out, from, to)
		}
		f, err := os.CreateTemp(filepath.Dir(c.Output), ".export-*")
		if err != nil {
			return err
		}
		err = errors.Join(c.write(ctx, r, f, from, to), f.Close())
		if err == nil {
			err = os.Rename(f.Name(), c.Output)
		}
		if err != nil {
			return errors.Join(err, os.Remove(f.Name()))
		}
		return nil
	})
}

// replaceable refuses to write over what is no export.
func (c *exportCmd) replaceable() error {
	if c.Output == "" {
		return nil
	}
	info, err := os.Stat(c.Output)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file; leave --output out, and say with > or | where the standard output goes", c.Output)
	}
	if err != nil {
		return err
	}
	f, err := os.Open(c.Output)
	if err != nil {
		return err
	}
	defer f.Close()
	header := csvLine(exportHeader)
	there := make([]byte, len(header))
	if n, err := io.ReadFull(f, there); n > 0 && (err != nil || !bytes.Equal(there, header)) {
		return fmt.Errorf("%s is there and is no export; name another file, or remove it", c.Output)
	}
	return nil
}

func (c *exportCmd) write(ctx context.Context, r *remote, out io.Writer, from, to usance.Date) error {
	w := bufio.NewWriter(out)
	if _, err := w.Write(csvLine(exportHeader)); err != nil {
		return err
	}
	for _, id := range c.License {
		if err := exportDays(ctx, r, w, id, from, to); err != nil {
			return err
		}
	}
	if len(c.License) > 0 {
		return w.Flush()
	}
	cursor := ""
	for {
		var page struct {
			Data []struct {
				ID string `json:"id"`
			} `json:"data"`
			NextCursor string `json:"nextCursor"`
		}
		in := map[string]any{"deleted": true, "limit": 1000}
		if cursor != "" {
			in["cursor"] = cursor
		}
		if err := r.call(ctx, "catalog.listLicenses", in, &page); err != nil {
			return err
		}
		for _, l := range page.Data {
			if err := exportDays(ctx, r, w, l.ID, from, to); err != nil {
				return err
			}
		}
		if cursor = page.NextCursor; cursor == "" {
			return w.Flush()
		}
	}
}

// exportDays writes a licence's days, as many at once as an answer may cover.
func exportDays(ctx context.Context, r *remote, w io.Writer, licenseID string, from, to usance.Date) error {
	const most = usance.MaxRangeYears * 365
	for ; from <= to; from += most {
		var usage query.DailyUsage
		in := map[string]any{"licenseId": licenseID, "startDate": from, "endDate": min(from+most-1, to)}
		if err := r.call(ctx, "usage.getDailyAggregates", in, &usage); err != nil {
			return fmt.Errorf("%s: %w", licenseID, err)
		}
		for _, day := range usage.Days {
			for _, usageType := range slices.Sorted(maps.Keys(day.ByType)) {
				t := day.ByType[usageType]
				if cmp.Or(t.Quantity, t.RevenueCents) == 0 {
					continue
				}
				_, err := w.Write(csvLine([]string{licenseID, day.Date.String(), usageType, strconv.FormatInt(t.Quantity, 10),
					strconv.FormatInt(t.RevenueCents, 10), strconv.FormatInt(t.Events, 10)}))
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}
