package usance

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/cockroachdb/apd/v3"
)

// MaxCents bounds every amount of money, in cents, in either sign.
const MaxCents = 100_000_000_000_000_000 // 10¹⁷

// MaxTiers bounds the tiers of one price.
const MaxTiers = 100

// maxRateDigits bounds a rate's digits before and after the decimal point.
const maxRateDigits = 12

// Rate is a price in cents for one unit: a decimal from 0, with at most 12 digits
// before and 12 after the point. Equal rates are equal under ==. The zero value
// means that no rate was given; it counts as 0, but a Price with it is invalid.
type Rate struct {
	// text is the plain decimal without superfluous zeros. A string rather than an
	// apd.Decimal, because that must not be copied by value.
	text string
}

// ParseRate reads a decimal such as 12, 0.05 or 5e-3. It refuses signs, what is
// not a number, and numbers that Rate cannot hold exactly.
func ParseRate(s string) (Rate, error) {
	text, err := canonicalRate(s)
	if err != nil {
		return Rate{}, Invalid("rateCents", "%v", err)
	}
	return Rate{text}, nil
}

func canonicalRate(s string) (string, error) {
	// A leading digit excludes signs, NaN and Infinity, all of which apd reads.
	if s == "" || len(s) > 64 || s[0] < '0' || s[0] > '9' {
		return "", fmt.Errorf("%q is not a decimal number of cents from 0", Clip(s))
	}
	d, _, err := apd.NewFromString(s)
	if err != nil {
		return "", fmt.Errorf("%q is not a decimal number of cents from 0, or it is out of bounds", s)
	}
	if d.IsZero() {
		return "0", nil
	}
	d.Reduce(d)
	if int64(d.Exponent)+d.NumDigits() > maxRateDigits || -d.Exponent > maxRateDigits {
		return "", fmt.Errorf("%q must have at most %d digits before and %[2]d after the decimal point", s, maxRateDigits)
	}
	return d.Text('f'), nil
}

// IsZero tells whether the rate is 0 or not given.
func (r Rate) IsZero() bool { return r.text == "" || r.text == "0" }

// Equal tells whether both are the same number of cents.
func (r Rate) Equal(other Rate) bool { return r.String() == other.String() }

// String gives the rate as a plain decimal, without exponent or superfluous zeros.
func (r Rate) String() string {
	if r.text == "" {
		return "0"
	}
	return r.text
}

// MarshalText writes what String gives.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what ParseRate reads.
func (r *Rate) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRate(string(text))
	return err
}

// MarshalJSON writes a plain JSON number of up to 15 digits and a string of more:
// JavaScript reads numbers as binary floats, which keep 15 digits and no more.
func (r Rate) MarshalJSON() ([]byte, error) {
	text := r.String()
	if len(strings.Trim(strings.Replace(text, ".", "", 1), "0")) > 15 {
		return []byte(`"` + text + `"`), nil
	}
	return []byte(text), nil
}

// UnmarshalJSON reads a number or a decimal string. It refuses null, which must
// not quietly mean free of charge.
func (r *Rate) UnmarshalJSON(data []byte) error {
	text := string(data)
	if text != "" && text[0] == '"' {
		if err := json.Unmarshal(data, &text); err != nil {
			return Invalid("rateCents", "is not a valid JSON string")
		}
	}
	return r.UnmarshalText([]byte(text))
}

func (r Rate) decimal() *apd.Decimal {
	d, _, err := apd.NewFromString(r.String())
	if err != nil {
		panic("usance: rate " + r.text) // only canonicalRate makes the text
	}
	return d
}

// Tier prices the units of an overage up to and including the UpTo-th.
type Tier struct {
	UpTo      int64 `json:"upTo"` // 1 to MaxTotal, rising; 0, without bound, on the last tier only
	RateCents Rate  `json:"rateCents"`
}

// Price says what the units of an overage cost: nothing set for no price, one
// rate for all units, or graduated tiers, where each unit costs the rate of the
// tier it falls into.
type Price struct {
	Rate  *Rate
	Tiers []Tier
}

// Equal tells whether both say the same of every unit in the same way.
func (p Price) Equal(o Price) bool {
	return (p.Rate == nil) == (o.Rate == nil) && (p.Rate == nil || p.Rate.Equal(*o.Rate)) &&
		slices.EqualFunc(p.Tiers, o.Tiers, func(a, b Tier) bool { return a.UpTo == b.UpTo && a.RateCents.Equal(b.RateCents) })
}

// Validate checks that the price is one that Fee can apply to any quantity.
func (p Price) Validate() error {
	if p.Rate != nil && len(p.Tiers) > 0 {
		return Invalid("overageTiers", "give either overageRateCents or overageTiers")
	}
	if p.Rate != nil && p.Rate.text == "" {
		return Invalid("overageRateCents", "is required")
	}
	if len(p.Tiers) > MaxTiers {
		return Invalid("overageTiers", "must not have more than %d tiers", MaxTiers)
	}
	var below int64
	for i, t := range p.Tiers {
		upTo := fmt.Sprintf("overageTiers[%d].upTo", i)
		last := i == len(p.Tiers)-1
		switch {
		case last && t.UpTo != 0:
			return Invalid(upTo, "must be 0, for no bound, on the last tier: every unit needs a rate")
		case !last && (t.UpTo <= below || t.UpTo > MaxTotal):
			return Invalid(upTo, "must be above %d and at most %d", below, int64(MaxTotal))
		case t.RateCents.text == "":
			return Invalid(fmt.Sprintf("overageTiers[%d].rateCents", i), "is required")
		}
		below = t.UpTo
	}
	return nil
}

// feeContext holds every sum exactly: 19 digits of quantity times 24 of rate.
var feeContext = apd.Context{
	Precision:   60,
	MaxExponent: apd.MaxExponent,
	MinExponent: apd.MinExponent,
	Traps:       apd.DefaultTraps,
	Rounding:    apd.RoundHalfEven,
}

// Fee gives the price of a quantity of units over the limit, in cents. It
// is computed exactly and rounded once, half to even. A quantity below 1 costs
// nothing; a fee above MaxCents is an error. The price must be valid.
func (p Price) Fee(quantity int64) (int64, error) { return p.between(0, quantity) }

// between gives what Fee(upTo) is more than Fee(from), where that is at most
// MaxCents, be the two ever so large.
func (p Price) between(from, upTo int64) (int64, error) {
	var below, fee apd.Decimal
	if err := p.fee(&below, from); err != nil {
		return 0, err
	}
	if err := p.fee(&fee, upTo); err != nil {
		return 0, err
	}
	if _, err := feeContext.Sub(&fee, &fee, &below); err != nil {
		return 0, WrapError(err, CodeInternal, "the fee of %d units cannot be computed", upTo)
	}
	cents, err := fee.Int64()
	if err != nil || cents > MaxCents {
		return 0, errFee(upTo)
	}
	return cents, nil
}

func errFee(units int64) *Error {
	return Invalid("overageRateCents", "the fee of %d units passes %d cents", units, int64(MaxCents))
}

// fee sets fee to the price of a quantity in whole cents.
func (p Price) fee(fee *apd.Decimal, quantity int64) error {
	tiers := p.Tiers
	if p.Rate != nil {
		tiers = []Tier{{RateCents: *p.Rate}}
	}
	var part, units apd.Decimal
	var below int64
	exact := apd.MakeErrDecimal(&feeContext)
	for _, t := range tiers {
		if quantity <= below {
			break
		}
		upTo := quantity
		if t.UpTo != 0 {
			upTo = min(quantity, t.UpTo)
		}
		units.SetInt64(upTo - below)
		exact.Mul(&part, &units, t.RateCents.decimal())
		exact.Add(fee, fee, &part)
		below = upTo
	}
	if exact.Flags.Inexact() {
		return NewError(CodeInternal, "the fee of %d units is not exact", quantity)
	}
	exact.Quantize(fee, fee, 0)
	if err := exact.Err(); err != nil {
		return WrapError(err, CodeInternal, "the fee of %d units cannot be computed", quantity)
	}
	return nil
}

// Split divides total into one part per weight, in proportion, so that the parts
// sum to total exactly: each part is its exact share rounded toward 0, and what
// is left goes one by one to the largest remainders, of equal ones to the first.
// Weights must not be negative nor all be 0; a weight of 0 gets 0.
func Split(total int64, weights []int64) ([]int64, error) {
	sum := new(big.Int)
	for i, w := range weights {
		if w < 0 {
			return nil, fmt.Errorf("split: weight %d is negative: %d", i, w)
		}
		sum.Add(sum, big.NewInt(w))
	}
	if sum.Sign() == 0 {
		return nil, fmt.Errorf("split: the %d weights sum to 0", len(weights))
	}

	// QuoRem truncates toward 0, so shares and remainders have the sign of total.
	parts := make([]int64, len(weights))
	remainders := make([]big.Int, len(weights))
	order := make([]int, len(weights))
	left := total
	bigTotal := big.NewInt(total)
	for i, w := range weights {
		share := new(big.Int).Mul(bigTotal, big.NewInt(w))
		share.QuoRem(share, sum, &remainders[i])
		parts[i] = share.Int64()
		left -= parts[i]
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(remainders[b].CmpAbs(&remainders[a]), a-b)
	})
	one := int64(1)
	if total < 0 {
		one = -1
	}
	for i := 0; left != 0; i++ {
		parts[order[i]] += one
		left -= one
	}
	return parts, nil
}
