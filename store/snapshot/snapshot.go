// Package snapshot carries a store's open view in a context, so that whoever
// reads under it reads of one instant.
package snapshot

import (
	"context"
	"sync/atomic"
)

// key is under what a context has the view of a store.
type key struct{ store any }

// shared is that view, until With ends.
type shared[V any] struct{ view atomic.Pointer[V] }

// With gives fn a context that has the view of the store until fn returns.
func With[V any](ctx context.Context, store any, view *V, fn func(ctx context.Context) error) error {
	in := new(shared[V])
	in.view.Store(view)
	defer in.view.Store(nil)
	return fn(context.WithValue(ctx, key{store}, in))
}

// Of gives the view of the store that the context has; nil when it has none.
func Of[V any](ctx context.Context, store any) *V {
	if in, ok := ctx.Value(key{store}).(*shared[V]); ok {
		return in.view.Load()
	}
	return nil
}
