package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/usance/usance"
)

type jobsCmd struct {
	List   jobsListCmd   `cmd:"" help:"List the jobs, when they are due and how they went."`
	Run    jobsRunCmd    `cmd:"" help:"Run jobs now and wait for their end."`
	Pause  jobsPauseCmd  `cmd:"" help:"Stop the schedule of jobs, over restarts, until resumed."`
	Resume jobsResumeCmd `cmd:"" help:"Take up the schedule of jobs again."`
}

type jobNames struct {
	Names []string `arg:"" name:"job" help:"Names of jobs, or all."`
}

type (
	jobsListCmd   struct{}
	jobsRunCmd    struct{ jobNames }
	jobsPauseCmd  struct{ jobNames }
	jobsResumeCmd struct{ jobNames }
)

func listJobs(ctx context.Context, r *remote) ([]usance.Job, error) {
	var page struct {
		Data []usance.Job `json:"data"`
	}
	err := r.call(ctx, "jobs.list", nil, &page)
	return page.Data, err
}

// Run lists the jobs.
func (jobsListCmd) Run(ctx context.Context, p *program) error {
	return p.with(ctx, func(r *remote) error {
		list, err := listJobs(ctx, r)
		if err != nil {
			return err
		}
		writeJobs(p.out, list, time.Now())
		return nil
	})
}

func writeJobs(out io.Writer, list []usance.Job, now time.Time) {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	put(w, "JOB", "SCHEDULE (UTC)", "STATE", "NEXT", "LAST", "TOOK", "RUNS", "FAILURES", "ERROR")
	for _, j := range list {
		state := "waiting"
		switch {
		case now.Before(j.LeaseUntil):
			state = "running"
		case j.Paused:
			state = "paused"
		}
		next := stamp(j.NextRunAt)
		if j.Paused {
			next = "-"
		}
		failure, _, _ := strings.Cut(j.LastError, "\n")
		put(w, j.Name, strings.Join(j.Schedule, "; "), state, next, stamp(j.LastRunAt), j.LastDuration.Round(time.Millisecond).String(),
			strconv.FormatInt(j.Runs, 10), strconv.FormatInt(j.Failures, 10), failure)
	}
	_ = w.Flush() // the output's end is not this program's to mend
}

// each does something to every job named.
func (n jobNames) each(ctx context.Context, p *program, verb, done string) error {
	return p.with(ctx, func(r *remote) error {
		names := n.Names
		if len(names) == 1 && names[0] == "all" {
			list, err := listJobs(ctx, r)
			if err != nil {
				return err
			}
			names = nil
			for _, j := range list {
				names = append(names, j.Name)
			}
		}
		for _, name := range names {
			var j usance.Job
			if err := r.call(ctx, "jobs."+verb, map[string]string{"name": name}, &j); err != nil {
				return err
			}
			p.printf("%s %s\n", j.Name, done)
		}
		return nil
	})
}

// Run runs jobs.
func (c jobsRunCmd) Run(ctx context.Context, p *program) error {
	return c.each(ctx, p, "run", "has run")
}

// Run pauses jobs.
func (c jobsPauseCmd) Run(ctx context.Context, p *program) error {
	return c.each(ctx, p, "pause", "is paused")
}

// Run resumes jobs.
func (c jobsResumeCmd) Run(ctx context.Context, p *program) error {
	return c.each(ctx, p, "resume", "is scheduled again")
}

// stamp is a time as tables show it.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// put writes a row of a table.
func put(w *tabwriter.Writer, cells ...string) {
	for i, c := range cells {
		if c == "" {
			cells[i] = "-"
		}
	}
	fmt.Fprintln(w, strings.Join(cells, "\t"))
}
