package postgres

import (
	"strconv"
	"strings"

	"github.com/usance/usance"
)

// lockClass is the first half of the advisory locks' keys, of which the second
// is a licence's group: one that no host platform is likely to use in the same
// database.
const lockClass = 0x75736167

// lockStatement is what follows BEGIN: it takes the groups' locks, each until
// the end of the transaction, in ascending order, so that none waits for another
// in a circle.
func lockStatement(locks usance.Locks) string {
	var wanted [usance.Groups + 1]byte
	for _, id := range locks.Shared {
		wanted[usance.GroupOf(id, usance.Groups)] = 's'
	}
	for _, id := range locks.Exclusive {
		wanted[usance.GroupOf(id, usance.Groups)] = 'x'
	}
	var b strings.Builder
	for group, how := range wanted {
		if how == 0 {
			continue
		}
		if b.Len() == 0 {
			b.WriteString("; SELECT ")
		} else {
			b.WriteString(", ")
		}
		b.WriteString("pg_advisory_xact_lock")
		if how == 's' {
			b.WriteString("_shared")
		}
		b.WriteByte('(')
		b.WriteString(strconv.Itoa(lockClass))
		b.WriteByte(',')
		b.WriteString(strconv.Itoa(group))
		b.WriteByte(')')
	}
	return b.String()
}
