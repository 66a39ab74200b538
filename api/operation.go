package api

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/usance/usance"
	"github.com/usance/usance/access"
)

// kind is what a procedure is in tRPC.
type kind string

const (
	isQuery    kind = "query"    // reads; GET in tRPC
	isMutation kind = "mutation" // changes; POST in tRPC, never GET anywhere
)

// operation is one row of the table that REST, tRPC, the OpenAPI document, the
// human docs, the Go client's paths and the TypeScript types derive from.
type operation struct {
	name    string   // of the tRPC procedure, such as usage.getAnalytics
	aliases []string // other names of the procedure
	kind    kind
	method  string // of REST; empty where the operation is tRPC's alone
	path    string // of REST; a wildcard names the input field that it sets
	need    access.Need
	tag     string // the chapter of the docs
	summary string
	detail  string

	in, out  reflect.Type
	docIn    reflect.Type // what the schema of the input is made of; in when nil
	paged    bool
	required []field // of in
	example  string  // a JSON input: for the docs, and for the test that walks the table
	decode   func(jsontext.Value) (any, error)
	on       func(in any) target
	run      func(ctx context.Context, c *Call, in any) (any, error)
}

// target names what an operation is about. Access decides whether the caller
// sees it before the handler runs; what was found is on the Call.
type target struct {
	license, brand, creator, asset, threshold string
	overage, alert                            usance.ID
}

// Call is one call of an operation: who asks, what it is about, and what the
// caller's listings are narrowed to.
type Call struct {
	Principal access.Principal
	Scope     usance.Scope

	License   usance.License
	Brand     usance.Brand
	Creator   usance.Creator
	Asset     usance.Asset
	Threshold usance.Threshold
	Overage   usance.Overage
	Alert     usance.Alert
}

// actor names the caller in the audit trail.
func (c *Call) actor() string { return c.Principal.ID() }

// none is the input of operations that take none, and the output of those that
// answer nothing but success.
type none struct{}

// op makes a row of the table. on may be nil: then the operation is about
// nothing in particular.
func op[In, Out any](o operation, on func(*In) target, run func(context.Context, *Call, *In) (Out, error)) *operation {
	o.in, o.out = reflect.TypeFor[In](), reflect.TypeFor[Out]()
	o.required = requiredFields(o.in)
	if o.decode == nil {
		o.decode = func(v jsontext.Value) (any, error) {
			in := new(In)
			if err := decodeObject(v, in); err != nil {
				return nil, err
			}
			var given map[string]jsontext.Value
			if len(v) > 0 {
				if err := json.Unmarshal(v, &given); err != nil {
					return nil, jsonFault(err)
				}
			}
			return in, checkFields(o.in, reflect.ValueOf(in).Elem(), given)
		}
	}
	o.on = func(in any) target {
		if on == nil {
			return target{}
		}
		return on(in.(*In))
	}
	o.run = func(ctx context.Context, c *Call, in any) (any, error) { return run(ctx, c, in.(*In)) }
	_, o.paged = o.in.FieldByName("Cursor")
	return &o
}

// schemaIn is the type that documents the input.
func (o *operation) schemaIn() reflect.Type {
	if o.docIn != nil {
		return o.docIn
	}
	return o.in
}

// wildcards are the input fields that the REST path sets.
func (o *operation) wildcards() []string {
	var out []string
	for part := range strings.SplitSeq(o.path, "/") {
		if strings.HasPrefix(part, "{") {
			out = append(out, strings.Trim(part, "{}"))
		}
	}
	return out
}

// hasBody tells whether REST reads the input from a body, and not from the query.
func (o *operation) hasBody() bool {
	return o.method == "POST" || o.method == "PUT" || o.method == "PATCH"
}

// call carries out an operation for a principal: the one place where access is
// asked, whatever the protocol.
func (a *api) call(ctx context.Context, p access.Principal, o *operation, in any) (any, error) {
	if err := access.Authorize(p, o.need); err != nil {
		return nil, err
	}
	c := &Call{Principal: p, Scope: a.d.Access.Scope(p)}
	if t := o.on(in); t != (target{}) {
		if err := a.d.Store.View(ctx, func(v usance.View) error { return a.find(ctx, v, c, t) }); err != nil {
			return nil, err
		}
	}
	return o.run(ctx, c, in)
}

// find looks up what a call is about, if its caller sees it.
func (a *api) find(ctx context.Context, v usance.View, c *Call, t target) (err error) {
	acc, p := a.d.Access, c.Principal
	if t.license != "" {
		if c.License, err = acc.License(ctx, v, p, t.license); err != nil {
			return err
		}
	}
	if t.brand != "" {
		if c.Brand, err = acc.Brand(ctx, v, p, t.brand); err != nil {
			return err
		}
	}
	if t.creator != "" {
		if c.Creator, err = acc.Creator(ctx, v, p, t.creator); err != nil {
			return err
		}
	}
	if t.asset != "" {
		if c.Asset, err = acc.Asset(ctx, v, p, t.asset); err != nil {
			return err
		}
	}
	if t.threshold != "" {
		if c.Threshold, err = acc.Threshold(ctx, v, p, t.threshold); err != nil {
			return err
		}
	}
	if !t.overage.IsZero() {
		if c.Overage, err = acc.Overage(ctx, v, p, t.overage); err != nil {
			return err
		}
	}
	if !t.alert.IsZero() {
		if c.Alert, err = acc.Alert(ctx, v, p, t.alert); err != nil {
			return err
		}
	}
	return nil
}

// checkTable refuses a table that would mislead: a fault of the program.
func checkTable(ops []*operation) error {
	names, routes := make(map[string]bool), make(map[string]bool)
	for _, o := range ops {
		for _, n := range append([]string{o.name}, o.aliases...) {
			if names[n] || strings.Count(n, ".") != 1 {
				return fmt.Errorf("operation name %q is taken or not of the form router.procedure", n)
			}
			names[n] = true
		}
		route := o.method + " " + o.path
		if o.method != "" && routes[route] {
			return fmt.Errorf("route %q is taken", route)
		}
		routes[route] = true
		if o.method == "GET" && o.kind == isMutation {
			return fmt.Errorf("%s: GET never changes anything", o.name)
		}
		for _, w := range o.wildcards() {
			if _, ok := fieldsOf(o.schemaIn())[w]; !ok {
				return fmt.Errorf("%s: the path names %s, which its input lacks", o.name, w)
			}
		}
	}
	return nil
}
