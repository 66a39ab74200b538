package usance

// SelectNth gives the value that sorting would put at index k, from 0 to
// len(v)-1, and moves the values so that no greater one stands before it (Hoare's
// selection): medians of many values are what sorting takes too long for.
func SelectNth(v []float64, k int) float64 {
	rest, at := v, k
	for len(rest) > 1 {
		a, b, c := rest[0], rest[len(rest)/2], rest[len(rest)-1]
		pivot := max(min(a, b), min(max(a, b), c))
		n := smaller(rest, pivot)
		if at < n {
			rest = rest[:n]
			continue
		}
		rest, at = rest[n:], at-n
		if n = notGreater(rest, pivot); at < n {
			return pivot
		}
		rest, at = rest[n:], at-n
	}
	return rest[at]
}

// smaller moves the values that are smaller than pivot to the front, and gives their
// number. It is added to without a branch, which would be mispredicted half of the
// time: that takes less than half as long.
func smaller(v []float64, pivot float64) (n int) {
	for i, x := range v {
		v[i], v[n] = v[n], x
		one := 0
		if x < pivot {
			one = 1
		}
		n += one
	}
	return n
}

// notGreater does so with the values that are not greater.
func notGreater(v []float64, pivot float64) (n int) {
	for i, x := range v {
		v[i], v[n] = v[n], x
		one := 1
		if x > pivot {
			one = 0
		}
		n += one
	}
	return n
}
