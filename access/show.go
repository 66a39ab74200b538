package access

import (
	"time"

	"github.com/go-json-experiment/json"

	"github.com/usance/usance"
)

// License is a licence as answers show it: FeeCents is left out for those who
// must not see it, which is not the same as a fee of 0.
type License struct {
	usance.License
	FeeCents *int64 `json:"feeCents,omitempty"` // cents per term; admins and the brand only
}

// ShowLicense gives the licence without what the principal must not see: the
// fee is between the platform and the brand. Creators see their share of the
// revenue and the dates.
func (p Principal) ShowLicense(l usance.License) License {
	out := License{License: l}
	out.License.FeeCents = 0
	if p.isAdmin() || p.key.Role == usance.RoleBrand {
		out.FeeCents = &l.FeeCents
	}
	return out
}

// ShowAsset gives the asset without what the principal must not see: its owners
// are shown to admins, and to a creator its own shares. Who else owns a work,
// and how much of it, is nobody's business but theirs.
func (p Principal) ShowAsset(asset usance.Asset) usance.Asset {
	if p.isAdmin() {
		return asset
	}
	var own []usance.Share
	for _, s := range asset.Owners {
		if p.is(usance.RoleCreator, s.CreatorID) {
			own = append(own, s)
		}
	}
	asset.Owners = own
	return asset
}

// ShowAudit gives the audit row of a licence without what the principal must not
// see: the states in which the licence was another brand's, as it may have been
// before it was used.
func (p Principal) ShowAudit(e usance.AuditEntry) usance.AuditEntry {
	if p.isAdmin() {
		return e
	}
	for _, side := range []*usance.RawJSON{&e.Before, &e.After} {
		var s struct {
			BrandID string `json:"brandId"`
		}
		if len(*side) > 0 && (json.Unmarshal(*side, &s) != nil || s.BrandID != "" && !p.is(usance.RoleBrand, s.BrandID)) {
			*side = nil
		}
	}
	return e
}

// Key is a key as it is shown to itself: the bootstrap key comes from the
// configuration and was made at no known time.
type Key struct {
	usance.APIKey
	CreatedAt *time.Time `json:"createdAt,omitempty"`
}

// ShowKey gives the principal's own key.
func (p Principal) ShowKey() Key {
	out := Key{APIKey: p.key}
	if !p.key.CreatedAt.IsZero() {
		out.CreatedAt = &p.key.CreatedAt
	}
	return out
}
