//go:build race

package sim

// Under the race detector a seed takes ten times as long: what runs there looks
// for races, and a run without it sees to it that there were enough seeds.
func init() { raced = true }
