package access

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/usance/usance"
)

// Scope gives what a principal's listings are narrowed to.
func (a *Access) Scope(p Principal) usance.Scope { return p.Scope(a.today()) }

// today is the date on which a creator's shares are looked at. It is one for
// all licences, whatever their zone, so that listings and look-ups agree.
func (a *Access) today() usance.Date { return usance.DateOf(a.now(), time.UTC) }

// Scope gives what the principal's listings are narrowed to on the date today.
// Ingest keys that are bound to brands and to licences list neither: a scope
// narrows by both at once, while such a key sends to both; see License.
func (p Principal) Scope(today usance.Date) usance.Scope {
	switch p.key.Role {
	case usance.RoleAdmin:
		return usance.Scope{}
	case usance.RoleBrand:
		return usance.Scope{BrandIDs: []string{p.key.PartyID}}
	case usance.RoleCreator:
		return usance.Scope{CreatorID: p.key.PartyID, Today: today}
	case usance.RoleIngest:
		switch {
		case !p.bound():
			return usance.Scope{}
		case len(p.key.BrandIDs) == 0:
			return usance.Scope{LicenseIDs: p.key.LicenseIDs}
		case len(p.key.LicenseIDs) == 0:
			return usance.Scope{BrandIDs: p.key.BrandIDs}
		}
	}
	return usance.Scope{LicenseIDs: []string{}}
}

// Viewer names what the principal may see, for cache keys: answers made for
// one name are never given to another.
func (p Principal) Viewer() string {
	switch p.key.Role {
	case usance.RoleAdmin:
		return "admin"
	case usance.RoleBrand, usance.RoleCreator:
		return string(p.key.Role) + ":" + p.key.PartyID
	}
	return "key:" + p.key.ID
}

// bound tells whether an ingest key is bound to some licences.
func (p Principal) bound() bool { return len(p.key.BrandIDs)+len(p.key.LicenseIDs) > 0 }

// License gives the licence if the principal sees it, else LICENSE_NOT_FOUND,
// be it absent or another's. Deleted licences are seen: their usage and
// overages stay.
func (a *Access) License(ctx context.Context, v usance.View, p Principal, id string) (usance.License, error) {
	l, err := v.License(ctx, id)
	if err != nil {
		if usance.ErrorCode(err) == usance.CodeLicenseNotFound {
			return usance.License{}, usance.LicenseNotFound(id)
		}
		return usance.License{}, err
	}
	seen, err := a.sees(ctx, v, p, &l)
	if err != nil {
		return usance.License{}, err
	}
	if !seen {
		return usance.License{}, usance.LicenseNotFound(id)
	}
	return l, nil
}

func (a *Access) sees(ctx context.Context, v usance.View, p Principal, l *usance.License) (bool, error) {
	switch p.key.Role {
	case usance.RoleAdmin:
		return true, nil
	case usance.RoleBrand:
		return l.BrandID == p.key.PartyID, nil
	case usance.RoleIngest:
		return p.sendsTo(l), nil
	case usance.RoleCreator:
		return v.Visible(ctx, a.Scope(p), l.ID)
	}
	return false, nil
}

// sendsTo tells whether an ingest key is bound to the licence, its brand, or nothing.
func (p Principal) sendsTo(l *usance.License) bool {
	return !p.bound() || slices.Contains(p.key.LicenseIDs, l.ID) || slices.Contains(p.key.BrandIDs, l.BrandID)
}

// SendsToAll tells, without asking the store, that no licence is hidden from the
// principal when it sends events.
func (p Principal) SendsToAll() bool {
	return p.isAdmin() || p.key.Role == usance.RoleIngest && !p.bound()
}

// Check gives License as a function of the licence alone, for who reads on in
// the same snapshot.
func (a *Access) Check(p Principal) func(ctx context.Context, v usance.View, licenseID string) error {
	return func(ctx context.Context, v usance.View, licenseID string) error {
		_, err := a.License(ctx, v, p, licenseID)
		return err
	}
}

// Hidden gives those of the licences that the principal must not send events
// to, whether they are absent or another's: each of their events is answered
// with usance.LicenseNotFound. For admins and unbound ingest keys it is empty, absent
// licences included, since ingest answers the same for them.
func (a *Access) Hidden(ctx context.Context, v usance.View, p Principal, licenseIDs []string) (map[string]bool, error) {
	if p.SendsToAll() {
		return nil, nil
	}
	hidden := make(map[string]bool)
	for _, id := range licenseIDs {
		hidden[id] = true
	}
	if p.key.Role != usance.RoleIngest {
		return hidden, nil
	}
	ids := slices.Clone(licenseIDs)
	slices.Sort(ids)
	facts, err := v.Facts(ctx, slices.Compact(ids))
	if err != nil {
		return nil, err
	}
	for i := range facts {
		if p.sendsTo(&facts[i].License) {
			delete(hidden, facts[i].License.ID)
		}
	}
	return hidden, nil
}

// Brand gives the brand if the principal sees it: admins all, a brand itself.
func (a *Access) Brand(ctx context.Context, v usance.View, p Principal, id string) (usance.Brand, error) {
	if !p.isAdmin() && !p.is(usance.RoleBrand, id) {
		return usance.Brand{}, notFound("brand", id)
	}
	b, err := v.Brand(ctx, id)
	return b, sameText(err, "brand", id)
}

// Creator gives the creator if the principal sees it: admins all, a creator itself.
func (a *Access) Creator(ctx context.Context, v usance.View, p Principal, id string) (usance.Creator, error) {
	if !p.isAdmin() && !p.is(usance.RoleCreator, id) {
		return usance.Creator{}, notFound("creator", id)
	}
	c, err := v.Creator(ctx, id)
	return c, sameText(err, "creator", id)
}

func (p Principal) is(role usance.Role, party string) bool {
	return p.key.Role == role && p.key.PartyID == party
}

// Asset gives the asset if the principal sees it, with the owners it may see:
// admins all, brands those of their licences, creators those in which they hold
// a share today.
func (a *Access) Asset(ctx context.Context, v usance.View, p Principal, id string) (usance.Asset, error) {
	asset, err := v.Asset(ctx, id)
	if err != nil {
		return usance.Asset{}, sameText(err, "asset", id)
	}
	seen := false
	switch p.key.Role {
	case usance.RoleAdmin:
		seen = true
	case usance.RoleBrand:
		licences, _, err := v.Licenses(ctx, usance.LicenseFilter{Scope: a.Scope(p), AssetID: id, Deleted: true}, usance.Page{Limit: 1})
		if err != nil {
			return usance.Asset{}, err
		}
		seen = len(licences) > 0
	case usance.RoleCreator:
		for _, s := range asset.OwnersOn(a.today()) {
			seen = seen || s.CreatorID == p.key.PartyID
		}
	}
	if !seen {
		return usance.Asset{}, notFound("asset", id)
	}
	return p.ShowAsset(asset), nil
}

// Threshold gives the threshold if the principal sees it: limits, and the licence.
func (a *Access) Threshold(ctx context.Context, v usance.View, p Principal, id string) (usance.Threshold, error) {
	t, err := v.Threshold(ctx, id)
	if err = a.limit(ctx, v, p, err, t.LicenseID, "threshold", id); err != nil {
		return usance.Threshold{}, err
	}
	return t, nil
}

// Overage gives the overage if the principal sees it: limits, and the licence.
func (a *Access) Overage(ctx context.Context, v usance.View, p Principal, id usance.ID) (usance.Overage, error) {
	o, err := v.Overage(ctx, id)
	if err = a.limit(ctx, v, p, err, o.LicenseID, "overage", id.String()); err != nil {
		return usance.Overage{}, err
	}
	return o, nil
}

// Alert gives the alert if the principal sees it: limits, and the licence.
func (a *Access) Alert(ctx context.Context, v usance.View, p Principal, id usance.ID) (usance.Alert, error) {
	al, err := v.Alert(ctx, id)
	if err = a.limit(ctx, v, p, err, al.LicenseID, "alert", id.String()); err != nil {
		return usance.Alert{}, err
	}
	return al, nil
}

// limit checks the look-up of a thing that is seen by who sees limits and the
// licence it belongs to. found is the look-up's error.
func (a *Access) limit(ctx context.Context, v usance.View, p Principal, found error, licenseID, kind, id string) error {
	if unreadable, ok := errors.AsType[*usance.UnreadableError](found); ok {
		licenseID = unreadable.LicenseID // told to who sees it
	} else if found != nil {
		return sameText(found, kind, id)
	}
	if !p.May(ReadLimits) {
		return notFound(kind, id)
	}
	_, err := a.License(ctx, v, p, licenseID)
	if usance.ErrorCode(err) == usance.CodeLicenseNotFound {
		return notFound(kind, id)
	}
	return cmp.Or(err, found)
}

func notFound(kind, id string) *usance.Error {
	return usance.NewError(usance.CodeNotFound, "no %s %q; check the id", kind, usance.Clip(id))
}

// sameText gives every NOT_FOUND the text that a hidden row gets.
func sameText(err error, kind, id string) error {
	if err != nil && usance.ErrorCode(err) == usance.CodeNotFound {
		return notFound(kind, id)
	}
	return err
}
