package api

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A key is replaced while clients send with it: whichever of the two they hold,
// no request fails, and when the overlap is over the old one is refused.
func TestRotationWithoutAFailedRequest(t *testing.T) {
	s := newServer(t)
	s.license("lic_1")
	made := s.admin("POST", "/v1/keys", `{"role":"ingest","licenseIds":["lic_1"],"scopes":["backdate"],"expiresAt":"2024-11-11T12:00:00Z"}`)
	id, old := made.at("key", "id").(string), made.at("secret").(string)

	var current atomic.Value // what clients are configured with
	current.Store(old)
	var sent, failed atomic.Int64
	var clients sync.WaitGroup
	stop := make(chan struct{})
	for c := range 4 {
		clients.Go(func() {
			key := old
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if n%(5+c) == 0 { // they change over one after the other
					key = current.Load().(string)
				}
				r := s.send("POST", "/v1/events", key, fmt.Sprintf(`{"licenseId":"lic_1","usageType":"view","idempotencyKey":"%d-%d"}`, c, n))
				if r.status != 200 || r.at("tracked") != true {
					failed.Add(1)
					t.Errorf("%d %s", r.status, r.body)
				}
				sent.Add(1)
			}
		})
	}
	for range 5 {
		for before := sent.Load(); sent.Load() < before+20 && failed.Load() == 0; {
			time.Sleep(time.Millisecond) // for the clients to go on
		}
		s.advance(24 * time.Hour)
		rotated := s.admin("POST", "/v1/keys/"+id+"/rotate", `{"overlapSeconds":3600}`)
		if rotated.at("key", "role") != "ingest" || rotated.at("key", "licenseIds", 0) != "lic_1" || rotated.at("key", "scopes", 0) != "backdate" {
			t.Errorf("the new key: %s", rotated.body)
		}
		// It lives as long as the old one was made for, and not as long as is left of that.
		if want := s.clock().Add(30 * 24 * time.Hour).Format(time.RFC3339); rotated.at("key", "expiresAt") != want {
			t.Errorf("the new key ends at %v, want %s", rotated.at("key", "expiresAt"), want)
		}
		id = rotated.at("key", "id").(string)
		current.Store(rotated.at("secret").(string))
		for before := sent.Load(); sent.Load() < before+80 && failed.Load() == 0; {
			time.Sleep(time.Millisecond) // all have changed over
		}
		s.advance(time.Hour)
	}
	close(stop)
	clients.Wait()
	if r := s.send("POST", "/v1/events", old, `{"licenseId":"lic_1","usageType":"view"}`); r.status != 401 {
		t.Errorf("the old key after the overlap: %d %s", r.status, r.body)
	}
	if r := s.admin("GET", "/v1/licenses/lic_1/usage", ""); r.at("allTime", "quantity") != float64(sent.Load()) {
		t.Errorf("%d were sent; %s", sent.Load(), r.body)
	}
}

// A rotation whose answer was lost is asked for again: the new key lives as long
// as the first was made for, and the one that nobody has the secret of ends with
// the overlap, as does the old one.
func TestRotationAskedForAgain(t *testing.T) {
	for _, c := range []struct {
		what, expires string
		ends          any // of what each rotation makes, from then
	}{
		{"without an end", "", nil},
		{"made for thirty days", `,"expiresAt":"2024-11-11T12:00:00Z"`, 30 * 24 * time.Hour},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := newServer(t)
			made := s.admin("POST", "/v1/keys", `{"role":"ingest"`+c.expires+`}`)
			id := made.at("key", "id").(string)
			rotate := func() (secret, made string) {
				t.Helper()
				r := s.admin("POST", "/v1/keys/"+id+"/rotate", `{"overlapSeconds":60}`)
				want := c.ends
				if d, ok := want.(time.Duration); ok {
					want = s.clock().Add(d).Format(time.RFC3339)
				}
				if r.status != 200 || r.at("key", "expiresAt") != want {
					t.Errorf("%d %s, want one that ends at %v", r.status, r.body, want)
				}
				return r.at("secret").(string), r.at("key", "id").(string)
			}
			good := func(want bool, secrets ...string) {
				t.Helper()
				for i, secret := range secrets {
					if r := s.send("GET", "/v1/keys/self", secret, ""); (r.status == 200) != want {
						t.Errorf("key %d: %d %s", i, r.status, r.body)
					}
				}
			}
			old := made.at("secret").(string)
			first, _ := rotate()
			s.advance(10 * time.Second)
			second, _ := rotate()
			s.advance(10 * time.Second)
			third, last := rotate()
			good(true, old, first, second, third)
			s.advance(41 * time.Second)
			good(false, old) // its end stays where the first rotation set it
			good(true, third)
			s.advance(time.Minute)
			good(false, old, first, second)
			good(true, third)
			// The old one is past rotating; the answer names the one to rotate.
			r := s.send("POST", "/v1/keys/"+id+"/rotate", adminKey, `{}`)
			if r.status != 409 || !strings.Contains(r.body, last) {
				t.Errorf("%d %s, want the id %s", r.status, r.body, last)
			}
			s.admin("POST", "/v1/keys/"+last+"/revoke", "")
			good(false, third)
		})
	}
}

// Rotating a key of which a later one is in use already, at once because it
// leaked, ends them all.
func TestRotationOfAllThatCameAfter(t *testing.T) {
	s := newServer(t)
	made := s.admin("POST", "/v1/keys", `{"role":"ingest"}`)
	old := "/v1/keys/" + made.at("key", "id").(string) + "/rotate"
	first := s.admin("POST", old, `{"overlapSeconds":3600}`)
	second := s.admin("POST", "/v1/keys/"+first.at("key", "id").(string)+"/rotate", `{"overlapSeconds":3600}`)
	third := s.admin("POST", old, `{"overlapSeconds":0}`)
	for i, r := range []reply{made, first, second} {
		if got := s.send("GET", "/v1/keys/self", r.at("secret").(string), ""); got.status != 401 {
			t.Errorf("key %d: %d %s", i, got.status, got.body)
		}
	}
	if got := s.send("GET", "/v1/keys/self", third.at("secret").(string), ""); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// Who still uses an old key shows before it ends.
func TestKeysShowTheirLastUse(t *testing.T) {
	s := newServer(t)
	made := s.admin("POST", "/v1/keys", `{"role":"ingest"}`)
	lastUse := func() any { return s.admin("GET", "/v1/keys", "").at("data", 0, "lastUsedAt") }
	if got := lastUse(); got != nil {
		t.Errorf("never used: %v", got)
	}
	for range 2 {
		s.advance(time.Minute)
		s.send("GET", "/v1/keys/self", made.at("secret").(string), "")
		if got, want := lastUse(), s.clock().Format(time.RFC3339); got != want {
			t.Errorf("%v, want %s", got, want)
		}
		if err := s.a.d.Access.Record(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := lastUse(), s.clock().Format(time.RFC3339); got != want {
			t.Errorf("recorded: %v, want %s", got, want)
		}
	}
	s.advance(time.Hour)
	s.admin("POST", "/v1/keys/"+made.at("key", "id").(string)+"/revoke", "")
	s.send("GET", "/v1/keys/self", made.at("secret").(string), "")
	if got := lastUse(); got != "2024-10-12T12:02:00Z" {
		t.Errorf("a refused key: %v", got)
	}
}
