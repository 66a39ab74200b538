package api

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/usance/usance"
)

// draw fills whatever can be filled with anything that the type can hold: a field
// that is added to what is written by hand is drawn too.
func draw(t *rapid.T, v reflect.Value, name string) {
	switch v.Interface().(type) {
	case usance.Date:
		v.SetInt(int64(rapid.Int32Range(int32(usance.MinDate), int32(usance.MaxDate)).Draw(t, name)))
		return
	case usance.ID:
		copy(v.Slice(0, v.Len()).Bytes(), rapid.SliceOfN(rapid.Byte(), 0, v.Len()).Draw(t, name))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, name))
	case reflect.String:
		v.SetString(rapid.OneOf(rapid.Just(""), rapid.Just("lic_1"), rapid.Just("a\"\\\n<\x80>"), rapid.String()).Draw(t, name))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, name))
	case reflect.Pointer:
		if rapid.Bool().Draw(t, name) {
			v.Set(reflect.New(v.Type().Elem()))
			draw(t, v.Elem(), name)
		}
	case reflect.Slice:
		n := rapid.IntRange(0, 3).Draw(t, name)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			draw(t, v.Index(i), fmt.Sprint(name, i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				draw(t, v.Field(i), name+"."+f.Name)
			}
		}
	default:
		t.Fatalf("say here what a %s holds, which is %s", v.Type(), name)
	}
}

func TestResultsAreWrittenAsJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var results []usance.Result
		draw(t, reflect.ValueOf(&results).Elem(), "results")
		want, err := json.Marshal(results, marshalOptions)
		if err != nil {
			t.Fatal(err)
		}
		got, err := appendResults(nil, results)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestADateThatIsNoneIsNotWritten(t *testing.T) {
	t.Parallel()
	none := usance.MaxDate + 1
	if _, err := appendResults(nil, []usance.Result{{Usage: []usance.Usage{{PeriodStart: &none}}}}); err == nil {
		t.Error("a date past the year 9999 is written")
	}
}
