package forecast

import (
	"math"
	"testing"
)

func TestSolve(t *testing.T) {
	a := [][]float64{{4, 0, 0}, {2, 5, 0}, {-2, 1, 6}} // the lower half of a symmetric matrix
	want := []float64{1, -2, 3}
	v := []float64{4*1 + 2*-2 + -2*3, 2*1 + 5*-2 + 1*3, -2*1 + 1*-2 + 6*3}
	if !solve(a, v) {
		t.Fatal("no solution")
	}
	for i := range want {
		if math.Abs(v[i]-want[i]) > 1e-12 {
			t.Errorf("x[%d] = %g, want %g", i, v[i], want[i])
		}
	}
	if solve([][]float64{{1, 0}, {2, 1}}, []float64{1, 1}) {
		t.Error("a matrix that is not positive definite was solved")
	}
}

// Quantiles of Student's t with five degrees of freedom, from any table.
func TestQuantileT(t *testing.T) {
	for p, want := range map[float64]float64{0.5: 0, 0.9: 1.476, 0.95: 2.015, 0.975: 2.571, 0.995: 4.032, 0.05: -2.015} {
		if got := quantileT(5, p); math.Abs(got-want) > 5e-4 {
			t.Errorf("quantile at %g: %.4f, want %g", p, got, want)
		}
	}
}
