// Package access says who may see and do what, in one place: it turns an
// Authorization header into a Principal, a Principal and a Need into yes or no,
// and a Principal into the rows it sees. Whoever answers a request asks here
// and decides nothing of the kind himself.
//
// What a key does not see does not exist for it: the answer to another party's
// id has the code and the text of the answer to an id that was never used.
//
// The roles:
//
//   - admin: everything.
//   - brand: its licences and all about them (usage, events, evidence,
//     thresholds, overages, alerts, forecasts, their audit trail), and the assets they are
//     of, without the assets' owners. It may set thresholds that only alert,
//     dispute overages and acknowledge alerts. It never ingests.
//   - creator: the assets in which it holds a share today (UTC), with its own
//     shares and nobody else's, their licences without the fee, and their usage.
//     No events, no evidence, no limits and no money but revenue.
//   - ingest: sends events and asks whether more would fit, on the licences
//     that it is bound to, or on all when it is bound to none.
package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"math/big"
	"strings"
	"sync"
	"time"

	"github.com/usance/usance"
)

// Store is what access asks of the store.
type Store interface {
	// APIKeyByHash finds a key by the SHA-256 of its secret; NOT_FOUND if none.
	APIKeyByHash(ctx context.Context, hash []byte) (usance.APIKey, error)
	// KeysVersion changes whenever any key changes.
	KeysVersion(ctx context.Context) (int64, error)
	// UseAPIKeys records by id when keys were used last.
	UseAPIKeys(ctx context.Context, used map[string]time.Time) error
}

// Options are the settings of an Access; zero fields take the defaults named.
type Options struct {
	Now func() time.Time // the clock; time.Now
	// AdminKey is a secret that is an admin's beside the stored keys; none when
	// empty. Only its hash is kept.
	AdminKey string
}

// BootstrapKeyID is the key id of a Principal that came with Options.AdminKey.
const BootstrapKeyID = "bootstrap"

// maxHeader bounds the Authorization header: a secret is far shorter.
const maxHeader = 1024

// Access knows the keys. Its methods may be called at once from many goroutines.
type Access struct {
	store Store
	now   func() time.Time

	mu      sync.RWMutex
	admins  []usance.APIKey // that are not stored: of Options.AdminKey, and what ReplaceAdminKey made of it
	version int64           // of the store's keys when those below were read
	keys    map[[sha256.Size]byte]usance.APIKey

	used sync.Map // of stored keys, by id: *atomic.Int64, microseconds
}

// New makes an Access over the store's keys.
func New(store Store, o Options) *Access {
	a := &Access{store: store, now: o.Now, keys: make(map[[sha256.Size]byte]usance.APIKey)}
	if a.now == nil {
		a.now = time.Now
	}
	if o.AdminKey != "" {
		a.admins = []usance.APIKey{bootstrapKey(o.AdminKey)}
	}
	return a
}

func bootstrapKey(secret string) usance.APIKey {
	return usance.APIKey{ID: BootstrapKeyID, Name: "USANCE_ADMIN_KEY", Role: usance.RoleAdmin, Hash: HashSecret(secret)}
}

// ReplaceAdminKey puts another secret in the place of Options.AdminKey, which
// goes on for the overlap, as long as the process lives.
func (a *Access) ReplaceAdminKey(secret string, overlap time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	end := now.Add(overlap)
	admins := []usance.APIKey{bootstrapKey(secret)}
	for _, k := range a.admins {
		if k.ExpiresAt == nil || k.ExpiresAt.After(end) {
			k.ExpiresAt = &end
		}
		if k.Usable(now) {
			admins = append(admins, k)
		}
	}
	a.admins = admins // never changed in place: Authenticate reads it unlocked
}

// adminKey finds a key that is not stored.
func (a *Access) adminKey(hash []byte) (key usance.APIKey, ok bool) {
	a.mu.RLock()
	admins := a.admins
	a.mu.RUnlock()
	for _, k := range admins {
		if subtle.ConstantTimeCompare(hash, k.Hash) == 1 {
			return k, true
		}
	}
	return key, false
}

// Principal is who sends a request. What its key allows is asked of its methods.
type Principal struct{ key usance.APIKey }

// ID names the principal in audit rows.
func (p Principal) ID() string { return p.key.ID }

func (p Principal) isAdmin() bool { return p.key.Role == usance.RoleAdmin }

// Authenticate finds the principal that an Authorization header stands for, or
// answers UNAUTHORIZED. A key that was revoked, here or elsewhere, stops with
// the next request: each asks the store whether any key changed.
func (a *Access) Authenticate(ctx context.Context, header string) (Principal, error) {
	secret, err := bearer(header)
	if err != nil {
		return Principal{}, err
	}
	hash := sha256.Sum256([]byte(secret))
	key, isAdmin := a.adminKey(hash[:])
	if !isAdmin {
		key, err = a.key(ctx, hash)
	}
	if err != nil {
		if usance.ErrorCode(err) == usance.CodeNotFound {
			return Principal{}, unauthorized("the key in the Authorization header is not known; check that it was pasted whole, or ask an admin for a new one")
		}
		return Principal{}, err
	}
	// The look-up went by the hash; this holds for stores whose comparison is
	// looser than bytes.
	if subtle.ConstantTimeCompare(hash[:], key.Hash) != 1 {
		return Principal{}, unauthorized("the key in the Authorization header is not known; check that it was pasted whole, or ask an admin for a new one")
	}
	if !key.Usable(a.now()) {
		return Principal{}, unauthorized("the key in the Authorization header was revoked or has expired; ask an admin for a new one")
	}
	if !isAdmin {
		a.use(key.ID)
	}
	return Principal{key: key}, nil
}

// Recognizes tells, without asking the store, whether the header bears a stored
// key that was looked up before. Whether the key is still good is for
// Authenticate to say.
func (a *Access) Recognizes(header string) bool {
	secret, err := bearer(header)
	if err != nil {
		return false
	}
	hash := sha256.Sum256([]byte(secret))
	a.mu.RLock()
	defer a.mu.RUnlock()
	_, ok := a.keys[hash]
	return ok
}

// Bears tells whether an Authorization header bears the secret, in a time that
// tells nothing of it.
func Bears(header, secret string) bool {
	given, err := bearer(header)
	if err != nil || secret == "" {
		return false
	}
	return subtle.ConstantTimeCompare(HashSecret(given), HashSecret(secret)) == 1
}

// key gives the stored key of the hash, from memory while no key has changed.
// Unknown hashes are not kept: guesses must not fill the memory.
func (a *Access) key(ctx context.Context, hash [sha256.Size]byte) (usance.APIKey, error) {
	version, err := a.store.KeysVersion(ctx)
	if err != nil {
		return usance.APIKey{}, err
	}
	a.mu.RLock()
	key, ok := a.keys[hash]
	ok = ok && a.version == version
	a.mu.RUnlock()
	if ok {
		return key, nil
	}
	key, err = a.store.APIKeyByHash(ctx, hash[:])
	if err != nil {
		return usance.APIKey{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.version != version {
		// The version was read before the key: filed under it the key is as new
		// or newer, so that a change in between is noticed at the next request.
		clear(a.keys)
		a.version = version
	}
	a.keys[hash] = key
	return key, nil
}

// bearer reads the secret out of an Authorization header.
func bearer(header string) (string, error) {
	if header == "" {
		return "", unauthorized("this needs an API key in the Authorization header")
	}
	if len(header) > maxHeader {
		return "", unauthorized("the Authorization header is longer than %d bytes", maxHeader)
	}
	scheme, secret, _ := strings.Cut(header, " ")
	secret = strings.TrimSpace(secret)
	if !strings.EqualFold(scheme, "Bearer") || secret == "" {
		return "", unauthorized("the Authorization header must be the word Bearer, a space and an API key")
	}
	return secret, nil
}

// unauthorized ends each message with the line that helps.
func unauthorized(format string, args ...any) *usance.Error {
	return usance.NewError(usance.CodeUnauthorized, format+`; with curl: -H "Authorization: Bearer YOUR_KEY"`, args...)
}

// secretPrefix tells people and secret scanners what they have found.
const secretPrefix = "usk_"

// NewSecret makes the secret of a new key, 256 random bits in letters and
// digits, and the hash that is stored of it.
func NewSecret() (secret string, hash []byte) {
	var b [32]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program first
	const digits = 43
	text := new(big.Int).SetBytes(b[:]).Text(62)
	secret = secretPrefix + strings.Repeat("0", digits-len(text)) + text
	return secret, HashSecret(secret)
}

// HashSecret gives what is stored of a secret: its SHA-256. Secrets are random
// enough that a slow hash would add nothing.
func HashSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}
