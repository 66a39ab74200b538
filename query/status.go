package query

import (
	"context"

	"github.com/usance/usance"
)

// AggregationStatus is how far folding has come, what is stored, and how the
// cache serves. It is about all licences together.
type AggregationStatus struct {
	usance.StoreStatus
	// FoldLagSeconds is the age of the oldest batch that is not folded. Answers
	// hold its events all the same.
	FoldLagSeconds float64     `json:"foldLagSeconds"`
	Cache          CacheStatus `json:"cache"`
}

// AggregationStatus tells how counting as a whole goes.
func (q *Query) AggregationStatus(ctx context.Context) (out AggregationStatus, err error) {
	err = q.store.View(ctx, func(v usance.View) error {
		out.StoreStatus, err = v.Status(ctx)
		return err
	})
	if err != nil {
		return out, err
	}
	if out.PendingBatches > 0 {
		out.FoldLagSeconds = max(0, q.now().Sub(out.OldestPending).Seconds())
	}
	out.Cache = q.CacheStatus()
	return out, nil
}

// CacheStatus tells how the cache serves.
func (q *Query) CacheStatus() CacheStatus {
	s := CacheStatus{
		Enabled: len(q.tiers) > 0, TTLSeconds: q.ttl.Seconds(),
		Hits: q.counts.hits.Load(), Misses: q.counts.misses.Load(),
	}
	s.HitPercent = percent(s.Hits, s.Hits+s.Misses)
	if !s.Enabled {
		return s
	}
	if m, ok := q.tiers[0].Cache.(memory); ok {
		s.Entries, s.Bytes = m.EstimatedSize(), int64(m.WeightedSize())
	}
	return s
}
