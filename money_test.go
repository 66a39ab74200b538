package usance

import (
	"encoding/json"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func rate(t rapid.TB, s string) Rate {
	t.Helper()
	r, err := ParseRate(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestParseRate(t *testing.T) {
	for s, want := range map[string]string{
		"0": "0", "0.000": "0", "0e9": "0", "12": "12", "012": "12", "12.50": "12.5", "100": "100", "1e2": "100",
		"5e-3": "0.005", "1.5E+1": "15", "0.000000000001": "0.000000000001", "1e-12": "0.000000000001",
		"999999999999.999999999999": "999999999999.999999999999", "1.0000000000000000": "1",
	} {
		if got, err := ParseRate(s); err != nil || got.String() != want {
			t.Errorf("ParseRate(%q) = %s, %v; want %s", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "-1", "-0", "+1", ".5", "NaN", "nan", "sNaN", "Infinity", "inf", "1e", "1e999999999", "1e-999999999", "1e99999999999999999999",
		"0e999999999", "1000000000000", "1e12", "0.0000000000001", "1e-13", "1,5", "1.2.3", "1_000", " 1", "1 ", "0x10", "١",
		"1" + strings.Repeat("0", 100), "0." + strings.Repeat("0", 100),
	} {
		if got, err := ParseRate(s); ErrorCode(err) != CodeValidation {
			t.Errorf("ParseRate(%q) = %s, %v; want a validation error", s, got, err)
		}
	}
	if rate(t, "1.50") != rate(t, "15e-1") {
		t.Error("equal rates differ")
	}
	if !rate(t, "0.0").IsZero() || !(Rate{}).IsZero() || !(Rate{}).Equal(rate(t, "0")) || rate(t, "1e-12").IsZero() {
		t.Error("zero is not zero")
	}
}

func TestRateJSON(t *testing.T) {
	for in, want := range map[string]string{
		`12`: `12`, `0.05`: `0.05`, `"0.05"`: `0.05`, `1e-7`: `0.0000001`, `"12"`: `12`,
		`0.1`:                       `0.1`,
		`123456789012.345`:          `123456789012.345`,
		`123456789012.3456`:         `"123456789012.3456"`,
		`100000000000`:              `100000000000`,
		`999999999999.999999999999`: `"999999999999.999999999999"`,
	} {
		var r Rate
		if err := json.Unmarshal([]byte(in), &r); err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if out, err := json.Marshal(r); err != nil || string(out) != want {
			t.Errorf("%s came out as %s, %v; want %s", in, out, err, want)
		}
	}
	for _, in := range []string{`null`, `""`, `true`, `{}`, `[]`, `-1`, `"-1"`, `"NaN"`, `1e300`, `"\ud800"`} {
		r := rate(t, "7")
		if err := json.Unmarshal([]byte(in), &r); ErrorCode(err) != CodeValidation {
			t.Errorf("%s was read as %s, %v", in, r, err)
		}
	}
	if out, err := rate(t, "1.50").MarshalText(); err != nil || string(out) != "1.5" {
		t.Errorf("as text: %s, %v", out, err)
	}
	var missing struct {
		R *Rate `json:"r"`
	}
	if err := json.Unmarshal([]byte(`{"r":null}`), &missing); err != nil || missing.R != nil {
		t.Errorf("an optional rate: %v, %v", missing.R, err)
	}
}

func TestFee(t *testing.T) {
	flat := func(s string) Price { r := rate(t, s); return Price{Rate: &r} }
	tiers := Price{Tiers: []Tier{{100, rate(t, "5")}, {1000, rate(t, "2.5")}, {0, rate(t, "0.125")}}}
	for _, c := range []struct {
		price    Price
		quantity int64
		want     int64
	}{
		{Price{}, 1000, 0},
		{flat("5"), 0, 0},
		{flat("5"), -3, 0},
		{flat("5"), math.MinInt64, 0},
		{flat("5"), 7, 35},
		{flat("0"), 7, 0},
		{flat("0.5"), 1, 0}, // 0.5 to even
		{flat("0.5"), 3, 2}, // 1.5 to even
		{flat("0.5"), 5, 2}, // 2.5 to even
		{flat("0.500000000001"), 1, 1},
		{flat("0.499999999999"), 1, 0},
		{flat("0.1"), 1_000_000_000_000_000, 100_000_000_000_000},
		{flat("0.000000000001"), 1_000_000_000_000_000, 1000},
		{flat("100"), 1_000_000_000_000_000, MaxCents},
		{flat("0.010842021724"), math.MaxInt64, 99_999_999_992_113_608}, // …607.93
		{tiers, 1, 5},
		{tiers, 100, 500},
		{tiers, 101, 502},   // 502.5 to even
		{tiers, 103, 508},   // 507.5 to even
		{tiers, 1000, 2750}, // 500 + 900 × 2.5
		{tiers, 1004, 2750}, // 2750.5 to even
		{tiers, 1012, 2752}, // 2751.5 to even
		{tiers, 2000, 2875},
	} {
		if got, err := c.price.Fee(c.quantity); err != nil || got != c.want {
			t.Errorf("fee of %d units at %v = %d, %v; want %d", c.quantity, c.price, got, err, c.want)
		}
	}
	for _, c := range []struct {
		price    Price
		quantity int64
	}{
		{flat("100.000000000001"), 1_000_000_000_000_000},
		{flat("999999999999.999999999999"), math.MaxInt64},
		{flat("1"), MaxCents + 1},
	} {
		if got, err := c.price.Fee(c.quantity); ErrorCode(err) != CodeValidation {
			t.Errorf("fee of %d units at %s = %d, %v; want an error", c.quantity, c.price.Rate, got, err)
		}
	}
}

// exactFee prices units tier by tier with rational numbers and rounds once.
func exactFee(p Price, quantity int64) *big.Int {
	tiers := p.Tiers
	if p.Rate != nil {
		tiers = []Tier{{0, *p.Rate}}
	}
	sum := new(big.Rat)
	var below int64
	for _, t := range tiers {
		in := quantity - below
		if t.UpTo != 0 {
			in = min(in, t.UpTo-below)
		}
		if in <= 0 {
			break
		}
		price, _ := new(big.Rat).SetString(t.RateCents.String())
		sum.Add(sum, price.Mul(price, new(big.Rat).SetInt64(in)))
		below = t.UpTo
	}
	whole, rest := new(big.Int).QuoRem(sum.Num(), sum.Denom(), new(big.Int))
	twice := rest.Lsh(rest, 1)
	if c := twice.Cmp(sum.Denom()); c > 0 || c == 0 && whole.Bit(0) == 1 {
		whole.Add(whole, big.NewInt(1))
	}
	return whole
}

func drawRate(t *rapid.T, label string) Rate {
	return rate(t, rapid.StringMatching(`[0-9]{1,12}(\.[0-9]{1,12})?`).Draw(t, label))
}

func drawPrice(t *rapid.T) Price {
	if rapid.Bool().Draw(t, "flat") {
		r := drawRate(t, "rate")
		return Price{Rate: &r}
	}
	bounds := rapid.SliceOfNDistinct(rapid.Int64Range(1, 200), 0, 5, rapid.ID[int64]).Draw(t, "bounds")
	slices.Sort(bounds)
	var p Price
	for _, b := range append(bounds, 0) {
		p.Tiers = append(p.Tiers, Tier{b, drawRate(t, "rate")})
	}
	return p
}

func TestFeeIsTheSumOverUnitsRoundedOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPrice(t)
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
		// Small quantities are priced unit by unit, to check exactFee too.
		quantity := rapid.Int64Range(0, 300).Draw(t, "quantity")
		sum := new(big.Rat)
		for unit := int64(1); unit <= quantity; unit++ {
			r := p.Rate
			for i := range p.Tiers {
				if r == nil && (p.Tiers[i].UpTo == 0 || unit <= p.Tiers[i].UpTo) {
					r = &p.Tiers[i].RateCents
				}
			}
			price, _ := new(big.Rat).SetString(r.String())
			sum.Add(sum, price)
		}
		exact := exactFee(p, quantity)
		off := new(big.Rat).Sub(sum, new(big.Rat).SetInt(exact))
		if off.Abs(off).Cmp(big.NewRat(1, 2)) > 0 {
			t.Fatalf("%d units cost %s, not %s", quantity, sum.FloatString(12), exact)
		}
		if fee, err := p.Fee(quantity); err != nil || exact.Cmp(big.NewInt(fee)) != 0 {
			t.Fatalf("fee of %d units = %d, %v; want %s", quantity, fee, err, exact)
		}

		large := rapid.Int64Range(1, math.MaxInt64).Draw(t, "large quantity")
		exact = exactFee(p, large)
		fee, err := p.Fee(large)
		if tooMuch := exact.Cmp(big.NewInt(MaxCents)) > 0; tooMuch != (err != nil) || err == nil && exact.Cmp(big.NewInt(fee)) != 0 {
			t.Fatalf("fee of %d units = %d, %v; want %s", large, fee, err, exact)
		}
	})
}

func TestPriceValidate(t *testing.T) {
	one := rate(t, "1")
	for _, p := range []Price{
		{},
		{Rate: &one},
		{Tiers: []Tier{{0, one}}},
		{Tiers: []Tier{{1, rate(t, "0")}, {MaxTotal, one}, {0, one}}},
	} {
		if err := p.Validate(); err != nil {
			t.Errorf("%v: %v", p, err)
		}
	}
	for _, c := range []struct {
		price Price
		field string
	}{
		{Price{Rate: &one, Tiers: []Tier{{0, one}}}, "overageTiers"},
		{Price{Rate: new(Rate)}, "overageRateCents"},
		{Price{Tiers: []Tier{{10, one}}}, "overageTiers[0].upTo"},
		{Price{Tiers: []Tier{{0, one}, {0, one}}}, "overageTiers[0].upTo"},
		{Price{Tiers: []Tier{{-1, one}, {0, one}}}, "overageTiers[0].upTo"},
		{Price{Tiers: []Tier{{10, one}, {10, one}, {0, one}}}, "overageTiers[1].upTo"},
		{Price{Tiers: []Tier{{MaxTotal + 1, one}, {0, one}}}, "overageTiers[0].upTo"},
		{Price{Tiers: []Tier{{10, one}, {}}}, "overageTiers[1].rateCents"},
		{Price{Tiers: make([]Tier, MaxTiers+1)}, "overageTiers"},
	} {
		err := c.price.Validate()
		if e, ok := err.(*Error); !ok || e.Field != c.field {
			t.Errorf("%v: %v; want an error of %s", c.price, err, c.field)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		total         int64
		weights, want []int64
	}{
		{100, []int64{1}, []int64{100}},
		{100, []int64{1, 1, 1}, []int64{34, 33, 33}},
		{-100, []int64{1, 1, 1}, []int64{-34, -33, -33}},
		{101, []int64{1, 1, 1}, []int64{34, 34, 33}},
		{10, []int64{7000, 3000}, []int64{7, 3}},
		{1, []int64{3333, 3334, 3333}, []int64{0, 1, 0}},
		{5, []int64{0, 1, 0, 1}, []int64{0, 3, 0, 2}},
		{0, []int64{1, 2}, []int64{0, 0}},
		{math.MaxInt64, []int64{math.MaxInt64, math.MaxInt64, math.MaxInt64}, []int64{3074457345618258603, 3074457345618258602, 3074457345618258602}},
		{math.MinInt64, []int64{1, 1, 1}, []int64{-3074457345618258603, -3074457345618258603, -3074457345618258602}},
		{math.MinInt64, []int64{1}, []int64{math.MinInt64}},
	} {
		if got, err := Split(c.total, c.weights); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("Split(%d, %v) = %v, %v; want %v", c.total, c.weights, got, err, c.want)
		}
	}
	for _, weights := range [][]int64{nil, {0, 0}, {2, -1}} {
		if got, err := Split(10, weights); err == nil {
			t.Errorf("Split(10, %v) = %v", weights, got)
		}
	}
}

func TestSplitProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.Int64().Draw(t, "total")
		weights := rapid.SliceOfN(rapid.Int64Range(0, math.MaxInt64), 1, 20).Draw(t, "weights")
		parts, err := Split(total, weights)
		sum := new(big.Int)
		for _, w := range weights {
			sum.Add(sum, big.NewInt(w))
		}
		if sum.Sign() == 0 {
			if err == nil {
				t.Fatalf("no weight, yet %v", parts)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		all := new(big.Int)
		for i, p := range parts {
			all.Add(all, big.NewInt(p))
			exact := new(big.Int).Mul(big.NewInt(total), big.NewInt(weights[i]))
			off := new(big.Int).Mul(big.NewInt(p), sum)
			if off.Sub(off, exact).CmpAbs(sum) >= 0 {
				t.Fatalf("part %d of %v is off its share by a unit or more", i, parts)
			}
		}
		if all.Cmp(big.NewInt(total)) != 0 {
			t.Fatalf("%v sum to %s, not %d", parts, all, total)
		}
	})
}

func FuzzParseRate(f *testing.F) {
	for _, s := range []string{"0", "12.50", "1e-12", "999999999999.999999999999", "NaN", "-1", "1e999999999", "0e5"} {
		f.Add(s)
	}
	plain := regexp.MustCompile(`^(0|[1-9][0-9]{0,11})(\.[0-9]{0,11}[1-9])?$`)
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRate(s)
		if err != nil {
			if ErrorCode(err) != CodeValidation {
				t.Fatalf("ParseRate(%q): %v", s, err)
			}
			return
		}
		if !plain.MatchString(r.String()) {
			t.Fatalf("ParseRate(%q) = %q", s, r)
		}
		if again, err := ParseRate(r.String()); err != nil || again != r {
			t.Fatalf("%q read back: %q, %v", r, again, err)
		}
		want, ok := new(big.Rat).SetString(s)
		got, _ := new(big.Rat).SetString(r.String())
		if ok && want.Cmp(got) != 0 {
			t.Fatalf("ParseRate(%q) = %q", s, r)
		}
		out, err := json.Marshal(r)
		var back Rate
		if err != nil || json.Unmarshal(out, &back) != nil || back != r {
			t.Fatalf("%q became %s, %v", r, out, err)
		}
	})
}
