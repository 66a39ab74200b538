package usance

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestValidateID(t *testing.T) {
	for _, id := range []string{"a", "lic_123", "Ünïcode-идентификатор", "a.b:c@d", "...", strings.Repeat("x", 128)} {
		if err := ValidateID("id", id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{
		"", " ", "a b", "a/b", "a\tb", "a\n", "a\x00", "a\x7f", "\xff", "a\u00a0b", "a\u200bb", "\u202eabc", ".", "..",
		strings.Repeat("x", 129), strings.Repeat("é", 65),
	} {
		err := ValidateID("brandId", id)
		if e, ok := err.(*Error); !ok || e.Code != CodeValidation || e.Field != "brandId" {
			t.Errorf("%q: %v; want an error of brandId", id, err)
		}
	}
}

func TestPartyValidate(t *testing.T) {
	for _, v := range []interface{ Validate() error }{
		Brand{ID: "b", Name: strings.Repeat("é", 200)},
		Brand{ID: "b", Name: "Company & Sons, Ltd. 🙂"},
		Creator{ID: "c", Name: "Ada"},
		Creator{ID: "c", Name: "Ada", Email: "ada+x@example.org"},
		Asset{ID: "a", Name: "Song"},
		Asset{ID: "a", Name: "Song", Type: "music"},
	} {
		if err := v.Validate(); err != nil {
			t.Errorf("%+v: %v", v, err)
		}
	}
	for _, c := range []struct {
		v     interface{ Validate() error }
		field string
	}{
		{Brand{Name: "x"}, "id"},
		{Brand{ID: "b"}, "name"},
		{Brand{ID: "b", Name: " \t"}, "name"},
		{Brand{ID: "b", Name: "a\r\nBcc: b"}, "name"},
		{Brand{ID: "b", Name: "a\xff"}, "name"},
		{Brand{ID: "b", Name: strings.Repeat("é", 201)}, "name"},
		{Creator{ID: "c/d", Name: "Ada"}, "id"},
		{Creator{ID: "c"}, "name"},
		{Creator{ID: "c", Name: "Ada", Email: "ada"}, "email"},
		{Creator{ID: "c", Name: "Ada", Email: "@example.org"}, "email"},
		{Creator{ID: "c", Name: "Ada", Email: "ada@"}, "email"},
		{Creator{ID: "c", Name: "Ada", Email: "a@b@c"}, "email"},
		{Creator{ID: "c", Name: "Ada", Email: "ada@example.org\r\nBcc:x@y"}, "email"},
		{Creator{ID: "c", Name: "Ada", Email: "a@" + strings.Repeat("x", 253)}, "email"},
		{Asset{Name: "Song"}, "id"},
		{Asset{ID: "a"}, "name"},
		{Asset{ID: "a", Name: "Song", Type: "\n"}, "type"},
	} {
		err := c.v.Validate()
		if e, ok := err.(*Error); !ok || e.Field != c.field {
			t.Errorf("%+v: %v; want an error of %s", c.v, err, c.field)
		}
	}
}

// share makes a share; an empty end has no bound.
func share(t rapid.TB, creator string, bps int, from, to string) Share {
	t.Helper()
	s := Share{CreatorID: creator, ShareBps: bps}
	if from != "" {
		d := date(t, from)
		s.From = &d
	}
	if to != "" {
		d := date(t, to)
		s.To = &d
	}
	return s
}

func TestOwners(t *testing.T) {
	for _, c := range []struct {
		name   string
		owners []Share
		field  string // "" for valid
	}{
		{"none", nil, ""},
		{"one", []Share{share(t, "a", 10000, "", "")}, ""},
		{"two", []Share{share(t, "a", 6000, "", ""), share(t, "b", 4000, "", "")}, ""},
		{"handed over", []Share{share(t, "a", 10000, "", "2024-01-01"), share(t, "b", 10000, "2024-01-01", "")}, ""},
		{"sold with a gap", []Share{share(t, "a", 10000, "", "2024-01-01"), share(t, "b", 10000, "2025-01-01", "")}, ""},
		{"owned for a while", []Share{share(t, "a", 10000, "2024-01-01", "2024-01-02")}, ""},
		{"half sold", []Share{
			share(t, "a", 10000, "", "2024-01-01"), share(t, "a", 5000, "2024-01-01", ""), share(t, "b", 5000, "2024-01-01", ""),
		}, ""},
		{"too little", []Share{share(t, "a", 9999, "", "")}, "owners"},
		{"too much", []Share{share(t, "a", 10000, "", ""), share(t, "b", 1, "", "")}, "owners"},
		{"too little on one day", []Share{
			share(t, "a", 5000, "", ""), share(t, "b", 5000, "", "2024-01-01"), share(t, "c", 5000, "2024-01-02", ""),
		}, "owners"},
		{"too much on one day", []Share{share(t, "a", 10000, "", "2024-01-02"), share(t, "b", 10000, "2024-01-01", "")}, "owners"},
		{"twice at once", []Share{share(t, "a", 5000, "", ""), share(t, "a", 5000, "", "")}, "owners[1].creatorId"},
		{"nothing", []Share{share(t, "a", 0, "", ""), share(t, "b", 10000, "", "")}, "owners[0].shareBps"},
		{"negative", []Share{share(t, "a", 11000, "", ""), share(t, "b", -1000, "", "")}, "owners[0].shareBps"},
		{"empty range", []Share{share(t, "a", 10000, "2024-01-01", "2024-01-01")}, "owners[0].to"},
		{"no creator", []Share{share(t, "", 10000, "", "")}, "owners[0].creatorId"},
		{"too many", make([]Share, MaxAssetOwners+1), "owners"},
	} {
		err := Asset{ID: "a", Name: "Song", Owners: c.owners}.Validate()
		if c.field == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		} else if e, ok := err.(*Error); !ok || e.Field != c.field {
			t.Errorf("%s: %v; want an error of %s", c.name, err, c.field)
		}
	}
}

func TestOwnersOn(t *testing.T) {
	a := Asset{Owners: []Share{
		share(t, "a", 10000, "2020-01-01", "2024-01-01"), share(t, "a", 5000, "2024-01-01", ""), share(t, "b", 5000, "2024-01-01", ""),
	}}
	for d, want := range map[string][]Share{
		"2019-12-31": nil,
		"2020-01-01": a.Owners[:1],
		"2023-12-31": a.Owners[:1],
		"2024-01-01": a.Owners[1:],
		"9999-12-31": a.Owners[1:],
	} {
		if diff := cmp.Diff(want, a.OwnersOn(date(t, d))); diff != "" {
			t.Errorf("on %s (-want +got):\n%s", d, diff)
		}
	}
}

func TestValidOwnersSumToTheWholeEachDay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		day := rapid.Int32Range(0, 12)
		a := Asset{ID: "a", Name: "Song"}
		for range rapid.IntRange(0, 5).Draw(t, "owners") {
			from, to := Date(day.Draw(t, "from")), Date(day.Draw(t, "to"))
			a.Owners = append(a.Owners, Share{
				CreatorID: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "creator"),
				ShareBps:  rapid.SampledFrom([]int{5000, 10000}).Draw(t, "share"),
				From:      &from, To: &to,
			})
		}
		valid := true
		for _, s := range a.Owners {
			valid = valid && *s.From < *s.To
		}
		for d := Date(-1); d <= 13; d++ {
			sum := 0
			creators := map[string]int{}
			for _, s := range a.OwnersOn(d) {
				sum += s.ShareBps
				creators[s.CreatorID]++
				valid = valid && creators[s.CreatorID] == 1
			}
			valid = valid && (sum == 0 || sum == WholeShareBps)
		}
		if err := a.Validate(); (err == nil) != valid {
			t.Fatalf("%+v: %v, valid is %v", a.Owners, err, valid)
		}
	})
}

func TestPartyJSON(t *testing.T) {
	a := Asset{ID: "song_1", Name: "Song", Owners: []Share{share(t, "ada", 10000, "2024-01-01", "")}}
	out, err := json.Marshal(a)
	want := `{"id":"song_1","name":"Song","owners":[{"creatorId":"ada","shareBps":10000,"from":"2024-01-01"}]}`
	if err != nil || string(out) != want {
		t.Errorf("got %s, %v; want %s", out, err, want)
	}
	var back Asset
	if err := json.Unmarshal(out, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, back); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}
