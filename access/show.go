package access

import (
	"time"

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
	if p.IsAdmin() || p.Key.Role == usance.RoleBrand {
		out.FeeCents = &l.FeeCents
	}
	return out
}

// ShowAsset gives the asset without what the principal must not see: its owners
// are shown to admins, and to a creator its own shares. Who else owns a work,
// and how much of it, is nobody's business but theirs.
func (p Principal) ShowAsset(asset usance.Asset) usance.Asset {
	if p.IsAdmin() {
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

// Key is a key as it is shown to itself: the bootstrap key comes from the
// configuration and was made at no known time.
type Key struct {
	usance.APIKey
	CreatedAt *time.Time `json:"createdAt,omitempty"`
}

// ShowKey gives the principal's own key.
func (p Principal) ShowKey() Key {
	out := Key{APIKey: p.Key}
	if !p.Key.CreatedAt.IsZero() {
		out.CreatedAt = &p.Key.CreatedAt
	}
	return out
}
