package codec

import (
	"encoding/json"
	"fmt"

	"github.com/usance/usance"
)

// part is usance.BackfillPart as it is stored.
type part struct {
	Mark     string `json:"mark"`
	Events   int64  `json:"events"`
	Rows     []row  `json:"rows"`
	Sessions []byte `json:"sessions,omitempty"`
}

type row struct {
	UsageType string `json:"usageType"`
	usance.Tally
	Breakdown json.RawMessage `json:"breakdown"`
}

// FormatPart writes a part of a backfilled day; none as the empty text.
func FormatPart(p *usance.BackfillPart) (string, error) {
	if p == nil {
		return "", nil
	}
	sessions, err := p.Sessions.MarshalBinary()
	if err != nil {
		return "", fmt.Errorf("writing the sessions of a part of a day: %w", err)
	}
	out := part{Mark: p.Mark, Events: p.Events, Sessions: sessions}
	for i := range p.Rollups {
		r := &p.Rollups[i]
		out.Rows = append(out.Rows, row{r.UsageType, r.Tally, AppendBreakdown(nil, r.Breakdown)})
	}
	b, err := json.Marshal(out)
	return string(b), err
}

// ParsePart reads what FormatPart wrote of a backfill's next day.
func ParsePart(of *usance.Backfill, text string) (*usance.BackfillPart, error) {
	if text == "" {
		return nil, nil
	}
	var in part
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return nil, fmt.Errorf("reading a part of the backfill of %s: %w", of.LicenseID, err)
	}
	p := &usance.BackfillPart{Mark: in.Mark, Events: in.Events}
	for i := range in.Rows {
		breakdown, err := ParseBreakdown(string(in.Rows[i].Breakdown))
		if err != nil {
			return nil, err
		}
		p.Rollups = append(p.Rollups, usance.Rollup{
			RollupKey: usance.RollupKey{LicenseID: of.LicenseID, Date: of.NextDate, UsageType: in.Rows[i].UsageType},
			Tally:     in.Rows[i].Tally, Breakdown: breakdown,
		})
	}
	if err := p.Sessions.UnmarshalBinary(in.Sessions); err != nil {
		return nil, fmt.Errorf("reading the sessions of a part of the backfill of %s: %w", of.LicenseID, err)
	}
	return p, nil
}
