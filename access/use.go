package access

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/usance/usance"
)

// recordEvery is how often it is recorded which keys are used: with each
// request would be a write for each read.
const recordEvery = time.Minute

// use notes that a stored key is used now.
func (a *Access) use(id string) {
	now := a.now().UnixMicro()
	if at, ok := a.used.Load(id); ok {
		at.(*atomic.Int64).Store(now)
		return
	}
	first := new(atomic.Int64)
	first.Store(now)
	a.used.LoadOrStore(id, first)
}

// Run records each minute which keys were used, and once more when ctx ends.
func (a *Access) Run(ctx context.Context, log *slog.Logger) error {
	tick := time.NewTicker(recordEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := a.Record(ctx); err != nil && ctx.Err() == nil {
				log.WarnContext(ctx, "the use of keys was not recorded; it is tried again", "error", err)
			}
		case <-ctx.Done():
			last, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer done()
			return a.Record(last)
		}
	}
}

// Record records which keys were used since it was last called.
func (a *Access) Record(ctx context.Context) error {
	used := make(map[string]time.Time)
	a.used.Range(func(id, at any) bool {
		a.used.Delete(id)
		used[id.(string)] = time.UnixMicro(at.(*atomic.Int64).Load()).UTC()
		return true
	})
	if len(used) == 0 {
		return nil
	}
	err := a.store.UseAPIKeys(ctx, used)
	if err != nil { // they are not lost, unless they were used again
		for id, at := range used {
			again := new(atomic.Int64)
			again.Store(at.UnixMicro())
			a.used.LoadOrStore(id, again)
		}
	}
	return err
}

// ShowUse gives stored keys with their latest use, recorded yet or not.
func (a *Access) ShowUse(keys []usance.APIKey) {
	for i := range keys {
		if at, ok := a.used.Load(keys[i].ID); ok {
			t := time.UnixMicro(at.(*atomic.Int64).Load()).UTC()
			keys[i].LastUsedAt = &t
		}
	}
}
