package main

import (
	"context"
	"text/tabwriter"

	"github.com/usance/usance/ingest"
)

type explainCmd struct {
	License string `arg:"" help:"Id of the licence."`
}

// Run prints what would happen to an event now, step by step.
func (c explainCmd) Run(ctx context.Context, p *program) error {
	return p.with(ctx, func(r *remote) error {
		var e ingest.Explanation
		if err := r.call(ctx, "usage.explainLicense", map[string]string{"licenseId": c.License}, &e); err != nil {
			return err
		}
		w := tabwriter.NewWriter(p.out, 0, 8, 2, ' ', 0)
		for _, s := range e.Steps {
			mark := "ok"
			if !s.OK {
				mark = "NO"
			}
			put(w, mark, s.Name, s.Detail)
			if s.Fix != "" {
				put(w, " ", " ", "→ "+s.Fix)
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
		p.printf("\n")
		for _, v := range e.Verdicts {
			if v.Allowed {
				p.printf("one %s sent now would be counted\n", v.UsageType)
			} else {
				p.printf("one %s sent now would not be counted: %s: %s\n", v.UsageType, v.Error.Code, v.Error.Message)
			}
		}
		return nil
	})
}
