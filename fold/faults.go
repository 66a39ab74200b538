package fold

import (
	"context"
	"errors"
	"fmt"

	"github.com/usance/usance"
)

// maxNamed bounds the licences that a run's error names.
const maxNamed = 10

// faults are what went wrong with single licences of a run, which goes on with
// the others.
type faults struct {
	named []error
	all   int
}

// add takes an error that is one licence's, and gives back one that is not: the
// run was ended, or the database does not answer.
func (f *faults) add(ctx context.Context, licenseID string, err error) error {
	if err == nil || ctx.Err() != nil || usance.ErrorCode(err) == usance.CodeUnavailable {
		return err
	}
	if f.all++; len(f.named) < maxNamed {
		f.named = append(f.named, fmt.Errorf("licence %s: %w", licenseID, err))
	}
	return nil
}

// err tells of all that were taken, nil when there were none.
func (f *faults) err(doing string) error {
	if f.all == 0 {
		return nil
	}
	return fmt.Errorf("%s: %d could not be: %w", doing, f.all, errors.Join(f.named...))
}
