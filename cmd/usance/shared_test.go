package main

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/usance/usance/redis/redistest"
)

// readyz is what the server says of itself.
func readyz(t *testing.T, s *testServer) (int, string) {
	t.Helper()
	resp, err := http.Get(s.url + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// A server whose Redis is away says so, is ready all the same, answers the same,
// and uses it again when it is back. It never writes the password.
func TestServingWithRedis(t *testing.T) {
	t.Parallel()
	shared := redistest.Start(t)
	s := startServer(t, t.TempDir(), "REDIS_URL="+shared.URL())
	s.license("")
	s.must("POST", "/v1/events", `{"licenseId":"lic_1","usageType":"view","quantity":3,"idempotencyKey":"k"}`, nil)
	until := func(what string, ok func() bool) {
		t.Helper()
		for late := time.Now().Add(3 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(late) {
				t.Fatal(what)
			}
		}
	}
	ask := func() {
		t.Helper()
		if _, n := s.used("view"); n != 3 {
			t.Errorf("used %d, want 3", n)
		}
	}
	ask()
	until("nothing is put into Redis", func() bool { return shared.Do("DBSIZE") != ":0" })
	for range 2 {
		shared.Kill()
		until("it is not told that Redis is away", func() bool {
			s.must("POST", "/v1/events", `{"licenseId":"lic_1","usageType":"click"}`, nil)
			ask()
			status, text := readyz(t, s)
			if status != http.StatusOK {
				t.Fatalf("%d: %s", status, text)
			}
			return strings.HasPrefix(text, "ready; degraded: Redis does not answer")
		})
		if up := s.metric("usance_redis_up"); up != "0" {
			t.Errorf("usance_redis_up is %s", up)
		}
		shared.Restart()
		until("it is not told that Redis is back", func() bool { _, text := readyz(t, s); return text == "ready\n" })
		ask()
	}
	until("usance_redis_up is not 1 again", func() bool { return s.metric("usance_redis_up") == "1" })
	if code := s.stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	log := s.out.String()
	if strings.Contains(log, "redistest-secret") {
		t.Errorf("the log holds the password:\n%s", log)
	}
	if n := strings.Count(log, "going on without it"); n < 2 || n > 20 {
		t.Errorf("it is told %d times that Redis is away, want 2 or, on a busy machine, some more:\n%s", n, log)
	}
}

func TestCheckOfRedis(t *testing.T) {
	t.Parallel()
	shared := redistest.Start(t)
	look := func() string {
		t.Helper()
		c, err := loadConfig([]string{"REDIS_URL=" + shared.URL()}, nil)
		if err != nil {
			t.Fatal(err)
		}
		list := new(checklist)
		list.redis(t.Context(), c)
		var rows []string
		for _, row := range list.rows {
			rows = append(rows, strings.Join(row[:], " "))
		}
		return strings.Join(rows, "\n")
	}
	if got := look(); !strings.Contains(got, "in process and shared, 300 s") || !strings.Contains(got, "answers") || strings.Contains(got, "FAULT") {
		t.Error(got)
	}
	shared.Do("REPLICAOF", "127.0.0.1", "1")
	if got := look(); !strings.Contains(got, "it keeps nothing: READONLY") {
		t.Error(got)
	}
	shared.Kill()
	if got := look(); !strings.Contains(got, "refused") || strings.Contains(got, "secret") {
		t.Error(got)
	}
}

// A Redis that is set needs no configuration beside, and is not printed.
func TestRedisURLIsASecret(t *testing.T) {
	t.Parallel()
	c, err := loadConfig([]string{"REDIS_URL=rediss://:hunter2@cache.example:6380/1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "config", c.RedisURL)
	if strings.Contains(b.String(), "hunter2") {
		t.Error(b.String())
	}
}
