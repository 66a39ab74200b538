package usance

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what names parties and assets.
const (
	MaxIDBytes     = 128
	MaxNameRunes   = 200
	MaxEmailBytes  = 254
	MaxAssetOwners = 1000
	WholeShareBps  = 10_000 // basis points that make the whole
)

// Brand is a company that licenses assets.
type Brand struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"createdAt,omitzero"`
	UpdatedAt time.Time `json:"updatedAt,omitzero"`
}

// Creator owns assets, or shares of them, and earns from their use.
type Creator struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Email     string    `json:"email,omitempty"`
	CreatedAt time.Time `json:"createdAt,omitzero"`
	UpdatedAt time.Time `json:"updatedAt,omitzero"`
}

// Asset is a creative work. Without owners its earnings are held unattributed.
type Asset struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Type      string    `json:"type,omitempty"`
	Owners    []Share   `json:"owners,omitempty"`
	CreatedAt time.Time `json:"createdAt,omitzero"`
	UpdatedAt time.Time `json:"updatedAt,omitzero"`
}

// Share is what a creator owns of an asset over the dates [From, To); an end that
// is nil has no bound.
type Share struct {
	CreatorID string `json:"creatorId"`
	ShareBps  int    `json:"shareBps"` // basis points, 1 to 10,000
	From      *Date  `json:"from,omitempty"`
	To        *Date  `json:"to,omitempty"`
}

// InForce tells whether the share holds on d.
func (s Share) InForce(d Date) bool {
	return (s.From == nil || *s.From <= d) && (s.To == nil || d < *s.To)
}

// Validate checks the fields that a caller sets.
func (b Brand) Validate() error {
	if err := ValidateID("id", b.ID); err != nil {
		return err
	}
	return validateName("name", b.Name)
}

// Validate checks the fields that a caller sets. The email address is optional
// and only checked for what no address has.
func (c Creator) Validate() error {
	if err := ValidateID("id", c.ID); err != nil {
		return err
	}
	if err := validateName("name", c.Name); err != nil {
		return err
	}
	if c.Email == "" {
		return nil
	}
	local, domain, _ := strings.Cut(c.Email, "@")
	if local == "" || domain == "" || strings.Contains(domain, "@") || len(c.Email) > MaxEmailBytes || !visible(c.Email) {
		return Invalid("email", "is not an email address")
	}
	return nil
}

// Validate checks the fields that a caller sets: on every date on which anyone
// owns the asset, the shares in force must sum to the whole, each creator at most
// once.
func (a Asset) Validate() error {
	if err := ValidateID("id", a.ID); err != nil {
		return err
	}
	if err := validateName("name", a.Name); err != nil {
		return err
	}
	if a.Type != "" {
		if err := validateName("type", a.Type); err != nil {
			return err
		}
	}
	return validateOwners(a.Owners)
}

func validateOwners(owners []Share) error {
	if len(owners) > MaxAssetOwners {
		return Invalid("owners", "must not have more than %d entries", MaxAssetOwners)
	}
	// Shares change at these dates only, so that checking them checks every date.
	changes := []Date{MinDate}
	for i, s := range owners {
		field := fmt.Sprintf("owners[%d]", i)
		if err := ValidateID(field+".creatorId", s.CreatorID); err != nil {
			return err
		}
		if s.ShareBps < 1 || s.ShareBps > WholeShareBps {
			return Invalid(field+".shareBps", "must be 1 to %d basis points", WholeShareBps)
		}
		if s.From != nil && s.To != nil && *s.From >= *s.To {
			return Invalid(field+".to", "must be after from, %s", *s.From)
		}
		if s.From != nil {
			changes = append(changes, *s.From)
		}
		if s.To != nil {
			changes = append(changes, *s.To)
		}
	}
	slices.Sort(changes)
	for _, d := range slices.Compact(changes) {
		sum := 0
		seen := make(map[string]bool)
		for i, s := range owners {
			if !s.InForce(d) {
				continue
			}
			if seen[s.CreatorID] {
				return Invalid(fmt.Sprintf("owners[%d].creatorId", i), "holds two shares on %s", d)
			}
			seen[s.CreatorID] = true
			sum += s.ShareBps
		}
		if sum != 0 && sum != WholeShareBps {
			return Invalid("owners", "the shares in force on %s sum to %d basis points, not %d", d, sum, WholeShareBps)
		}
	}
	return nil
}

// Clone is a deep copy.
func (a Asset) Clone() Asset {
	a.Owners = slices.Clone(a.Owners)
	for i := range a.Owners {
		a.Owners[i].From, a.Owners[i].To = clone(a.Owners[i].From), clone(a.Owners[i].To)
	}
	return a
}

// OwnersOn gives the shares in force on the local date d, in the order of Owners:
// none, or shares that sum to the whole.
func (a Asset) OwnersOn(d Date) []Share {
	var in []Share
	for _, s := range a.Owners {
		if s.InForce(d) {
			in = append(in, s)
		}
	}
	return in
}

// ValidateID checks an id that a caller chose: 1 to MaxIDBytes bytes of printable
// UTF-8 without space or slash, so that it fits a path, a log line and a key. The
// path segments . and .. are refused too.
func ValidateID(field, id string) error {
	switch {
	case id == "":
		return Invalid(field, "is required")
	case len(id) > MaxIDBytes:
		return Invalid(field, "must not have more than %d bytes", MaxIDBytes)
	case !visible(id) || strings.Contains(id, "/") || id == "." || id == "..":
		return Invalid(field, "must be printable characters without space or slash")
	}
	return nil
}

// visible tells whether s is valid UTF-8 of printable characters other than
// spaces; invisible format characters are none.
func visible(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r == ' ' || !unicode.IsPrint(r)
	})
}

// validateName checks a name that people read: 1 to MaxNameRunes characters, not
// all of them blank. Control characters would break mail headers and PostgreSQL.
func validateName(field, name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return Invalid(field, "is required")
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return Invalid(field, "must be valid UTF-8 without control characters")
	case utf8.RuneCountInString(name) > MaxNameRunes:
		return Invalid(field, "must not have more than %d characters", MaxNameRunes)
	}
	return nil
}
