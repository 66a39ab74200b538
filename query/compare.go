package query

import (
	"context"
	"errors"

	"github.com/usance/usance"
)

// CompareRequest asks for two ranges side by side. Without the previous range
// it is the one of equal length before the first.
type CompareRequest struct {
	Viewer            Viewer   `json:"-"`
	LicenseID         string   `json:"licenseId"`
	UsageTypes        []string `json:"usageTypes,omitempty"` // none or "all": all
	StartDate         string   `json:"startDate,omitempty"`
	EndDate           string   `json:"endDate,omitempty"`
	PreviousStartDate string   `json:"previousStartDate,omitempty"`
	PreviousEndDate   string   `json:"previousEndDate,omitempty"`
}

// PeriodUsage is the usage of one range.
type PeriodUsage struct {
	Span
	Totals
	UniqueSessions *int64 `json:"uniqueSessions"` // null where it is not known
}

// TypeComparison is one usage type in two ranges.
type TypeComparison struct {
	Current  usance.Tally `json:"current"`
	Previous usance.Tally `json:"previous"`
	Change   Changes      `json:"change"`
}

// Comparison is two ranges side by side, with what changed from the previous to
// the current one.
type Comparison struct {
	Current        PeriodUsage               `json:"current"`
	Previous       PeriodUsage               `json:"previous"`
	Change         Changes                   `json:"change"`
	UniqueSessions *Change                   `json:"uniqueSessionsChange,omitempty"`
	ByType         map[string]TypeComparison `json:"byType"`
}

// PeriodComparison is the answer to a CompareRequest.
type PeriodComparison struct {
	LicenseID string `json:"licenseId"`
	Timezone  string `json:"timezone"`
	Currency  string `json:"currency"`
	Comparison
	Notes []string `json:"notes,omitempty"`
}

// ComparePeriods sets two ranges side by side, each type with its differences.
func (q *Query) ComparePeriods(ctx context.Context, req CompareRequest) (out PeriodComparison, err error) {
	types, err := checkTypes(req.UsageTypes)
	if err != nil {
		return out, err
	}
	if (req.PreviousStartDate == "") != (req.PreviousEndDate == "") {
		return out, usance.Invalid("previousStartDate", "give both previousStartDate and previousEndDate, or neither for the range before")
	}
	err = q.read(ctx, "comparePeriods", req.Viewer, req.LicenseID, func(r *reading) error {
		rng, err := r.rangeOf(req.StartDate, req.EndDate)
		if err != nil {
			return err
		}
		prev, ok := r.previous(rng)
		if req.PreviousStartDate != "" {
			if prev, err = usance.DateRange(req.PreviousStartDate, req.PreviousEndDate, r.zone); err != nil {
				return previousField(err)
			}
		} else if !ok {
			return usance.Invalid("previousStartDate", "%s; name the previous range", noteNoPrevious)
		}
		now, before := usageOf(rng, types), usageOf(prev, types)
		if err := r.summarize(ctx, now, before); err != nil {
			return err
		}
		current, err := r.periodUsage(now)
		if err != nil {
			return err
		}
		previous, err := r.periodUsage(before)
		if err != nil {
			return err
		}
		out = PeriodComparison{
			LicenseID: r.license.ID, Timezone: r.license.Timezone, Currency: r.license.Currency,
			Comparison: compare(current, previous),
		}
		if current.UniqueSessions == nil || previous.UniqueSessions == nil {
			if out.Notes = now.notes(); out.Notes == nil {
				out.Notes = before.notes()
			}
		}
		return nil
	})
	return out, err
}

// previousField renames the field of an error about the previous range.
func previousField(err error) error {
	var e *usance.Error
	if !errors.As(err, &e) {
		return err
	}
	named := *e
	switch named.Field {
	case "startDate":
		named.Field = "previousStartDate"
	case "endDate":
		named.Field = "previousEndDate"
	}
	return &named
}

// usageOf asks for the usage of one range.
func usageOf(rng usance.Range, types []string) *part {
	return &part{question: question{rng: rng, types: types, sessions: wholeDays(rng) && types == nil}}
}

// periodUsage makes of a part what comparisons show of it.
func (r *reading) periodUsage(p *part) (PeriodUsage, error) {
	sessions, err := p.uniqueSessions()
	return PeriodUsage{r.span(p.rng), p.totals(), sessions}, err
}

func compare(current, previous PeriodUsage) Comparison {
	c := Comparison{
		Current: current, Previous: previous,
		Change: changes(current.Tally, previous.Tally),
		ByType: make(map[string]TypeComparison),
	}
	if current.UniqueSessions != nil && previous.UniqueSessions != nil {
		d := change(*current.UniqueSessions, *previous.UniqueSessions)
		c.UniqueSessions = &d
	}
	for _, name := range union(current.ByType, previous.ByType) {
		now, before := current.ByType[name], previous.ByType[name]
		c.ByType[name] = TypeComparison{Current: now, Previous: before, Change: changes(now, before)}
	}
	return c
}
