package api

import (
	"context"
	"time"

	"github.com/usance/usance"
	"github.com/usance/usance/access"
	"github.com/usance/usance/ingest"
)

// The inputs of puts document the fields of the nouns; the catalog reads them.
// Fields that are left out keep their value.

// BrandInput is what can be set of a brand.
type BrandInput struct {
	ID   string `json:"id" maxLength:"128" doc:"Your own id of it."`
	Name string `json:"name,omitempty" maxLength:"200" doc:"Its id when new and left out."`
}

// CreatorInput is what can be set of a creator.
type CreatorInput struct {
	ID    string `json:"id" maxLength:"128" doc:"Your own id of it."`
	Name  string `json:"name,omitempty" maxLength:"200" doc:"Its id when new and left out."`
	Email string `json:"email,omitempty" maxLength:"254"`
}

// AssetInput is what can be set of an asset.
type AssetInput struct {
	ID     string         `json:"id" maxLength:"128" doc:"Your own id of it."`
	Name   string         `json:"name,omitempty" maxLength:"200" doc:"Its id when new and left out."`
	Type   string         `json:"type,omitempty" maxLength:"200" doc:"What it is, such as photo."`
	Owners []usance.Share `json:"owners,omitempty" doc:"Who owns it; on each date the shares sum to 10,000 basis points. Creators not seen before are created."`
}

// LicenseInput is what can be set of a licence.
type LicenseInput struct {
	ID                   string               `json:"id" maxLength:"128" doc:"Your own id of it."`
	Name                 string               `json:"name,omitempty" maxLength:"200"`
	BrandID              string               `json:"brandId,omitempty" doc:"Needed when new; a brand not seen before is created. Fixed once usage exists."`
	AssetID              string               `json:"assetId,omitempty" doc:"Needed when new; an asset not seen before is created. Fixed once usage exists."`
	Status               usance.LicenseStatus `json:"status,omitempty" doc:"Needed when new."`
	Timezone             string               `json:"timezone,omitempty" default:"UTC" doc:"IANA zone, whose days and months count. Fixed once usage exists."`
	BillingAnchorDay     int                  `json:"billingAnchorDay,omitempty" minimum:"1" maximum:"31" default:"1" doc:"Day of the month on which periods begin. Fixed once usage exists."`
	Currency             string               `json:"currency,omitempty" default:"USD" doc:"ISO 4217. Fixed once usage exists."`
	StartDate            string               `json:"startDate,omitempty" format:"date-or-instant" doc:"First local day of the term, or an instant; open when left out."`
	EndDate              string               `json:"endDate,omitempty" format:"date-or-instant" doc:"Last local day of the term, or an instant (exclusive); open when left out."`
	FeeCents             int64                `json:"feeCents,omitempty" minimum:"0" maximum:"1000000000000" doc:"Fee per term, in cents."`
	RevShareBps          int                  `json:"revShareBps,omitempty" minimum:"0" maximum:"10000" doc:"The creators' share of revenue, in basis points."`
	UsageTrackingEnabled bool                 `json:"usageTrackingEnabled,omitempty" default:"true"`
	DeletedAt            *time.Time           `json:"deletedAt,omitempty" nullable:"true" doc:"null restores a deleted licence."`
}

// AssetAnswer is an asset and what was created along with it.
type AssetAnswer struct {
	usance.Asset
	Created []string `json:"created" doc:"What else was created, such as creator:c1."`
}

// LicenseAnswer is a licence and what was created along with it.
type LicenseAnswer struct {
	access.License
	Created []string `json:"created" doc:"What else was created, such as brand:b1 or asset:a1."`
}

type partyRef struct {
	ID string `json:"id" doc:"Its id."`
}

type listInput struct{ Paging }

type licensesInput struct {
	BrandID string               `json:"brandId,omitempty" doc:"Only of this brand."`
	AssetID string               `json:"assetId,omitempty" doc:"Only of this asset."`
	Status  usance.LicenseStatus `json:"status,omitempty" doc:"Only of this status."`
	Deleted bool                 `json:"deleted,omitempty" doc:"Deleted ones too."`
	Paging
}

func (a *api) catalogOperations() []*operation {
	put := func(name, path, summary string, doc operation) operation {
		doc.name, doc.kind, doc.method, doc.path, doc.need, doc.tag = name, isMutation, "PUT", path, access.ManageCatalog, tagCatalog
		doc.summary, doc.decode = summary, decodeChange("id", true)
		return doc
	}
	return []*operation{
		op(put("catalog.putLicense", "/v1/licenses/{id}", "Create or change a licence", operation{
			docIn:   typeOf[LicenseInput](),
			detail:  "Mirror your own table: ids are yours, fields that are left out keep their value. A new licence needs brandId, assetId and status.",
			example: `{"id":"lic_123","brandId":"brand_1","assetId":"asset_1","status":"ACTIVE"}`,
		}), nil, func(ctx context.Context, c *Call, in *changeInput) (LicenseAnswer, error) {
			l, created, err := a.d.Catalog.PutLicense(ctx, in.ID, in.Body, c.actor())
			return LicenseAnswer{License: c.Principal.ShowLicense(l), Created: created}, err
		}),
		op(operation{
			name: "catalog.getLicense", kind: isQuery, method: "GET", path: "/v1/licenses/{id}", need: access.ReadLicenses, tag: tagCatalog,
			summary: "One licence", example: `{"id":"lic_123"}`,
		}, func(in *partyRef) target { return target{license: in.ID} }, func(ctx context.Context, c *Call, in *partyRef) (access.License, error) {
			return c.Principal.ShowLicense(c.License), nil
		}),
		op(operation{
			name: "catalog.listLicenses", kind: isQuery, method: "GET", path: "/v1/licenses", need: access.ReadLicenses, tag: tagCatalog,
			summary: "List licences", example: `{"status":"ACTIVE"}`,
		}, nil, a.listLicenses),
		op(operation{
			name: "catalog.deleteLicense", kind: isMutation, method: "DELETE", path: "/v1/licenses/{id}", need: access.ManageCatalog, tag: tagCatalog,
			summary: "Mark a licence deleted",
			detail:  "Its events are refused from now on; what was counted stays and is billed.",
			example: `{"id":"lic_123"}`,
		}, func(in *partyRef) target { return target{license: in.ID} }, func(ctx context.Context, c *Call, in *partyRef) (access.License, error) {
			l, err := a.d.Catalog.DeleteLicense(ctx, in.ID, c.actor())
			return c.Principal.ShowLicense(l), err
		}),
		op(put("catalog.putBrand", "/v1/brands/{id}", "Create or change a brand", operation{
			docIn: typeOf[BrandInput](), example: `{"id":"brand_1","name":"Acme"}`,
		}), nil, func(ctx context.Context, c *Call, in *changeInput) (usance.Brand, error) {
			return a.d.Catalog.PutBrand(ctx, in.ID, in.Body, c.actor())
		}),
		op(operation{
			name: "catalog.getBrand", kind: isQuery, method: "GET", path: "/v1/brands/{id}", need: access.ReadBrands, tag: tagCatalog,
			summary: "One brand", example: `{"id":"brand_1"}`,
		}, func(in *partyRef) target { return target{brand: in.ID} }, func(ctx context.Context, c *Call, in *partyRef) (usance.Brand, error) {
			return c.Brand, nil
		}),
		op(operation{
			name: "catalog.listBrands", kind: isQuery, method: "GET", path: "/v1/brands", need: access.ReadBrands, tag: tagCatalog,
			summary: "List brands", example: `{}`,
		}, nil, func(ctx context.Context, c *Call, in *listInput) (Page[usance.Brand], error) {
			return listed(ctx, a, func(v usance.View) ([]usance.Brand, string, error) { return v.Brands(ctx, c.Scope, in.page()) })
		}),
		op(put("catalog.putCreator", "/v1/creators/{id}", "Create or change a creator", operation{
			docIn: typeOf[CreatorInput](), example: `{"id":"creator_1","name":"Ada"}`,
		}), nil, func(ctx context.Context, c *Call, in *changeInput) (usance.Creator, error) {
			return a.d.Catalog.PutCreator(ctx, in.ID, in.Body, c.actor())
		}),
		op(operation{
			name: "catalog.getCreator", kind: isQuery, method: "GET", path: "/v1/creators/{id}", need: access.ReadCreators, tag: tagCatalog,
			summary: "One creator", example: `{"id":"creator_1"}`,
		}, func(in *partyRef) target { return target{creator: in.ID} }, func(ctx context.Context, c *Call, in *partyRef) (usance.Creator, error) {
			return c.Creator, nil
		}),
		op(operation{
			name: "catalog.listCreators", kind: isQuery, method: "GET", path: "/v1/creators", need: access.ReadCreators, tag: tagCatalog,
			summary: "List creators", example: `{}`,
		}, nil, func(ctx context.Context, c *Call, in *listInput) (Page[usance.Creator], error) {
			return listed(ctx, a, func(v usance.View) ([]usance.Creator, string, error) { return v.Creators(ctx, c.Scope, in.page()) })
		}),
		op(put("catalog.putAsset", "/v1/assets/{id}", "Create or change an asset", operation{
			docIn:   typeOf[AssetInput](),
			example: `{"id":"asset_1","name":"Sunrise","owners":[{"creatorId":"creator_1","shareBps":10000}]}`,
		}), nil, func(ctx context.Context, c *Call, in *changeInput) (AssetAnswer, error) {
			asset, created, err := a.d.Catalog.PutAsset(ctx, in.ID, in.Body, c.actor())
			return AssetAnswer{Asset: c.Principal.ShowAsset(asset), Created: created}, err
		}),
		op(operation{
			name: "catalog.getAsset", kind: isQuery, method: "GET", path: "/v1/assets/{id}", need: access.ReadLicenses, tag: tagCatalog,
			summary: "One asset", example: `{"id":"asset_1"}`,
		}, func(in *partyRef) target { return target{asset: in.ID} }, func(ctx context.Context, c *Call, in *partyRef) (usance.Asset, error) {
			return c.Asset, nil
		}),
		op(operation{
			name: "catalog.listAssets", kind: isQuery, method: "GET", path: "/v1/assets", need: access.ReadLicenses, tag: tagCatalog,
			summary: "List assets", example: `{}`,
		}, nil, func(ctx context.Context, c *Call, in *listInput) (Page[usance.Asset], error) {
			page, err := listed(ctx, a, func(v usance.View) ([]usance.Asset, string, error) { return v.Assets(ctx, c.Scope, in.page()) })
			for i := range page.Data {
				page.Data[i] = c.Principal.ShowAsset(page.Data[i])
			}
			return page, err
		}),
	}
}

func (a *api) listLicenses(ctx context.Context, c *Call, in *licensesInput) (Page[access.License], error) {
	f := usance.LicenseFilter{Scope: c.Scope, BrandID: in.BrandID, AssetID: in.AssetID, Status: in.Status, Deleted: in.Deleted}
	return listed(ctx, a, func(v usance.View) ([]access.License, string, error) {
		rows, next, err := v.Licenses(ctx, f, in.page())
		out := make([]access.License, len(rows))
		for i, l := range rows {
			out[i] = c.Principal.ShowLicense(l)
		}
		return out, next, err
	})
}

type auditInput struct {
	LicenseID string `json:"licenseId,omitempty" doc:"Only about this licence."`
	Subject   string `json:"subject,omitempty" doc:"Only about this thing: a licence, threshold, overage, event or key id."`
	Paging
}

type licenseAuditInput struct {
	OfLicense
	Subject string `json:"subject,omitempty" doc:"Only about this thing."`
	Paging
}

type keyInput struct {
	Name       string      `json:"name,omitempty" maxLength:"200" doc:"What it is for."`
	Role       usance.Role `json:"role"`
	PartyID    string      `json:"partyId,omitempty" doc:"The brand or creator of a key of that role."`
	BrandIDs   []string    `json:"brandIds,omitempty" doc:"Brands that an ingest key may send for; all when neither these nor licenseIds are given."`
	LicenseIDs []string    `json:"licenseIds,omitempty" doc:"Licences that an ingest key may send for."`
	Scopes     []keyScope  `json:"scopes,omitempty" doc:"backdate: events older than the late grace."`
	ExpiresAt  *time.Time  `json:"expiresAt,omitempty"`
}

// OfKey is embedded by the inputs of what is about one API key.
type OfKey struct {
	KeyID string `json:"keyId" doc:"The key's id (not its secret)."`
}

type rotateInput struct {
	OfKey
	OverlapSeconds int64      `json:"overlapSeconds,omitempty" minimum:"0" maximum:"7776000" doc:"How long the old key goes on, so that clients can change over; 0 unless told."`
	ExpiresAt      *time.Time `json:"expiresAt,omitempty" doc:"When the new key ends; after as long a life as the old one was made for when left out."`
}

// NewKey is a key that was just made. Its secret is shown this once.
type NewKey struct {
	Key    usance.APIKey `json:"key"`
	Secret string        `json:"secret" doc:"Send it as Authorization: Bearer SECRET. It is stored as a hash only and never shown again."`
}

type jobRef struct {
	Name   string `json:"name" maxLength:"100" doc:"The job's name."`
	Reason string `json:"reason,omitempty" maxLength:"1000" doc:"Kept in the audit trail."`
}

func (a *api) adminOperations() []*operation {
	return []*operation{
		op(operation{
			name: "usage.explainLicense", kind: isQuery, method: "GET", path: "/v1/licenses/{licenseId}/explain", need: access.ReadAll, tag: tagAdmin,
			summary: "What would happen to an event of this licence now, and why",
			example: `{"licenseId":"lic_123"}`,
		}, (*OfLicense).target, func(ctx context.Context, c *Call, in *OfLicense) (ingest.Explanation, error) {
			return a.d.Ingest.Explain(ctx, in.LicenseID)
		}),
		op(operation{
			name: "audit.list", kind: isQuery, method: "GET", path: "/v1/audit", need: access.ReadAll, tag: tagAdmin,
			summary: "The audit trail: who changed what, when and why",
			example: `{"subject":"lic_123"}`,
		}, func(in *auditInput) target { return target{license: in.LicenseID} }, func(ctx context.Context, c *Call, in *auditInput) (Page[usance.AuditEntry], error) {
			f := usance.AuditFilter{LicenseID: in.LicenseID, Subject: in.Subject}
			return listed(ctx, a, func(v usance.View) ([]usance.AuditEntry, string, error) { return v.Audit(ctx, f, in.page()) })
		}),
		op(operation{
			name: "audit.listLicense", kind: isQuery, method: "GET", path: "/v1/licenses/{licenseId}/audit", need: access.ReadAudit, tag: tagAdmin,
			summary: "The audit trail of a licence",
			example: `{"licenseId":"lic_123"}`,
		}, (*licenseAuditInput).target, func(ctx context.Context, c *Call, in *licenseAuditInput) (Page[usance.AuditEntry], error) {
			f := usance.AuditFilter{LicenseID: in.LicenseID, Subject: in.Subject}
			page, err := listed(ctx, a, func(v usance.View) ([]usance.AuditEntry, string, error) { return v.Audit(ctx, f, in.page()) })
			for i := range page.Data {
				page.Data[i] = c.Principal.ShowAudit(page.Data[i])
			}
			return page, err
		}),
		op(operation{
			name: "keys.create", kind: isMutation, method: "POST", path: "/v1/keys", need: access.ManageKeys, tag: tagAdmin,
			summary: "Make an API key",
			example: `{"name":"web tracker","role":"ingest","brandIds":["brand_1"]}`,
		}, nil, func(ctx context.Context, c *Call, in *keyInput) (NewKey, error) {
			key := usance.APIKey{
				Name: in.Name, Role: in.Role, PartyID: in.PartyID, BrandIDs: in.BrandIDs, LicenseIDs: in.LicenseIDs, ExpiresAt: in.ExpiresAt,
			}
			for _, s := range in.Scopes {
				key.Scopes = append(key.Scopes, string(s))
			}
			k, secret, err := a.d.Catalog.CreateKey(ctx, key, c.actor())
			return NewKey{Key: k, Secret: secret}, err
		}),
		op(operation{
			name: "keys.list", kind: isQuery, method: "GET", path: "/v1/keys", need: access.ManageKeys, tag: tagAdmin,
			summary: "List API keys, revoked ones too", example: `{}`,
		}, nil, func(ctx context.Context, c *Call, in *listInput) (out Page[usance.APIKey], err error) {
			out.Data, out.NextCursor, err = a.d.Store.APIKeys(ctx, in.page())
			a.d.Access.ShowUse(out.Data)
			return out, err
		}),
		op(operation{
			name: "keys.self", kind: isQuery, method: "GET", path: "/v1/keys/self", need: access.ReadSelf, tag: tagAdmin,
			summary: "The key that asks", example: `{}`,
		}, nil, func(ctx context.Context, c *Call, in *none) (access.Key, error) { return c.Principal.ShowKey(), nil }),
		op(operation{
			name: "keys.revoke", kind: isMutation, method: "POST", path: "/v1/keys/{keyId}/revoke", need: access.ManageKeys, tag: tagAdmin,
			summary: "End a key at once",
			example: `{"keyId":"0190a7c2-0000-7000-8000-000000000000"}`,
		}, nil, func(ctx context.Context, c *Call, in *OfKey) (usance.APIKey, error) {
			return a.d.Catalog.RevokeKey(ctx, in.KeyID, c.actor())
		}),
		op(operation{
			name: "keys.rotate", kind: isMutation, method: "POST", path: "/v1/keys/{keyId}/rotate", need: access.ManageKeys, tag: tagAdmin,
			summary: "Replace a key by a new one of the same role and bindings",
			detail:  "The id bootstrap stands for the admin key that the first start made: the new one takes its place in the data folder. When it is USANCE_ADMIN_KEY, it is replaced by starting the server with another.",
			example: `{"keyId":"0190a7c2-0000-7000-8000-000000000000","overlapSeconds":3600}`,
		}, nil, func(ctx context.Context, c *Call, in *rotateInput) (NewKey, error) {
			overlap := time.Duration(in.OverlapSeconds) * time.Second
			if in.KeyID == access.BootstrapKeyID && a.d.RotateAdminKey != nil {
				return a.rotateAdminKey(ctx, c, overlap, in.ExpiresAt)
			}
			k, secret, err := a.d.Catalog.RotateKey(ctx, in.KeyID, overlap, in.ExpiresAt, c.actor())
			return NewKey{Key: k, Secret: secret}, err
		}),
		op(operation{
			name: "jobs.list", kind: isQuery, method: "GET", path: "/v1/jobs", need: access.ManageJobs, tag: tagAdmin,
			summary: "The jobs: schedule, pauses, last runs", example: `{}`,
		}, nil, func(ctx context.Context, c *Call, in *none) (Page[usance.Job], error) {
			list, err := a.d.Jobs.List(ctx)
			return Page[usance.Job]{Data: list}, err
		}),
		op(operation{
			name: "jobs.run", kind: isMutation, method: "POST", path: "/v1/jobs/{name}/run", need: access.ManageJobs, tag: tagAdmin,
			summary: "Run a job now, and wait for its end", example: `{"name":"checkUsageThresholds"}`,
		}, nil, func(ctx context.Context, c *Call, in *jobRef) (usance.Job, error) {
			// Before the run, which may fail, and take longer than its asker waits.
			if err := a.auditJob(ctx, c, "job.run", in); err != nil {
				return usance.Job{}, err
			}
			if err := a.d.Jobs.RunNow(ctx, in.Name); err != nil {
				if usance.ErrorCode(err) == usance.CodeInternal {
					err = usance.WrapError(err, usance.CodeInternal, "the job failed; its lastError in /v1/jobs says why")
				}
				return usance.Job{}, err
			}
			return a.job(ctx, in.Name)
		}),
		op(operation{
			name: "jobs.pause", kind: isMutation, method: "POST", path: "/v1/jobs/{name}/pause", need: access.ManageJobs, tag: tagAdmin,
			summary: "Stop a job's schedule, on every node, over restarts", example: `{"name":"checkUsageThresholds"}`,
		}, nil, func(ctx context.Context, c *Call, in *jobRef) (usance.Job, error) {
			if err := a.auditJob(ctx, c, "job.pause", in); err != nil {
				return usance.Job{}, err
			}
			if err := a.d.Jobs.Pause(ctx, in.Name); err != nil {
				return usance.Job{}, err
			}
			return a.job(ctx, in.Name)
		}),
		op(operation{
			name: "jobs.resume", kind: isMutation, method: "POST", path: "/v1/jobs/{name}/resume", need: access.ManageJobs, tag: tagAdmin,
			summary: "Take up a job's schedule again", example: `{"name":"checkUsageThresholds"}`,
		}, nil, func(ctx context.Context, c *Call, in *jobRef) (usance.Job, error) {
			if err := a.auditJob(ctx, c, "job.resume", in); err != nil {
				return usance.Job{}, err
			}
			if err := a.d.Jobs.Resume(ctx, in.Name); err != nil {
				return usance.Job{}, err
			}
			return a.job(ctx, in.Name)
		}),
	}
}

// rotateAdminKey replaces the key that is in no table.
func (a *api) rotateAdminKey(ctx context.Context, c *Call, overlap time.Duration, expires *time.Time) (NewKey, error) {
	if expires != nil {
		return NewKey{}, usance.Invalid("expiresAt", "is not for the key %s, which does not end; make an admin key that does", access.BootstrapKeyID)
	}
	out := NewKey{Key: usance.APIKey{ID: access.BootstrapKeyID, Role: usance.RoleAdmin, CreatedAt: a.instant()}}
	secret, err := a.d.RotateAdminKey(overlap, func(before, after any, replace func() error) error {
		e := usance.NewAuditEntry(a.now(), c.actor(), "key.rotate", access.BootstrapKeyID)
		if err := e.SetStates(before, after); err != nil {
			return err
		}
		return a.d.Store.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
			if err := tx.AddAudit(ctx, []usance.AuditEntry{e}); err != nil {
				return err
			}
			return replace() // what fails here undoes the row
		})
	})
	out.Secret = secret
	return out, err
}

// auditJob records who does what to a job, before it is done; nothing of a job that
// there is none of.
func (a *api) auditJob(ctx context.Context, c *Call, action string, in *jobRef) error {
	if _, err := a.job(ctx, in.Name); err != nil {
		if usance.ErrorCode(err) == usance.CodeNotFound {
			return nil // the runner says so, and which there are
		}
		return err
	}
	return a.d.Store.Update(ctx, usance.Locks{}, func(tx usance.Tx) error {
		e := usance.NewAuditEntry(a.now(), c.actor(), action, in.Name)
		e.Reason = in.Reason
		return tx.AddAudit(ctx, []usance.AuditEntry{e})
	})
}

func (a *api) job(ctx context.Context, name string) (usance.Job, error) {
	list, err := a.d.Jobs.List(ctx)
	if err != nil {
		return usance.Job{}, err
	}
	for _, j := range list {
		if j.Name == name {
			return j, nil
		}
	}
	return usance.Job{}, usance.NewError(usance.CodeNotFound, "no job %q", name)
}
