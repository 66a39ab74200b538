package forecast

import "math"

// A reach is how far the paths of a view may go, at one origin. Trends are carried
// on by most methods, and after one odd day a trend fitted to it doubles use each
// day, or ends it: what nobody has seen is only expected where the series has been
// on its way there.
type reach struct {
	low, high float64 // what was seen
	// drift is how much a step the level has moved: between the medians of the last
	// values and of as many before them, which odd ones do not move.
	drift float64
	known bool // drift is
}

const (
	// fewestLevels is over how many values at least a level is taken for the drift.
	fewestLevels = 7
	// mostDrift is how much faster than it has moved a level may go on; where few
	// values tell how it has, no faster.
	mostDrift = 2.0
	few       = 4 // values in each of the two halves
)

// reaches notes for each origin what the view has seen there.
func (v *view) reaches(e *engine) {
	v.seen = v.seen[:0]
	done, from := -1, 0
	var r reach
	for o, at := range e.origins {
		if c := e.checkpoint(v, o); c != done {
			done, from, r = c, 0, reach{low: math.Inf(1), high: math.Inf(-1)}
		}
		for _, x := range v.less[done][from:at] {
			// Quicker than min and max, which look after NaN.
			if x < r.low {
				r.low = x
			}
			if x > r.high {
				r.high = x
			}
		}
		from = at
		v.seen = append(v.seen, r)
	}
}

// hold bounds a path, before the cycles are put back: it goes beyond what was seen
// no faster than the level has moved.
func (v *view) hold(p, x []float64, r *reach) {
	beyond := false
	for _, a := range p {
		if a > r.high || a < r.low {
			beyond = true
			break
		}
	}
	if !beyond {
		return
	}
	w := min(max(len(p), fewestLevels), len(x)/2)
	if !r.known {
		r.known, r.drift = true, v.drift(x, w)
	}
	up, down := max(0, r.drift), min(0, r.drift)
	if w >= few {
		up, down = mostDrift*up, mostDrift*down
	}
	for i, a := range p {
		k := float64(min(i+1, w)) // for no longer than it is known to have moved
		p[i] = min(max(a, r.low+k*down), r.high+k*up)
	}
}

// drift is a reach's, over the last w values and the w before; one value and
// another make no drift.
func (v *view) drift(x []float64, w int) float64 {
	if w < 2 {
		return 0
	}
	n := len(x)
	v.buf = append(v.buf[:0], x[n-w:]...)
	last := medianOf(v.buf)
	v.buf = append(v.buf[:0], x[n-2*w:n-w]...)
	return (last - medianOf(v.buf)) / float64(w)
}
