package usance

import "time"

// Role is what an API key may do at most.
type Role string

// The roles. Brand and creator keys are bound to their party; an ingest key
// may be bound to brands or licences.
const (
	RoleAdmin   Role = "admin"
	RoleBrand   Role = "brand"
	RoleCreator Role = "creator"
	RoleIngest  Role = "ingest"
)

// Roles are all of them, from most to least powerful.
var Roles = []Role{RoleAdmin, RoleBrand, RoleCreator, RoleIngest}

// ScopeBackdate lets an ingest key send events older than the late grace.
const ScopeBackdate = "backdate"

// KeyScopes are the scopes that an ingest key can have.
var KeyScopes = []string{ScopeBackdate}

// APIKey is a credential as it is stored: the secret itself is not.
type APIKey struct {
	ID         string     `json:"id"`
	Name       string     `json:"name,omitempty"`
	Role       Role       `json:"role"`
	PartyID    string     `json:"partyId,omitempty"`    // the brand or creator of such a key
	BrandIDs   []string   `json:"brandIds,omitempty"`   // what an ingest key is bound to
	LicenseIDs []string   `json:"licenseIds,omitempty"` // what an ingest key is bound to
	Scopes     []string   `json:"scopes,omitempty"`
	Hash       []byte     `json:"-"` // SHA-256 of the secret, which is 256 bits of randomness
	CreatedAt  time.Time  `json:"createdAt"`
	ExpiresAt  *time.Time `json:"expiresAt,omitempty"`
	RevokedAt  *time.Time `json:"revokedAt,omitempty"`
	ReplacedBy string     `json:"replacedBy,omitempty"` // id of the key that a rotation made in its place
	LastUsedAt *time.Time `json:"lastUsedAt,omitempty"` // by any node, a minute late at most
}

// Validate checks that the key is bound as its role demands.
func (k *APIKey) Validate() error {
	if err := validateText("name", k.Name, MaxNameRunes); err != nil {
		return err
	}
	if err := ValidateWord("role", k.Role, Roles); err != nil {
		return err
	}
	if k.Role == RoleBrand || k.Role == RoleCreator {
		if err := ValidateID("partyId", k.PartyID); err != nil {
			return err
		}
	} else if k.PartyID != "" {
		return Invalid("partyId", "only brand and creator keys are bound to a party")
	}
	if k.Role != RoleIngest && len(k.BrandIDs)+len(k.LicenseIDs)+len(k.Scopes) > 0 {
		return Invalid("role", "only ingest keys take brandIds, licenseIds and scopes")
	}
	for i, list := range [][]string{k.BrandIDs, k.LicenseIDs} {
		if list != nil && len(list) == 0 {
			return Invalid([]string{"brandIds", "licenseIds"}[i], "must name at least one; a key without this field is bound to none")
		}
	}
	for _, s := range k.Scopes {
		if err := ValidateWord("scopes", s, KeyScopes); err != nil {
			return err
		}
	}
	for _, id := range k.BrandIDs {
		if err := ValidateID("brandIds", id); err != nil {
			return err
		}
	}
	for _, id := range k.LicenseIDs {
		if err := ValidateID("licenseIds", id); err != nil {
			return err
		}
	}
	return nil
}

// Usable tells whether the key is in force at the instant.
func (k *APIKey) Usable(now time.Time) bool {
	return k.RevokedAt == nil && (k.ExpiresAt == nil || now.Before(*k.ExpiresAt))
}
