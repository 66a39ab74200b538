package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/store/sqlite"
)

var now = time.Date(2025, 6, 15, 12, 0, 0, 0, time.UTC)

func newStore(t testing.TB) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "usance.db"), sqlite.Options{Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func put(t testing.TB, s *sqlite.Store, fn func(ctx context.Context, tx usance.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), usance.Locks{}, func(tx usance.Tx) error { return fn(t.Context(), tx) }); err != nil {
		t.Fatal(err)
	}
}

func putKey(t testing.TB, s *sqlite.Store, k usance.APIKey) {
	t.Helper()
	put(t, s, func(ctx context.Context, tx usance.Tx) error { return tx.PutAPIKey(ctx, k) })
}

func TestNewSecret(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 1000 {
		secret, hash := NewSecret()
		if len(secret) != len("usk_")+43 || !strings.HasPrefix(secret, "usk_") || seen[secret] {
			t.Fatalf("secret %q", secret)
		}
		if strings.Trim(secret[4:], "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			t.Fatalf("secret %q holds more than letters and digits", secret)
		}
		if sum := sha256.Sum256([]byte(secret)); !slices.Equal(sum[:], hash) {
			t.Fatal("the hash is not the secret's")
		}
		seen[secret] = true
	}
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	clock := now
	a := New(store, Options{Now: func() time.Time { return clock }, AdminKey: "let me in"})
	secret, hash := NewSecret()
	expires := now.Add(time.Hour)
	key := usance.APIKey{ID: "k1", Role: usance.RoleBrand, PartyID: "b1", Hash: hash, CreatedAt: now, ExpiresAt: &expires}
	putKey(t, store, key)

	for _, header := range []string{"Bearer " + secret, "bearer " + secret, "BEARER  " + secret + " "} {
		p, err := a.Authenticate(t.Context(), header)
		if err != nil || p.ID() != "k1" || p.key.PartyID != "b1" || p.isAdmin() {
			t.Errorf("%.12q…: %+v, %v", header, p, err)
		}
	}
	p, err := a.Authenticate(t.Context(), "Bearer let me in")
	if err != nil || p.ID() != BootstrapKeyID || !p.isAdmin() {
		t.Errorf("the bootstrap key: %+v, %v", p, err)
	}

	refused := func(what, header string) {
		t.Helper()
		_, err := a.Authenticate(t.Context(), header)
		if usance.ErrorCode(err) != usance.CodeUnauthorized {
			t.Errorf("%s: %v, want UNAUTHORIZED", what, err)
			return
		}
		if !strings.Contains(err.Error(), `-H "Authorization: Bearer YOUR_KEY"`) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the message must show the line to add, and no secret: %v", what, err)
		}
	}
	refused("no header", "")
	refused("no scheme", secret)
	refused("another scheme", "Basic "+secret)
	refused("no key", "Bearer ")
	refused("no key and no space", "Bearer")
	refused("unknown", "Bearer "+secret[:len(secret)-1])
	refused("wrong case", "Bearer "+strings.ToUpper(secret))
	refused("very long", "Bearer "+strings.Repeat("a", 1<<20))
	refused("hash for secret", "Bearer "+string(hash))
	refused("part of the bootstrap key", "Bearer let me")

	clock = expires
	refused("expired", "Bearer "+secret)
	clock = now
	if _, err := a.Authenticate(t.Context(), "Bearer "+secret); err != nil {
		t.Fatal(err)
	}
	// Revoked, by whomever: it stops at once.
	key.RevokedAt = &now
	putKey(t, store, key)
	refused("revoked", "Bearer "+secret)
	// Rotated: another secret, the old one is unknown.
	other, otherHash := NewSecret()
	key.RevokedAt, key.Hash = nil, otherHash
	putKey(t, store, key)
	refused("rotated away", "Bearer "+secret)
	if _, err := a.Authenticate(t.Context(), "Bearer "+other); err != nil {
		t.Errorf("rotated in: %v", err)
	}

	none := New(store, Options{Now: func() time.Time { return now }})
	if _, err := none.Authenticate(t.Context(), "Bearer let me in"); usance.ErrorCode(err) != usance.CodeUnauthorized {
		t.Errorf("without a bootstrap key: %v", err)
	}
}

// Whatever stands in the header, it is refused with the line that helps.
func FuzzAuthenticate(f *testing.F) {
	a := New(newStore(f), Options{AdminKey: "a secret that nobody guesses"})
	for _, s := range []string{"", "Bearer", "Bearer x", "bearer \x00", "Basic dTpw", "Bearer usk_ x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		_, err := a.Authenticate(t.Context(), header)
		if usance.ErrorCode(err) != usance.CodeUnauthorized || !strings.Contains(err.Error(), "Authorization: Bearer YOUR_KEY") {
			t.Errorf("%q: %v", header, err)
		}
	})
}

// counting counts look-ups of keys, and fails when told to.
type counting struct {
	*sqlite.Store
	lookups int
	err     error
}

func (c *counting) APIKeyByHash(ctx context.Context, hash []byte) (usance.APIKey, error) {
	c.lookups++
	return c.Store.APIKeyByHash(ctx, hash)
}

func (c *counting) KeysVersion(ctx context.Context) (int64, error) {
	if c.err != nil {
		return 0, c.err
	}
	return c.Store.KeysVersion(ctx)
}

func TestKeysAreKept(t *testing.T) {
	t.Parallel()
	store := &counting{Store: newStore(t)}
	a := New(store, Options{})
	secret, hash := NewSecret()
	putKey(t, store.Store, usance.APIKey{ID: "k1", Role: usance.RoleAdmin, Hash: hash, CreatedAt: now})
	for range 5 {
		if _, err := a.Authenticate(t.Context(), "Bearer "+secret); err != nil {
			t.Fatal(err)
		}
	}
	if store.lookups != 1 {
		t.Errorf("%d look-ups of a key that did not change", store.lookups)
	}
	_, other := NewSecret()
	putKey(t, store.Store, usance.APIKey{ID: "k2", Role: usance.RoleAdmin, Hash: other, CreatedAt: now})
	if _, err := a.Authenticate(t.Context(), "Bearer "+secret); err != nil || store.lookups != 2 {
		t.Errorf("after a change: %d look-ups, %v", store.lookups, err)
	}
	// A store that cannot be asked is no licence to go on.
	store.err = usance.NewError(usance.CodeUnavailable, "down")
	if _, err := a.Authenticate(t.Context(), "Bearer "+secret); !errors.Is(err, store.err) {
		t.Errorf("the store is down: %v", err)
	}
}

func principal(role usance.Role, party string) Principal {
	return Principal{key: usance.APIKey{ID: string(role) + "-key", Role: role, PartyID: party}}
}

// Every need and role, spelled out: a change of rights shows here.
func TestRights(t *testing.T) {
	t.Parallel()
	type row struct{ admin, brand, creator, ingest bool }
	const y, n = true, false
	want := map[Need]row{
		ReadSelf:              {y, y, y, y},
		ReadBrands:            {y, y, n, n},
		ReadCreators:          {y, n, y, n},
		ReadLicenses:          {y, y, y, n},
		ReadUsage:             {y, y, y, n},
		ReadEvents:            {y, y, n, n},
		ReadLimits:            {y, y, n, n},
		ReadAudit:             {y, y, n, n},
		ReadForecasts:         {y, y, n, n},
		MakeForecasts:         {y, y, n, n},
		Track:                 {y, n, n, y},
		Check:                 {y, y, n, y},
		Void:                  {y, n, n, n},
		ManageAlertThresholds: {y, y, n, n},
		AcknowledgeAlerts:     {y, y, n, n},
		Dispute:               {y, y, n, n},
		ManageThresholds:      {y, n, n, n},
		DecideOverages:        {y, n, n, n},
		ManageCatalog:         {y, n, n, n},
		ManageKeys:            {y, n, n, n},
		ManageJobs:            {y, n, n, n},
		Recalculate:           {y, n, n, n},
		ReadAll:               {y, n, n, n},
	}
	if len(rights) != len(want) {
		t.Errorf("%d needs exist, %d are tested", len(rights), len(want))
	}
	for need := range rights {
		r, ok := want[need]
		if !ok {
			t.Errorf("%q is not tested", need)
		}
		for role, may := range map[usance.Role]bool{
			usance.RoleAdmin: r.admin, usance.RoleBrand: r.brand, usance.RoleCreator: r.creator, usance.RoleIngest: r.ingest,
			"": false, "root": false,
		} {
			p := principal(role, "x")
			err := Authorize(p, need)
			if (err == nil) != may || p.May(need) != may || err != nil && usance.ErrorCode(err) != usance.CodeForbidden {
				t.Errorf("%s key, %q: %v", role, need, err)
			}
		}
	}
	if err := Authorize(principal(usance.RoleAdmin, ""), "fly"); usance.ErrorCode(err) != usance.CodeForbidden {
		t.Errorf("an unknown need: %v", err)
	}
	err := Authorize(principal(usance.RoleIngest, ""), ReadLimits)
	if want := "FORBIDDEN: an ingest key may not read thresholds, overages and alerts; it takes a key of the role admin or brand"; err.Error() != want {
		t.Errorf("%v", err)
	}
	backdating := principal(usance.RoleIngest, "")
	backdating.key.Scopes = []string{usance.ScopeBackdate}
	for _, c := range []struct {
		p                   Principal
		backdate, alertOnly bool
	}{
		{principal(usance.RoleAdmin, ""), true, false},
		{principal(usance.RoleBrand, "b1"), false, true},
		{principal(usance.RoleIngest, ""), false, true},
		{backdating, true, true},
	} {
		if c.p.MayBackdate() != c.backdate || c.p.AlertOnly() != c.alertOnly {
			t.Errorf("%+v: backdates %t, only alerts %t", c.p.key, c.p.MayBackdate(), c.p.AlertOnly())
		}
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	store := newStore(b)
	a := New(store, Options{})
	secret, hash := NewSecret()
	putKey(b, store, usance.APIKey{ID: "k1", Role: usance.RoleAdmin, Hash: hash, CreatedAt: now})
	for b.Loop() {
		if _, err := a.Authenticate(b.Context(), "Bearer "+secret); err != nil {
			b.Fatal(err)
		}
	}
}
