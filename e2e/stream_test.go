package e2e_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestStreamWrittenFirst sends a large stream from a client that reads nothing
// before it has written everything, as many HTTP libraries do.
func TestStreamWrittenFirst(t *testing.T) { onEach(t, testStreamWrittenFirst) }

func testStreamWrittenFirst(t *testing.T, store string) {
	const lines = 60_000
	s := newServer(t, store)
	s.must("PUT", "/v1/licenses/l", `{"brandId":"b","assetId":"a","status":"ACTIVE"}`, nil)
	var body strings.Builder
	for i := range lines {
		fmt.Fprintf(&body, "{\"licenseId\":\"l\",\"usageType\":\"view\",\"idempotencyKey\":\"k%d\"}\n", i)
	}
	c, err := net.Dial("tcp", s.pick().addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(c, "POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n%s",
		adminKey, body.Len(), body.String())
	if err != nil {
		t.Fatalf("writing the whole body: %v", err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answers, tracked := 0, 0
	for in := bufio.NewScanner(res.Body); in.Scan(); answers++ {
		if strings.Contains(in.Text(), `"tracked":true`) {
			tracked++
		}
	}
	if answers != lines || tracked != lines {
		t.Errorf("%d answers, %d of them tracked; sent %d lines", answers, tracked, lines)
	}
}
