package access

import (
	"slices"
	"strings"

	"github.com/usance/usance"
)

// Need is a right that an operation demands of its caller. Its text completes
// the sentence "a brand key may not …".
type Need string

// The needs. Those that only admins meet are apart, so that a table of
// operations reads well and a role can be given one of them later.
const (
	ReadBrands    Need = "read brands"
	ReadCreators  Need = "read creators"
	ReadLicenses  Need = "read licences and assets"
	ReadUsage     Need = "read usage and analytics"
	ReadEvents    Need = "read events and refused attempts"
	ReadLimits    Need = "read thresholds, overages and alerts"
	ReadForecasts Need = "read forecasts"
	ReadAudit     Need = "read the audit trail" // of a licence; all of it is ReadAll
	ReadSelf      Need = "read its own key"     // every key may

	Track Need = "track events"
	Check Need = "check whether usage fits"
	Void  Need = "void events"

	ManageAlertThresholds Need = "set thresholds that only alert"
	AcknowledgeAlerts     Need = "acknowledge alerts"
	MakeForecasts         Need = "make forecasts"
	Dispute               Need = "dispute overages"

	ManageThresholds Need = "set limits, grace and overage rates"
	DecideOverages   Need = "approve, resolve or waive overages"
	ManageCatalog    Need = "change brands, creators, assets and licences"
	ManageKeys       Need = "manage API keys"
	ManageJobs       Need = "manage jobs"
	Recalculate      Need = "recalculate or backfill aggregates"
	ReadAll          Need = "read what concerns all parties" // aggregation status, the whole audit trail
)

var (
	everybody = usance.Roles
	parties   = []usance.Role{usance.RoleAdmin, usance.RoleBrand, usance.RoleCreator}
	creators  = []usance.Role{usance.RoleAdmin, usance.RoleCreator}
	brands    = []usance.Role{usance.RoleAdmin, usance.RoleBrand}
	senders   = []usance.Role{usance.RoleAdmin, usance.RoleIngest}
	admins    = []usance.Role{usance.RoleAdmin}
)

// rights is the whole matrix: which roles meet a need.
var rights = map[Need][]usance.Role{
	ReadSelf:      everybody,
	ReadBrands:    brands,
	ReadCreators:  creators,
	ReadLicenses:  parties,
	ReadUsage:     parties,
	ReadEvents:    brands,
	ReadLimits:    brands,
	ReadForecasts: brands,
	ReadAudit:     brands,

	Track: senders,
	Check: {usance.RoleAdmin, usance.RoleBrand, usance.RoleIngest},
	Void:  admins,

	ManageAlertThresholds: brands,
	AcknowledgeAlerts:     brands,
	MakeForecasts:         brands,
	Dispute:               brands,

	ManageThresholds: admins,
	DecideOverages:   admins,
	ManageCatalog:    admins,
	ManageKeys:       admins,
	ManageJobs:       admins,
	Recalculate:      admins,
	ReadAll:          admins,
}

// Authorize answers nil when the principal meets the need, else FORBIDDEN with
// the roles that do. A need that is not in the matrix is met by nobody.
func Authorize(p Principal, need Need) error {
	if p.May(need) {
		return nil
	}
	names := make([]string, 0, 4)
	for _, r := range rights[need] {
		names = append(names, string(r))
	}
	if len(names) == 0 {
		names = []string{"different"}
	}
	return usance.NewError(usance.CodeForbidden, "%s %s key may not %s; it takes a key of the role %s",
		article(p.key.Role), p.key.Role, need, strings.Join(names, " or "))
}

// Roles gives the roles that meet the need.
func Roles(need Need) []usance.Role { return rights[need] }

// May tells whether the principal meets the need.
func (p Principal) May(need Need) bool { return slices.Contains(rights[need], p.key.Role) }

// MayBackdate tells whether the principal may send events older than the late
// grace: an admin, or an ingest key with that scope.
func (p Principal) MayBackdate() bool {
	return p.isAdmin() || p.key.Role == usance.RoleIngest && slices.Contains(p.key.Scopes, usance.ScopeBackdate)
}

// AlertOnly tells whether the thresholds that the principal sets may only
// alert: limits, grace and rates are the admins' to set.
func (p Principal) AlertOnly() bool { return !p.May(ManageThresholds) }

func article(r usance.Role) string {
	if r != "" && strings.ContainsRune("aeiou", rune(r[0])) {
		return "an"
	}
	return "a"
}
