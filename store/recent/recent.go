// Package recent keeps a number that is asked for with every request and changes
// hardly ever, for both stores.
package recent

import (
	"context"
	"sync"
	"time"
)

// Version is a number as it was read last. What this process changes is seen at
// once, what others change by whoever asks later than Keep. Its methods may be
// called at once from many goroutines.
type Version struct {
	// Keep is how long before it is asked for the number may have been read. When it
	// is 0 whoever asks gets what was read after that, with all who ask meanwhile.
	Keep time.Duration

	mu      sync.Mutex
	version int64
	at      time.Time // when reading it began; zero: it must be read
	changes int       // that this process committed
	reading *reading  // under way
}

// reading is a read that several wait for.
type reading struct {
	done chan struct{} // closed at its end
	err  error         // what it ended with, not to be looked at before
}

// longest bounds a read: whoever asks later waits for it.
const longest = 10 * time.Second

// Get gives the number, which one caller at a time reads while the others wait
// for that, and share its error. It reads to the end though its own context ends.
func (v *Version) Get(ctx context.Context, read func(context.Context) (int64, error)) (int64, error) {
	oldest := time.Now().Add(-v.Keep)
	for {
		v.mu.Lock()
		if !v.at.Before(oldest) {
			defer v.mu.Unlock()
			return v.version, nil
		}
		if others := v.reading; others != nil {
			v.mu.Unlock()
			select {
			case <-others.done:
				if others.err != nil {
					return 0, others.err
				}
				continue
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		r := &reading{done: make(chan struct{})}
		v.reading = r
		v.mu.Unlock()
		return v.read(ctx, r, read)
	}
}

// read reads the number. One that was changed meanwhile is given to this caller
// alone, who asked before.
func (v *Version) read(ctx context.Context, r *reading, read func(context.Context) (int64, error)) (version int64, err error) {
	v.mu.Lock()
	changes, now := v.changes, time.Now()
	v.mu.Unlock()
	defer func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.reading = nil; err == nil && v.changes == changes {
			v.version, v.at = version, now
		}
		r.err = err
		close(r.done)
	}()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), longest)
	defer cancel()
	return read(ctx)
}

// Changed has the number read anew: this process changed it.
func (v *Version) Changed() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.changes++
	v.at = time.Time{}
}
