// Package usance counts how licensed creative work is used.
//
// Creators' assets are licensed to brands. Each view, download or print under
// a licence is an Event; it is counted once, on the local day of the licence,
// and held against the licence's Thresholds as it is counted. What passes a
// threshold that bills is an Overage; what reaches a warning level raises an
// Alert.
//
// This package holds the nouns of that, one file each, with their validation
// and their arithmetic, and the contract that a Store must hold to (store.go).
// It does no I/O of its own, has no clock and starts no goroutine: what must be
// read or written goes through the contract, which a few functions here do
// because several stages need the same of it: Recount, CheckCounters, CheckStrays,
// MendCounters and Consequences.Write.
//
// Each step of an event's way is a package that imports this one and no other
// step: ingest, fold, query, billing; catalog changes what events are judged
// by, access says who may, and api speaks for all of them.
package usance
