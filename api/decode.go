package api

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/usance/usance"
)

// marshalOptions are how answers are written: the tags of the nouns mean what
// encoding/json means by them, but empty lists are [] and never null.
var marshalOptions = json.JoinOptions(
	jsonv1.OmitEmptyWithLegacySemantics(true),
	jsonv1.FormatDurationAsNano(true),
	json.Deterministic(true),        // the same answer twice is the same bytes
	jsontext.AllowInvalidUTF8(true), // what was stored before it was refused must not make a 500
)

// maxBody bounds the body of an ordinary operation.
const maxBody = 1 << 20

// maxDepth bounds the nesting of any JSON that is read.
const maxDepth = 64

// field is a field of an input, with what its type and tags promise of it.
type field struct {
	name      string
	index     []int
	required  bool
	enum      []string
	min, max  *int64
	maxLength *int64 // characters
	pattern   *regexp.Regexp
	format    string
}

var fieldCache sync.Map // reflect.Type → map[string]field

// fieldsOf gives the JSON fields of a struct, those of embedded ones included.
func fieldsOf(t reflect.Type) map[string]field {
	if cached, ok := fieldCache.Load(t); ok {
		return cached.(map[string]field)
	}
	out := make(map[string]field)
	for _, sf := range reflect.VisibleFields(t) {
		name, opts, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if !sf.IsExported() || sf.Anonymous || name == "" || name == "-" {
			continue
		}
		f := field{name: name, index: sf.Index, required: !strings.Contains(opts, "omit")}
		f.enum = wordsOf(sf.Type)
		f.min, f.max, f.maxLength = bound(sf, "minimum"), bound(sf, "maximum"), bound(sf, "maxLength")
		if pattern := sf.Tag.Get("pattern"); pattern != "" {
			f.pattern = regexp.MustCompile(pattern)
		}
		f.format = sf.Tag.Get("format")
		out[name] = f
	}
	fieldCache.Store(t, out)
	return out
}

func bound(sf reflect.StructField, tag string) *int64 {
	s := sf.Tag.Get(tag)
	if s == "" {
		return nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("api: field %s: tag %s: %v", sf.Name, tag, err))
	}
	return &n
}

func requiredFields(t reflect.Type) []field {
	var out []field
	for _, f := range fieldsOf(t) {
		if f.required {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b field) int { return strings.Compare(a.name, b.name) })
	return out
}

// checkFields holds an input against what its schema promises: required fields,
// closed sets of words, bounds, lengths, patterns. given are the members that
// were sent: one that was left out takes its default, one that is 0 or empty
// does not.
func checkFields(t reflect.Type, v reflect.Value, given map[string]jsontext.Value) error {
	for _, sf := range reflect.VisibleFields(t) { // in the order of the struct
		name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		f, ok := fieldsOf(t)[name]
		if !ok {
			continue
		}
		fv := v.FieldByIndex(f.index)
		if f.required && fv.IsZero() {
			return usance.Invalid(name, "is required")
		}
		if _, sent := given[name]; !sent {
			continue
		}
		if err := f.check(fv); err != nil {
			return err
		}
	}
	return nil
}

func (f *field) check(v reflect.Value) error {
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.String {
			return nil
		}
		for i := range v.Len() {
			s := v.Index(i).String()
			if len(f.enum) > 0 && !slices.Contains(f.enum, s) {
				return usance.Invalid(f.name, "must hold only %s", strings.Join(f.enum, ", "))
			}
			if err := plainText(f.name, s); err != nil {
				return err
			}
		}
	case reflect.String:
		return f.checkText(v.String())
	case reflect.Int, reflect.Int64:
		n := v.Int()
		if f.min != nil && n < *f.min || f.max != nil && n > *f.max {
			return usance.Invalid(f.name, "must be an integer from %d to %d", deref(f.min), deref(f.max))
		}
	}
	return nil
}

func (f *field) checkText(s string) error {
	switch {
	case len(f.enum) > 0 && !slices.Contains(f.enum, s):
		return usance.Invalid(f.name, "must be one of %s", strings.Join(f.enum, ", "))
	case f.format == "date-or-instant" && s == "":
		return usance.Invalid(f.name, "must be a date YYYY-MM-DD or an RFC 3339 timestamp; leave it out for the default")
	case f.maxLength != nil && int64(utf8.RuneCountInString(s)) > *f.maxLength:
		return usance.Invalid(f.name, "must be at most %d characters", *f.maxLength)
	case f.pattern != nil && !f.pattern.MatchString(s):
		return usance.Invalid(f.name, "must match %s, as the document says", f.pattern)
	}
	return plainText(f.name, s)
}

// plainText refuses control characters but those of running text. PostgreSQL
// keeps no NUL, and nobody means the others.
func plainText(field, s string) error {
	for _, c := range []byte(s) {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
			return usance.Invalid(field, "must not hold control characters")
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func deref(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

// decodeObject reads one JSON object strictly: no unknown or repeated fields,
// no bad UTF-8, nothing after it, no deep nesting, no fraction where an integer
// belongs, no null. Faults name the field. An absent value is an empty object.
func decodeObject(v jsontext.Value, in any) error {
	if len(v) == 0 {
		v = jsontext.Value("{}")
	}
	if err := checkDepth(v); err != nil {
		return err
	}
	if v.Kind() == 'n' { // null decodes into anything
		return usance.Invalid("", "the input must be a JSON object")
	}
	if err := json.Unmarshal(v, in, json.RejectUnknownMembers(true), noNull); err != nil {
		return jsonFault(err)
	}
	return nil
}

// noNull refuses null, at any depth: it is what JavaScript writes for NaN and
// for dates that are none, and must not quietly stand for 0 or the default.
var noNull = json.WithUnmarshalers(json.UnmarshalFromFunc(func(d *jsontext.Decoder, _ any) error {
	if d.PeekKind() == 'n' {
		return errNull
	}
	return errors.ErrUnsupported
}))

var errNull = null("")

func null(field string) *usance.Error {
	return usance.Invalid(field, "must not be null; leave the field out, or give a value")
}

// checkDepth refuses values that are nested more than maxDepth levels.
func checkDepth(v []byte) error {
	depth, inString := 0, false
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case inString:
			switch c {
			case '\\':
				i++
			case '"':
				inString = false
			}
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return usance.Invalid("", "the JSON is nested more than %d levels", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// jsonFault turns an error of the JSON library into one that names the field.
func jsonFault(err error) error {
	var sem *json.SemanticError
	if errors.As(err, &sem) {
		path := usance.FieldPath(string(sem.JSONPointer))
		var known *usance.Error
		if errors.As(sem.Err, &known) {
			e := *known
			if path != "" {
				e.Field = path
			}
			return &e
		}
		if errors.Is(err, json.ErrUnknownName) {
			return usance.Invalid(path, "is not a field of this input; check its spelling (upper and lower case differ)")
		}
		return usance.Invalid(path, "%s", wanted(sem))
	}
	var syn *jsontext.SyntacticError
	if errors.As(err, &syn) {
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return usance.Invalid(usance.FieldPath(string(syn.JSONPointer)), "is there twice")
		}
		return usance.Invalid(usance.FieldPath(string(syn.JSONPointer)), "the input is not valid JSON at byte %d: %s", syn.ByteOffset, usance.Clip(syntaxOf(syn)))
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return usance.Invalid("", "the input is not valid JSON: it ends in the middle")
	}
	var known *usance.Error
	if errors.As(err, &known) {
		return known
	}
	return usance.Invalid("", "the input is not valid JSON")
}

func syntaxOf(e *jsontext.SyntacticError) string {
	if e.Err == nil {
		return "syntax error"
	}
	return strings.TrimPrefix(e.Err.Error(), "jsontext: ")
}

// wanted says what a field must be.
func wanted(e *json.SemanticError) string {
	t := e.GoType
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	what := "another type"
	if t != nil {
		switch t.Kind() {
		case reflect.String:
			what = "a string"
		case reflect.Bool:
			what = "true or false"
		case reflect.Int, reflect.Int32, reflect.Int64:
			what = "a whole number in digits, without fraction, exponent or quotes"
			if t.Kind() == reflect.Int32 { // a date
				what = "a date YYYY-MM-DD"
			}
		case reflect.Slice:
			what = "a list"
		case reflect.Struct, reflect.Map:
			what = "an object"
			if t.PkgPath() == "time" {
				what = "an RFC 3339 timestamp such as 2024-10-12T08:30:00Z"
			}
		}
	}
	return "must be " + what
}

// queryObject turns the parameters of a query string into the JSON object that
// they stand for. Parameters that the input lacks are refused, and so are ones
// that are there twice, except of lists, which may also be written a,b,c.
func queryObject(t reflect.Type, q url.Values) (jsontext.Value, error) {
	fields := fieldsOf(t)
	names := make([]string, 0, len(q))
	for name := range q {
		names = append(names, name)
	}
	slices.Sort(names)
	members := make(map[string]any, len(q))
	for _, name := range names {
		values := q[name]
		f, ok := fields[name]
		if !ok {
			return nil, usance.Invalid(usance.Clip(name), "is not a parameter of this operation; check its spelling (upper and lower case differ)")
		}
		ft := t.FieldByIndex(f.index).Type
		for ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		if ft.Kind() == reflect.Slice && ft.Elem().Kind() != reflect.Uint8 {
			list := []any{}
			for _, v := range values {
				for part := range strings.SplitSeq(v, ",") {
					item, err := queryValue(name, ft.Elem(), part)
					if err != nil {
						return nil, err
					}
					list = append(list, item)
				}
			}
			members[name] = list
			continue
		}
		if len(values) > 1 {
			return nil, usance.Invalid(name, "is there twice")
		}
		if values[0] == "" {
			continue // as good as left out
		}
		v, err := queryValue(name, ft, values[0])
		if err != nil {
			return nil, err
		}
		members[name] = v
	}
	out, err := json.Marshal(members, json.Deterministic(true))
	if err != nil {
		return nil, usance.Invalid("", "the query holds bytes that are not UTF-8")
	}
	return out, nil
}

// queryValue turns a parameter's text into the JSON value of the field's type.
func queryValue(name string, t reflect.Type, s string) (any, error) {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return s, nil
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || strings.HasPrefix(s, "+") {
			return nil, usance.Invalid(name, "must be a whole number in digits")
		}
		return n, nil
	case reflect.Bool:
		switch s {
		case "true", "1":
			return true, nil
		case "false", "0":
			return false, nil
		}
		return nil, usance.Invalid(name, "must be true or false")
	}
	return s, nil
}

// readBody reads at most limit bytes. A body that says it is longer is refused
// before any of it is read, and one for which there is no room once there is none.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	// The length is the client's word: memory is taken as bytes arrive.
	var buf bytes.Buffer
	buf.Grow(int(min(max(r.ContentLength, 0), smallBody)) + bytes.MinRead)
	body, held := http.MaxBytesReader(w, r.Body, limit), heldOf(w)
	_, err := buf.ReadFrom(io.LimitReader(body, smallBody))
	if err == nil && buf.Len() == smallBody {
		_, err = buf.ReadFrom(held.reader(body))
	}
	if err != nil {
		if usance.ErrorCode(err) == usance.CodeOverloaded {
			held.release()
			_, _ = io.Copy(io.Discard, body) // many clients read no answer before they have sent all
			return nil, err
		}
		var over *http.MaxBytesError
		if errors.As(err, &over) {
			return nil, tooLarge(limit)
		}
		return nil, usance.WrapError(err, usance.CodeValidation, "the body could not be read to its end")
	}
	return buf.Bytes(), nil
}

func tooLarge(limit int64) error {
	return usance.NewError(usance.CodeTooLarge, "the body must be at most %d bytes here; send events as application/x-ndjson in one stream, or several requests", limit)
}

// setMember sets a field of a JSON object that the path names. The object may
// hold it too if it says the same.
func setMember(obj jsontext.Value, name, value string) (jsontext.Value, error) {
	if len(obj) == 0 {
		obj = jsontext.Value("{}")
	}
	there, rest, err := cutMember(obj, name)
	if err != nil {
		return nil, err
	}
	quoted, err := jsontext.AppendQuote(nil, value)
	if err != nil {
		return nil, usance.Invalid(name, "must be valid UTF-8")
	}
	if there != nil && string(there) != string(quoted) {
		return nil, usance.Invalid(name, "must be %q as in the path, or be left out", usance.Clip(value))
	}
	key, _ := jsontext.AppendQuote(nil, name)
	out := append([]byte("{"), key...)
	out = append(append(out, ':'), quoted...)
	if len(rest) > 2 {
		out = append(out, ',')
	}
	return append(out, rest[1:]...), nil
}

// cutMember takes a member out of a JSON object: its value, nil if it is not
// there, and the object without it. The object is checked on the way.
func cutMember(obj jsontext.Value, name string) (value, rest jsontext.Value, err error) {
	if err := checkDepth(obj); err != nil {
		return nil, nil, err
	}
	d := jsontext.NewDecoder(strings.NewReader(string(obj)))
	tok, err := d.ReadToken()
	if err != nil {
		return nil, nil, jsonFault(err)
	}
	if tok.Kind() != '{' {
		return nil, nil, usance.Invalid("", "the input must be a JSON object")
	}
	rest = jsontext.Value("{")
	for d.PeekKind() != '}' {
		key, err := d.ReadValue()
		if err != nil {
			return nil, nil, jsonFault(err)
		}
		key = key.Clone()
		unquoted, _ := jsontext.AppendUnquote(nil, key)
		v, err := d.ReadValue()
		if err != nil {
			return nil, nil, jsonFault(err)
		}
		if string(unquoted) == name {
			value = v.Clone()
			if err := value.Compact(); err != nil {
				return nil, nil, jsonFault(err)
			}
			continue
		}
		if len(rest) > 1 {
			rest = append(rest, ',')
		}
		rest = append(append(append(rest, key...), ':'), v...)
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, nil, jsonFault(err)
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, nil, usance.Invalid("", "something follows the JSON object")
	}
	return value, append(rest, '}'), nil
}
