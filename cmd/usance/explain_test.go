package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

// What is an answer of typed objects is told to people a line a usage type.
func TestExplain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServer(t, dir)
	s.license("")
	for _, usageType := range []string{"view", "download"} {
		s.must("POST", "/v1/thresholds", `{"licenseId":"lic_1","usageType":"`+usageType+`","periodType":"yearly","limitQuantity":2}`, nil)
	}
	s.must("POST", "/v1/events", `{"licenseId":"lic_1","usageType":"view","quantity":2,"idempotencyKey":"k"}`, nil)
	var out, errOut bytes.Buffer
	if code := run(context.Background(), []string{"explain", "lic_1"}, []string{"USANCE_DATA_DIR=" + dir}, strings.NewReader(""), &out, &errOut); code != exitOK {
		t.Fatalf("exit %d: %s", code, errOut.String())
	}
	for _, want := range []string{
		"view per yearly, blocks: 2 of 2 used\n",
		"\none download sent now would be counted\none view sent now would not be counted: LIMIT_EXCEEDED: the yearly limit of 2 view has room for 0 more;",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the answer lacks %q:\n%s", want, out.String())
		}
	}
}
