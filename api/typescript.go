package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// WriteTypeScript writes the types of the tRPC router, for
// createTRPCClient<AppRouter>: AppRouter without a transformer,
// AppRouterSuperJSON for clients with superjson.
func WriteTypeScript(w io.Writer) error {
	a := newAPI(Deps{})
	r := newRegistry()
	var procedures strings.Builder
	routers := make(map[string][]*operation)
	for _, o := range a.ops {
		router, _, _ := strings.Cut(o.name, ".")
		routers[router] = append(routers[router], o)
	}
	for _, router := range sortedKeys(routers) {
		fmt.Fprintf(&procedures, "  %s: {\n", router)
		for _, o := range routers[router] {
			in := typeScriptObject(r, inputSchema(r, o), "    ")
			out := typeScriptOf(r, r.Schema(o.out, true, o.out.Name()))
			if len(o.required) == 0 && o.docIn == nil {
				in += " | void" // may be called without an input
			}
			for _, name := range append([]string{o.name}, o.aliases...) {
				_, procedure, _ := strings.Cut(name, ".")
				fmt.Fprintf(&procedures, "    /** %s. */\n    %s: %s<{ input: %s; output: %s; meta: object }>;\n",
					comment(o.summary), procedure, map[kind]string{isQuery: "TRPCQueryProcedure", isMutation: "TRPCMutationProcedure"}[o.kind], in, out)
			}
		}
		procedures.WriteString("  };\n")
	}
	var types strings.Builder
	schemas := r.Map()
	for _, name := range sortedKeys(schemas) {
		fmt.Fprintf(&types, "export interface %s %s\n\n", name, typeScriptObject(r, schemas[name], ""))
	}
	code := r.Schema(reflect.TypeFor[Problem](), false, "Problem").Properties["code"]
	_, err := fmt.Fprintf(w, typeScriptFile, typeScriptOf(r, code), types.String(), procedures.String(), maxCalls)
	return err
}

const typeScriptFile = `// Code generated from the table of operations; DO NOT EDIT.

import type {
  TRPCBuiltRouter,
  TRPCDefaultErrorData,
  TRPCDefaultErrorShape,
  TRPCMutationProcedure,
  TRPCQueryProcedure,
} from "@trpc/server";

/** What programs decide by. */
export type ErrorCode = %s;

/** What an error says beside tRPC's own: error.data.usance. */
export interface ErrorDetail {
  code: ErrorCode;
  field?: string;
  retryable: boolean;
  retryAfterSeconds?: number;
  requestId?: string;
  results?: Result[];
}

export interface ErrorShape extends TRPCDefaultErrorShape {
  data: TRPCDefaultErrorData & { usance: ErrorDetail };
}

%sexport interface Procedures {
%s}

interface Root<Transformer extends boolean> {
  ctx: object;
  meta: object;
  errorShape: ErrorShape;
  transformer: Transformer;
}

type Plain<T> = { [K in keyof T]: { [P in keyof T[K]]: T[K][P] } };

/** For clients without a transformer. A request holds at most %d calls: give httpBatchLink maxItems: %[4]d. */
export type AppRouter = TRPCBuiltRouter<Root<false>, Plain<Procedures>>;

/**
 * For clients with transformer: superjson. Times are strings here as well. A request holds at most %[4]d calls: give
 * httpBatchLink maxItems: %[4]d.
 */
export type AppRouterSuperJSON = TRPCBuiltRouter<Root<true>, Plain<Procedures>>;
`

func comment(s string) string { return strings.ReplaceAll(s, "*/", "* /") }

// typeScriptOf gives the TypeScript of a schema.
func typeScriptOf(r huma.Registry, s *huma.Schema) string {
	t := typeScriptBare(r, s)
	if s.Nullable {
		t += " | null"
	}
	return t
}

func typeScriptBare(r huma.Registry, s *huma.Schema) string {
	switch {
	case s.Ref != "":
		return strings.TrimPrefix(s.Ref, schemaPrefix)
	case len(s.OneOf) > 0:
		parts := make([]string, len(s.OneOf))
		for i, sub := range s.OneOf {
			parts[i] = typeScriptOf(r, sub)
		}
		return strings.Join(parts, " | ")
	case len(s.Enum) > 0:
		parts := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			parts[i] = marshalAny(v)
		}
		return strings.Join(parts, " | ")
	}
	switch s.Type {
	case typeNull:
		return "null"
	case huma.TypeString:
		return "string"
	case huma.TypeInteger, huma.TypeNumber:
		return "number"
	case huma.TypeBoolean:
		return "boolean"
	case huma.TypeArray:
		item := typeScriptOf(r, s.Items)
		if strings.Contains(item, "|") {
			item = "(" + item + ")"
		}
		return item + "[]"
	case huma.TypeObject:
		if of, ok := s.AdditionalProperties.(*huma.Schema); ok {
			return "{ [key: string]: " + typeScriptOf(r, of) + " }"
		}
		if len(s.Properties) == 0 {
			return "{ [key: string]: unknown }"
		}
		return typeScriptObject(r, s, "")
	}
	return "unknown"
}

// typeScriptObject gives an object type, a field a line.
func typeScriptObject(r huma.Registry, s *huma.Schema, indent string) string {
	if len(s.Properties) == 0 {
		return "{}"
	}
	var b strings.Builder
	b.WriteString("{\n")
	for _, name := range sortedKeys(s.Properties) {
		p := s.Properties[name]
		if p.Description != "" {
			fmt.Fprintf(&b, "%s  /** %s */\n", indent, comment(p.Description))
		}
		mark := "?"
		if slices.Contains(s.Required, name) {
			mark = ""
		}
		t := typeScriptOf(r, p)
		if strings.HasPrefix(p.Format, "date-") && indent != "" { // an input
			t = "string | Date" // superjson and JSON.stringify write a Date as this API reads it
			if p.Nullable {
				t += " | null"
			}
		}
		fmt.Fprintf(&b, "%s  %s%s: %s;\n", indent, name, mark, t)
	}
	b.WriteString(indent + "}")
	return b.String()
}

func marshalAny(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return ""
	}
	return strings.TrimSpace(b.String())
}

func unmarshalAny(s string, to *map[string]any) error { return json.Unmarshal([]byte(s), to) }

// queryOf writes an example input as a query string.
func queryOf(obj map[string]any) string {
	q := make(url.Values)
	for name, v := range obj {
		if list, ok := v.([]any); ok {
			for _, item := range list {
				q.Add(name, fmt.Sprint(item))
			}
			continue
		}
		q.Set(name, fmt.Sprint(v))
	}
	return q.Encode()
}
