// Package codec is what the stores write alike: breakdowns and cursors.
package codec

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/usance/usance"
)

// A breakdown is stored as JSON, {"hour":{"13":[2,5,0]},…}: each value with its
// events, quantity and revenue in cents, in a list or, {"hour":{"13":"2 5 0"},…}, in
// a text. A fold rewrites thousands of them a second, hence this writer and reader
// of nothing else.

// AppendBreakdown writes a breakdown with lists.
func AppendBreakdown(b []byte, breakdown usance.Breakdown) []byte {
	return appendBreakdown(b, breakdown, "[,]")
}

// AppendTexts writes a breakdown with texts. PostgreSQL takes a quarter of the time
// to make jsonb of them that it takes for numbers, and half the room.
func AppendTexts(b []byte, breakdown usance.Breakdown) []byte {
	return appendBreakdown(b, breakdown, `" "`)
}

// appendBreakdown writes what opens, parts and closes the numbers of a value.
func appendBreakdown(b []byte, breakdown usance.Breakdown, marks string) []byte {
	b = append(b, '{')
	first := true
	for _, d := range usance.Dimensions {
		values, ok := breakdown[d]
		if !ok {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = AppendQuoted(b, string(d))
		b = append(b, ':', '{')
		start := len(b)
		for value, t := range values {
			if len(b) > start {
				b = append(b, ',')
			}
			b = AppendQuoted(b, value)
			b = append(b, ':', marks[0])
			b = strconv.AppendInt(b, t.Events, 10)
			b = append(b, marks[1])
			b = strconv.AppendInt(b, t.Quantity, 10)
			b = append(b, marks[1])
			b = strconv.AppendInt(b, t.RevenueCents, 10)
			b = append(b, marks[2])
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

// AppendQuoted writes a JSON string.
func AppendQuoted(b []byte, s string) []byte {
	plain := true
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x7f {
			plain = false
			break
		}
	}
	if plain {
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	}
	quoted, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always marshals
	}
	return append(b, quoted...)
}

// ParseBreakdown reads what AppendBreakdown or AppendTexts wrote, with a space after
// colons and commas or without: PostgreSQL puts one there. The strings of the result
// share the memory of s.
func ParseBreakdown(s string) (usance.Breakdown, error) {
	p := parser{s: s}
	out := make(usance.Breakdown, len(usance.Dimensions))
	p.object(func(dimension string) {
		// Every value has one colon; far more dimensions hold few values.
		room := min(strings.Count(p.s[p.i:p.dimensionEnd()], ":"), usance.MaxBreakdownValues+1)
		values := make(map[string]usance.Tally, room)
		p.object(func(value string) {
			opens, parts, closes := byte('['), byte(','), byte(']')
			if p.peek('"') {
				opens, parts, closes = '"', ' ', '"'
			}
			p.expect(opens)
			events := p.integer()
			p.expect(parts)
			quantity := p.integer()
			p.expect(parts)
			revenue := p.integer()
			p.expect(closes)
			values[value] = usance.Tally{Events: events, Quantity: quantity, RevenueCents: revenue}
		})
		out[usance.Dimension(dimension)] = values
	})
	if p.bad || p.i != len(s) {
		return nil, fmt.Errorf("a stored breakdown is damaged at byte %d", p.i)
	}
	return out, nil
}

type parser struct {
	s   string
	i   int
	bad bool
}

// dimensionEnd guesses where the object at hand ends; braces in values only
// make the guess short.
func (p *parser) dimensionEnd() int {
	if end := strings.IndexByte(p.s[p.i:], '}'); end >= 0 {
		return p.i + end
	}
	return len(p.s)
}

func (p *parser) expect(c byte) {
	if p.i < len(p.s) && p.s[p.i] == c && !p.bad {
		p.i++
		if c != '"' { // what follows in a string is part of it
			p.space()
		}
		return
	}
	p.bad = true
}

// space passes the one space that may follow a token.
func (p *parser) space() {
	if p.peek(' ') {
		p.i++
	}
}

func (p *parser) peek(c byte) bool { return p.i < len(p.s) && p.s[p.i] == c }

// object calls member for each key, at the key's value.
func (p *parser) object(member func(key string)) {
	p.expect('{')
	if p.peek('}') {
		p.i++
		return
	}
	for !p.bad {
		key := p.text()
		p.expect(':')
		if p.bad {
			return
		}
		member(key)
		if !p.peek(',') {
			break
		}
		p.i++
		p.space()
	}
	p.expect('}')
}

func (p *parser) text() string {
	p.expect('"')
	start := p.i
	for ; p.i < len(p.s); p.i++ {
		switch p.s[p.i] {
		case '"':
			s := p.s[start:p.i]
			p.i++
			return s
		case '\\':
			return p.escaped(start)
		}
	}
	p.bad = true
	return ""
}

// escaped reads on in a string that has an escape.
func (p *parser) escaped(start int) string {
	for ; p.i < len(p.s) && p.s[p.i] != '"'; p.i++ {
		if p.s[p.i] == '\\' {
			p.i++
		}
	}
	p.i++
	var s string
	if p.i > len(p.s) || json.Unmarshal([]byte(p.s[start-1:p.i]), &s) != nil {
		p.bad = true
	}
	return s
}

func (p *parser) integer() int64 {
	negative := p.peek('-')
	if negative {
		p.i++
	}
	start := p.i
	var n int64
	for ; p.i < len(p.s) && p.s[p.i] >= '0' && p.s[p.i] <= '9'; p.i++ {
		n = n*10 + int64(p.s[p.i]-'0')
	}
	if p.i == start || p.i-start > 19 || n < 0 { // 19 digits pass what an integer holds by less than it wraps
		p.bad = true
	}
	if negative {
		return -n
	}
	return n
}
