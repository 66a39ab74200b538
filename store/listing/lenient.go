package listing

import (
	"errors"
	"slices"

	"github.com/usance/usance"
)

// Lenient gives a scan that passes over thresholds whose rows cannot be read, and
// what leaves them out of a page that was scanned by it. Until then they have their
// place in it: a page of none but these has a next one.
func Lenient[R any](scan func(R, *usance.Threshold) error) (lenient func(R, *usance.Threshold) error, readable func([]usance.Threshold) []usance.Threshold) {
	type key struct{ licenseID, id string }
	passed := make(map[key]bool)
	lenient = func(row R, t *usance.Threshold) error {
		err := scan(row, t)
		if _, ok := errors.AsType[*usance.UnreadableError](err); ok {
			passed[key{t.LicenseID, t.ID}] = true
			return nil
		}
		return err
	}
	return lenient, func(page []usance.Threshold) []usance.Threshold {
		return slices.DeleteFunc(page, func(t usance.Threshold) bool { return passed[key{t.LicenseID, t.ID}] })
	}
}
