package usance

import "testing"

// A sketch contains what was merged into it, in whatever order and however many
// times it was stored meanwhile, and nothing that would change it: small ones
// hold each session, large ones registers.
func TestSessionsContain(t *testing.T) {
	hash := func(n uint64) uint64 { // of SplitMix64
		n *= 0x9E3779B97F4A7C15
		n = (n ^ n>>30) * 0xBF58476D1CE4E5B9
		n = (n ^ n>>27) * 0x94D049BB133111EB
		return n ^ n>>31
	}
	contains := func(s, o *Sessions) bool {
		t.Helper()
		before := s.Estimate()
		ok, err := s.Contains(o)
		if err != nil {
			t.Fatal(err)
		}
		if s.Estimate() != before {
			t.Fatalf("asking changed %d to %d", before, s.Estimate())
		}
		return ok
	}
	check := func(n, parts uint64) {
		t.Helper()
		var stored, fresh Sessions
		for p := range parts {
			var part Sessions
			for i := p; i < n; i += parts {
				part.Add(hash(i + 1))
			}
			if err := stored.Merge(&part); err != nil {
				t.Fatal(err)
			}
			b, err := stored.MarshalBinary()
			if err == nil {
				err = stored.UnmarshalBinary(b)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for i := n; i > 0; i-- {
			fresh.Add(hash(i))
		}
		var none Sessions
		if !contains(&stored, &fresh) || !contains(&fresh, &stored) || !contains(&stored, &none) || contains(&none, &fresh) {
			t.Fatalf("of %d sessions in %d parts: each contains the other and the empty one, which contains neither", n, parts)
		}
		if n <= 3000 {
			var more Sessions
			more.Add(hash(n + 1))
			if contains(&stored, &more) {
				t.Fatalf("%d sessions contain another", n)
			}
		}
		var half Sessions
		for i := range n / 2 {
			half.Add(hash(i + 1))
		}
		if !contains(&stored, &half) || contains(&half, &stored) {
			t.Fatalf("the whole of %d contains its half, the half not the whole", n)
		}
	}
	for _, n := range []uint64{1, 2, 160, 170, 3000, 5000, 8000, 40_000} {
		for _, parts := range []uint64{1, 2, 9} {
			check(n, parts)
		}
	}
}
