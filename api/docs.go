package api

import (
	"bytes"
	_ "embed"
	"html/template"
	"reflect"
	"slices"
	"strings"

	"github.com/usance/usance"
)

// docsTemplate is the page at /docs, made from the table: no script, nothing
// from elsewhere.
//
//go:embed docs.html
var docsTemplate string

type docsOperation struct {
	Name, Kind, Method, Path, Summary, Detail string
	Aliases                                   []string
	Roles                                     string
	Fields                                    []docsField
	Curl                                      string
}

type docsField struct {
	Name, Type, Doc string
	Required        bool
}

type docsChapter struct {
	Title, Anchor string
	Operations    []docsOperation
}

type docsError struct {
	Code, Status, Title, TRPC string
	Retry                     bool
}

func (a *api) docsPage() []byte {
	r := newRegistry()
	var chapters []docsChapter
	for _, o := range a.ops {
		i := slices.IndexFunc(chapters, func(c docsChapter) bool { return c.Title == o.tag })
		if i < 0 {
			i = len(chapters)
			chapters = append(chapters, docsChapter{Title: o.tag, Anchor: strings.ReplaceAll(strings.ToLower(o.tag), " ", "-")})
		}
		d := docsOperation{
			Name: o.name, Kind: string(o.kind), Method: o.method, Path: o.path, Summary: o.summary, Detail: o.detail,
			Aliases: o.aliases, Roles: strings.Join(rolesOf(o.need), ", "), Curl: curlLine(o),
		}
		if o.name == "usage.trackEvent" || o.name == "usage.trackBatch" {
			d.Method, d.Path = "POST", "/v1/events"
		}
		in := inputSchema(r, o)
		for _, name := range fieldOrder(o) {
			s := in.Properties[name]
			if s == nil {
				continue
			}
			d.Fields = append(d.Fields, docsField{Name: name, Type: typeScriptOf(r, s), Doc: s.Description, Required: slices.Contains(in.Required, name)})
		}
		chapters[i].Operations = append(chapters[i].Operations, d)
	}
	var faults []docsError
	for _, code := range usance.Codes {
		w := wireOf(code)
		faults = append(faults, docsError{Code: string(code), Status: statusText(code), Title: w.title, TRPC: w.trpc, Retry: usance.NewError(code, "").Retryable})
	}
	var out bytes.Buffer
	err := template.Must(template.New("docs").Parse(docsTemplate)).Execute(&out, map[string]any{
		"Chapters": chapters, "Errors": faults, "Version": a.d.Version, "Example": exampleEvent,
	})
	if err != nil {
		panic("api: the docs page cannot be written: " + err.Error()) // a fault of the program, at start
	}
	return out.Bytes()
}

// fieldOrder gives the input's fields as the struct orders them.
func fieldOrder(o *operation) []string {
	var out []string
	for _, sf := range reflect.VisibleFields(o.schemaIn()) {
		name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			out = append(out, name)
		}
	}
	return out
}

// curlLine is a call of the operation to paste.
func curlLine(o *operation) string {
	method, path, body := o.method, o.path, o.example
	if method == "" {
		method, path = "POST", "/v1/events"
	}
	var obj map[string]any
	if unmarshalAny(o.example, &obj) == nil {
		for _, name := range o.wildcards() {
			if s, ok := obj[name].(string); ok {
				path = strings.ReplaceAll(path, "{"+name+"}", s)
			}
			delete(obj, name)
		}
		body = marshalAny(obj)
	}
	const auth = ` -H "Authorization: Bearer $KEY"`
	if method == "GET" || method == "DELETE" {
		if q := queryOf(obj); q != "" {
			path += "?" + q
		}
		if method == "DELETE" {
			return `curl -X DELETE "$URL` + path + `"` + auth
		}
		return `curl "$URL` + path + `"` + auth
	}
	line := `curl -X ` + method + ` "$URL` + path + `"` + auth
	if body != "{}" {
		line += ` \` + "\n" + `  -d '` + body + `'`
	}
	return line
}
