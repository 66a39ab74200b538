package api

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/usance/usance"
)

// superUnwrap reads superjson's envelope {"json": …, "meta": {"values": …}}:
// the plain value, with what JSON has no words for put as this API reads it.
// Dates are timestamps already; undefined is taken out; big integers become
// numbers. What else superjson can say no input has a use for, and is refused.
// super is false when the value is no such envelope.
func superUnwrap(v jsontext.Value) (plain jsontext.Value, super bool, err error) {
	var members map[string]jsontext.Value
	if json.Unmarshal(v, &members) != nil {
		members = nil // decoding says what is wrong with it
	}
	plain, ok := members["json"]
	if !ok || len(members) > 2 || len(members) == 2 && members["meta"] == nil {
		return nil, false, nil
	}
	var meta struct {
		Values jsontext.Value `json:"values"`
		V      float64        `json:"v"`
	}
	if m := members["meta"]; len(m) > 0 {
		if err := json.Unmarshal(m, &meta); err != nil {
			return nil, true, usance.Invalid("meta", "is not superjson's")
		}
	}
	if len(meta.Values) > 0 {
		tree, err := parseAnnotations(meta.Values, meta.V >= 1)
		if err != nil {
			return nil, true, err
		}
		if plain, err = tree.apply(plain, ""); err != nil {
			return nil, true, err
		}
	}
	if plain.Kind() == 'n' {
		plain = nil
	}
	return plain, true, nil
}

// superWrap puts an answer into superjson's envelope. Answers hold nothing that
// needs annotation: times are strings in the types as well.
func superWrap(v jsontext.Value, super bool) jsontext.Value {
	if !super {
		return v
	}
	return append(append(jsontext.Value(`{"json":`), v...), '}')
}

// annotation is superjson's note on a value and on those within it.
type annotation struct {
	kind   string
	within map[string]*annotation
}

func (n *annotation) child(name string) *annotation {
	if n.within == nil {
		n.within = make(map[string]*annotation)
	}
	c := n.within[name]
	if c == nil {
		c = new(annotation)
		n.within[name] = c
	}
	return c
}

// parseAnnotations reads meta.values: {"path": …} for what is within a value,
// or ["kind"] and ["kind", {"path": …}] for a value itself.
func parseAnnotations(v jsontext.Value, escaped bool) (*annotation, error) {
	root := new(annotation)
	return root, root.read(v, escaped)
}

var errAnnotations = usance.Invalid("meta.values", "is not superjson's")

func (n *annotation) read(v jsontext.Value, escaped bool) error {
	switch v.Kind() {
	case '{':
		var paths map[string]jsontext.Value
		if json.Unmarshal(v, &paths) != nil {
			return errAnnotations
		}
		for path, sub := range paths {
			at := n
			for _, name := range splitPath(path, escaped) {
				at = at.child(name)
			}
			if err := at.read(sub, escaped); err != nil {
				return err
			}
		}
		return nil
	case '[':
		var parts []jsontext.Value
		if json.Unmarshal(v, &parts) != nil || len(parts) == 0 || len(parts) > 2 {
			return errAnnotations
		}
		if parts[0].Kind() == '[' { // a compound kind, such as ["custom", "Decimal"]
			n.kind = "custom"
		} else if json.Unmarshal(parts[0], &n.kind) != nil {
			return errAnnotations
		}
		if len(parts) == 2 {
			return n.read(parts[1], escaped)
		}
		return nil
	}
	return errAnnotations
}

// splitPath cuts a path at its dots; a backslash before a dot, and since
// version 1 before a backslash, makes it part of a name.
func splitPath(path string, escaped bool) []string {
	var out []string
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		next := byte(0)
		if i+1 < len(path) {
			next = path[i+1]
		}
		switch {
		case path[i] == '\\' && (next == '.' || escaped && next == '\\'):
			b.WriteByte(next)
			i++
		case path[i] == '.':
			out = append(out, b.String())
			b.Reset()
		default:
			b.WriteByte(path[i])
		}
	}
	return append(out, b.String())
}

// apply puts a value as the annotations mean it; nil stands for undefined.
func (n *annotation) apply(v jsontext.Value, field string) (jsontext.Value, error) {
	switch n.kind {
	case "":
	case "undefined":
		return nil, nil
	case "Date", "set", "URL": // a string, a list, a string
		if n.kind == "Date" && v.Kind() != '"' { // an invalid date is null
			return nil, usance.Invalid(field, "is not a valid date")
		}
	case "bigint":
		var digits string
		if json.Unmarshal(v, &digits) != nil || !jsontext.Value(digits).IsValid() || jsontext.Value(digits).Kind() != '0' {
			return nil, usance.Invalid(field, "is not a whole number")
		}
		v = jsontext.Value(digits)
	case "number":
		var text string
		if json.Unmarshal(v, &text) != nil || text != "-0" {
			return nil, usance.Invalid(field, "must be a number; %s is none", usance.Clip(string(v)))
		}
		v = jsontext.Value("0")
	default:
		return nil, usance.Invalid(field, "must not be a %s", usance.Clip(n.kind))
	}
	if len(n.within) == 0 {
		return v, nil
	}
	switch v.Kind() {
	case '{':
		return n.applyObject(v, field)
	case '[':
		return n.applyArray(v, field)
	}
	return nil, errAnnotations
}

func (n *annotation) applyObject(v jsontext.Value, field string) (jsontext.Value, error) {
	var members map[string]jsontext.Value
	if err := json.Unmarshal(v, &members); err != nil {
		return nil, jsonFault(err)
	}
	for _, name := range sortedKeys(n.within) {
		m, ok := members[name]
		if !ok {
			return nil, errAnnotations
		}
		path := name
		if field != "" {
			path = field + "." + name
		}
		m, err := n.within[name].apply(m, path)
		if err != nil {
			return nil, err
		}
		if m == nil {
			delete(members, name)
			continue
		}
		members[name] = m
	}
	return remarshal(members)
}

func (n *annotation) applyArray(v jsontext.Value, field string) (jsontext.Value, error) {
	var items []jsontext.Value
	if err := json.Unmarshal(v, &items); err != nil {
		return nil, jsonFault(err)
	}
	for i := range items {
		sub := n.within[strconv.Itoa(i)]
		if sub == nil {
			continue
		}
		m, err := sub.apply(items[i], field+"["+strconv.Itoa(i)+"]")
		if err != nil {
			return nil, err
		}
		if m == nil {
			m = jsontext.Value("null")
		}
		items[i] = m
	}
	return remarshal(items)
}

func remarshal(v any) (jsontext.Value, error) {
	out, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return nil, jsonFault(err)
	}
	return out, nil
}
