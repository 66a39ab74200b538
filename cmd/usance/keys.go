package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/access"
)

type keysCmd struct {
	Create keysCreateCmd `cmd:"" help:"Make a key and print its secret, this once."`
	List   keysListCmd   `cmd:"" help:"List the keys, revoked ones too."`
	Rotate keysRotateCmd `cmd:"" help:"Replace a key by a new one of the same role and bindings; the old one goes on for a while."`
	Revoke keysRevokeCmd `cmd:"" help:"End a key at once."`
}

type keysCreateCmd struct {
	Role     string        `required:"" enum:"${roles}" help:"What it may do: ${enum}."`
	Party    string        `help:"The brand or creator that a key of those roles is bound to." placeholder:"ID"`
	Name     string        `help:"What it is for."`
	Brand    []string      `help:"Bind an ingest key to this brand; may be repeated." placeholder:"ID"`
	License  []string      `sep:"none" help:"Bind an ingest key to this licence; may be repeated." placeholder:"ID"`
	Backdate bool          `help:"Let an ingest key send events older than USANCE_LATE_GRACE."`
	Expires  time.Duration `help:"End it after this time, such as 720h." placeholder:"TIME"`
}

// Run makes a key.
func (c keysCreateCmd) Run(ctx context.Context, p *program) error {
	in := map[string]any{"role": c.Role}
	if c.Party != "" {
		in["partyId"] = c.Party
	}
	if c.Name != "" {
		in["name"] = c.Name
	}
	if len(c.Brand) > 0 {
		in["brandIds"] = c.Brand
	}
	if len(c.License) > 0 {
		in["licenseIds"] = c.License
	}
	if c.Backdate {
		in["scopes"] = []string{usance.ScopeBackdate}
	}
	if c.Expires < 0 {
		return fmt.Errorf("--expires=%s is no time to come; leave it out for a key that does not end", c.Expires)
	}
	if c.Expires > 0 {
		in["expiresAt"] = time.Now().UTC().Add(c.Expires).Format(time.RFC3339)
	}
	return p.with(ctx, func(r *remote) error {
		var out newKey
		if err := r.call(ctx, "keys.create", in, &out); err != nil {
			return err
		}
		p.showKey(out)
		return nil
	})
}

// newKey is a key that was just made.
type newKey struct {
	Key    usance.APIKey `json:"key"`
	Secret string        `json:"secret"`
}

func (p *program) showKey(k newKey) {
	p.printf("id      %s\nrole    %s\n", k.Key.ID, k.Key.Role)
	if k.Key.ExpiresAt != nil {
		p.printf("until   %s UTC\n", k.Key.ExpiresAt.UTC().Format(time.DateTime))
	}
	p.printf("secret  %s\n\n", k.Secret)
	if k.Key.ID == access.BootstrapKeyID {
		p.printf("It is kept in %s in the server's data folder.\n", adminKeyFile)
		return
	}
	p.printf("The secret is not stored and cannot be shown again.\n")
}

type keysRotateCmd struct {
	ID      string        `arg:"" help:"Id of the key, from keys list; bootstrap for the admin key in the data folder."`
	Overlap time.Duration `default:"24h" help:"How long the old key goes on, at most 2160h; default ${default}." placeholder:"TIME"`
	Expires time.Duration `help:"End the new key after this time; as long as the old one was made for unless told." placeholder:"TIME"`
}

// Run replaces a key.
func (c keysRotateCmd) Run(ctx context.Context, p *program) error {
	in := map[string]any{"keyId": c.ID, "overlapSeconds": int64(c.Overlap.Seconds())}
	if c.Expires > 0 {
		in["expiresAt"] = time.Now().UTC().Add(c.Expires).Format(time.RFC3339)
	}
	return p.with(ctx, func(r *remote) error {
		var out newKey
		if err := r.call(ctx, "keys.rotate", in, &out); err != nil {
			return err
		}
		p.showKey(out)
		p.printf("The old key goes on for %s, or until its own end where that comes first.\n", c.Overlap)
		return nil
	})
}

type keysListCmd struct{}

// Run lists the keys.
func (keysListCmd) Run(ctx context.Context, p *program) error {
	return p.with(ctx, func(r *remote) error {
		w := tabwriter.NewWriter(p.out, 0, 8, 2, ' ', 0)
		put(w, "ID", "ROLE", "BOUND TO", "STATE", "CREATED", "LAST USED", "NAME")
		cursor := ""
		for {
			in := map[string]any{"limit": 200}
			if cursor != "" {
				in["cursor"] = cursor
			}
			var page struct {
				Data       []usance.APIKey `json:"data"`
				NextCursor string          `json:"nextCursor"`
			}
			if err := r.call(ctx, "keys.list", in, &page); err != nil {
				return err
			}
			for _, k := range page.Data {
				put(w, k.ID, string(k.Role), boundTo(&k), keyState(&k, time.Now()), k.CreatedAt.Format(time.DateOnly), lastUse(&k), k.Name)
			}
			if cursor = page.NextCursor; cursor == "" {
				return w.Flush()
			}
		}
	})
}

func boundTo(k *usance.APIKey) string {
	all := append([]string{}, k.BrandIDs...)
	all = append(all, k.LicenseIDs...)
	if k.PartyID != "" {
		all = append(all, k.PartyID)
	}
	if len(all) == 0 {
		return "-"
	}
	return strings.Join(all, ",")
}

func lastUse(k *usance.APIKey) string {
	if k.LastUsedAt == nil {
		return "never"
	}
	return k.LastUsedAt.UTC().Format(time.DateTime)
}

func keyState(k *usance.APIKey, now time.Time) string {
	switch {
	case k.RevokedAt != nil:
		return "revoked " + k.RevokedAt.Format(time.DateOnly)
	case !k.Usable(now):
		return "expired " + k.ExpiresAt.Format(time.DateOnly)
	case k.ExpiresAt != nil:
		return "until " + k.ExpiresAt.Format(time.DateOnly)
	}
	return "in force"
}

type keysRevokeCmd struct {
	ID string `arg:"" help:"Id of the key, from keys list."`
}

// Run ends a key.
func (c keysRevokeCmd) Run(ctx context.Context, p *program) error {
	return p.with(ctx, func(r *remote) error {
		var k usance.APIKey
		if err := r.call(ctx, "keys.revoke", map[string]string{"keyId": c.ID}, &k); err != nil {
			return err
		}
		p.printf("%s is revoked\n", k.ID)
		return nil
	})
}
