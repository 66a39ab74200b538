package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the table of settings into the docs")

func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	c, err := loadConfig([]string{"PATH=/bin", "REDIS_URL=", "USAGE_NOTES=of somebody else"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.BatchSize != 100 || c.RetentionDays != 90 || c.CacheTTLSeconds != 300 {
		t.Errorf("the defaults are 100, 90 and 300; got %d, %d, %d", c.BatchSize, c.RetentionDays, c.CacheTTLSeconds)
	}
	if c.Addr != "127.0.0.1:8080" || c.LateGrace != 24*time.Hour || c.AutoApproveCents != 0 {
		t.Errorf("got %s, %s, %d", c.Addr, c.LateGrace, c.AutoApproveCents)
	}
	if want := []string{"0 * * * *", "0 2 * * *"}; !slices.Equal(c.AggregateSchedule, want) {
		t.Errorf("aggregateUsageMetrics at %q, want %q", c.AggregateSchedule, want)
	}
	if path, err := c.databasePath(); err != nil || path != filepath.Join("usance-data", "usance.db") {
		t.Errorf("database at %q, %v", path, err)
	}
}

func TestConfigReportsEveryFaultAtOnce(t *testing.T) {
	t.Parallel()
	_, err := loadConfig([]string{
		"DATABASE_URL=postgresql://u:hunter2@db:5432", "DATABASE_URL_POOLED=mysql://u:hunter2@pool", "REDIS_URL=http://:hunter2@cache",
		"USAGE_TRACKING_BATCH_SIZE=many", "USAGE_EVENT_RETENTION_DAYS=0", "USAGE_CACHE_TTL_SECONDS=-1", "USAGE_EVENT_RETENTION_DAY=30",
		"USANCE_LATE_GRACE=yesterday", "USANCE_ADDR=8080", "USANCE_ADMIN_KEY=hunter2", "USANCE_JOB_CHECK_USAGE_THRESHOLDS_SCHEDULE=at noon",
		"USANCE_FOO=1", "USANCE_LOG_LEVEL=loud", "USANCE_LOG_FORMAT=xml", "USANCE_URL=localhost",
		"USANCE_RATE_LIMIT_CALLS=-1", "USANCE_RATE_LIMIT_EVENTS=1e6", "USANCE_TRUSTED_PROXIES=10.0.0.0/8, my-proxy",
	}, nil)
	var faults configError
	if !errors.As(err, &faults) {
		t.Fatalf("loadConfig answers %v", err)
	}
	got := make(map[string]string)
	for _, f := range faults {
		if got[f.Variable] != "" {
			t.Errorf("%s is reported twice: %q and %q", f.Variable, got[f.Variable], f.Problem)
		}
		got[f.Variable] = f.Problem
	}
	for name, want := range map[string]string{
		"DATABASE_URL":                               "must name a database",
		"DATABASE_URL_POOLED":                        "cannot be read as a PostgreSQL URL",
		"REDIS_URL":                                  "must begin with redis://",
		"USAGE_TRACKING_BATCH_SIZE":                  `"many" is not a whole number`,
		"USAGE_EVENT_RETENTION_DAYS":                 "from 2 to",
		"USAGE_CACHE_TTL_SECONDS":                    "from 0 to",
		"USAGE_EVENT_RETENTION_DAY":                  "did you mean USAGE_EVENT_RETENTION_DAYS?",
		"USANCE_LATE_GRACE":                          `"yesterday" is not a duration`,
		"USANCE_ADDR":                                "host:port",
		"USANCE_ADMIN_KEY":                           "at least 16",
		"USANCE_JOB_CHECK_USAGE_THRESHOLDS_SCHEDULE": "not a cron line",
		"USANCE_FOO":                                 "is no setting",
		"USANCE_LOG_LEVEL":                           "debug, info, warn or error",
		"USANCE_LOG_FORMAT":                          "auto, json or text",
		"USANCE_URL":                                 "http://",
		"USANCE_RATE_LIMIT_CALLS":                    "from 0 to",
		"USANCE_RATE_LIMIT_EVENTS":                   `"1e6" is not a whole number`,
		"USANCE_TRUSTED_PROXIES":                     `"my-proxy" is neither an address nor a prefix`,
	} {
		if !strings.Contains(got[name], want) {
			t.Errorf("%s: %q, want …%s…", name, got[name], want)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("reported beside: %v", got)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a secret is printed:\n%v", err)
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 20 || !strings.Contains(lines[1], "VARIABLE") {
		t.Errorf("not a table of 18 rows:\n%v", err)
	}
}

// A day stays open for as long as late events of it may come, however early its
// first event came.
func TestRetentionOutlastsLateEvents(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		grace, days string
		least       int // 0: accepted
	}{
		{"24h", "3", 0}, {"24h", "2", 3}, {"22h", "2", 0}, {"22h1m", "2", 3}, {"1m", "2", 0},
		{"744h", "33", 0}, {"744h", "32", 33},
	} {
		_, err := loadConfig([]string{"USANCE_LATE_GRACE=" + c.grace, "USAGE_EVENT_RETENTION_DAYS=" + c.days}, nil)
		var faults configError
		errors.As(err, &faults)
		switch {
		case c.least == 0 && err != nil:
			t.Errorf("%s, %s days: %v", c.grace, c.days, err)
		case c.least > 0 && (len(faults) != 1 || faults[0].Variable != "USAGE_EVENT_RETENTION_DAYS" || !strings.Contains(faults[0].Problem, fmt.Sprintf("must be at least %d ", c.least))):
			t.Errorf("%s, %s days: %v, want at least %d", c.grace, c.days, err, c.least)
		}
	}
}

func TestFlagsComeBeforeTheEnvironment(t *testing.T) {
	t.Parallel()
	c, err := loadConfig([]string{"USANCE_ADDR=127.0.0.1:1", "USAGE_CACHE_TTL_SECONDS=bad"},
		map[string]string{"USANCE_ADDR": ":2", "USAGE_CACHE_TTL_SECONDS": "7"})
	if err != nil || c.Addr != ":2" || c.CacheTTLSeconds != 7 {
		t.Errorf("got %q, %d, %v", c.Addr, c.CacheTTLSeconds, err)
	}
}

// What PostgreSQL asks of the settings, and where a URL says that the data are.
func TestPostgresSettings(t *testing.T) {
	t.Parallel()
	const key = "USANCE_ADMIN_KEY=0123456789abcdef"
	for _, c := range []struct {
		environ []string
		where   string
		faults  []string
	}{
		{[]string{"DATABASE_URL=postgres://app:hunter2@db/usance", key}, "PostgreSQL at db:5432, database usance", nil},
		{[]string{"DATABASE_URL=postgresql://app:hunter2@[::1]:6432/usance?sslmode=require", key}, "PostgreSQL at [::1]:6432, database usance", nil},
		{[]string{"DATABASE_URL=postgres://app@/usance?host=/run/postgresql&password=hunter2", key}, "PostgreSQL at /run/postgresql, database usance", nil},
		{[]string{"DATABASE_URL=postgres://app:hunter2@db/usance"}, "", []string{"USANCE_ADMIN_KEY is required on PostgreSQL"}},
		{[]string{"DATABASE_URL=postgres://app:hun%ter2@db/usance", key}, "", []string{"DATABASE_URL cannot be read as a PostgreSQL URL"}},
		{[]string{"DATABASE_URL=postgres://app:hunter2@db/usance?sslmode=perhaps", key}, "", []string{"DATABASE_URL cannot be read as a PostgreSQL URL"}},
		{[]string{"DATABASE_URL=postgres://app:hunter2@db/usance", "USANCE_DATABASE_WAIT=2h", key}, "", []string{"USANCE_DATABASE_WAIT must be from 0s to 1h"}},
	} {
		got, err := loadConfig(c.environ, nil)
		var faults configError
		if errors.As(err, &faults) != (c.faults != nil) || len(faults) != len(c.faults) {
			t.Errorf("%q: %v", c.environ, err)
			continue
		}
		for i, want := range c.faults {
			if text := faults[i].Variable + " " + faults[i].Problem; !strings.HasPrefix(text, want) {
				t.Errorf("%q: %s, want %s", c.environ, text, want)
			}
		}
		if c.faults == nil && (!got.onPostgres() || got.where() != c.where) {
			t.Errorf("%q: %s, want %s", c.environ, got.where(), c.where)
		}
		if text := fmt.Sprintf("%v %+v", err, got); strings.Contains(text, "hunter2") {
			t.Errorf("%q: a secret is printed: %s", c.environ, text)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	c, err := loadConfig([]string{"USANCE_ADMIN_KEY=correct-horse-battery", "STRIPE_SECRET_KEY=correct-horse-battery", "SMTP_URL=smtp://u:correct-horse-battery@mail"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "config", c, "key", c.AdminKey)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "config", c, "key", c.AdminKey)
	fmt.Fprintf(&b, "%v %+v %#v %s %q\n", c, c, c, c.AdminKey, c.AdminKey)
	if err := json.NewEncoder(&b).Encode(c); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "correct-horse") || !strings.Contains(b.String(), "<secret>") {
		t.Errorf("printed: %s", b.String())
	}
	if got := c.idle(); !slices.Equal(got, []string{"SMTP_URL", "STRIPE_SECRET_KEY"}) {
		t.Errorf("settings without effect: %v", got)
	}
}

func TestEverySettingIsDocumented(t *testing.T) {
	t.Parallel()
	var table bytes.Buffer
	writeSettings(&table)
	const path = "../../docs/configuration.md"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		head, _, _ := bytes.Cut(table.Bytes(), []byte("\n")) // the page has other tables
		page = regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(string(head))+`\n(\|.*\n)+`).ReplaceAllLiteral(page, table.Bytes())
		if err := os.WriteFile(path, page, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Contains(page, table.Bytes()) {
		t.Errorf("%s does not hold the table of settings; run: make generate", path)
	}
	for i, s := range settings() {
		if s.Variable == "" || s.About == "" {
			t.Errorf("field %s has no variable or no description", reflect.TypeFor[config]().Field(i).Name)
		}
	}
}

func TestDatabaseURLs(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"sqlite:data/u.db": "data/u.db", "sqlite:/var/u.db": "/var/u.db", "sqlite:///var/u.db": "/var/u.db", "file:u.db": "u.db",
		"mysql://x": "", "u.db": "", "sqlite:": "", "sqlite::memory:": "", "sqlite:u.db?mode=ro": "", "postgres://x": "",
	} {
		c := config{DatabaseURL: secret(url)}
		got, err := c.databasePath()
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s is %q, %v; want %q", url, got, err, want)
		}
	}
}

func FuzzLoadConfig(f *testing.F) {
	f.Add("USANCE_ADDR", "127.0.0.1:0")
	f.Add("USANCE_LATE_GRACE", "1h")
	f.Add("USANCE_JOB_CHECK_USAGE_THRESHOLDS_SCHEDULE", "@hourly; 5 * * * *")
	f.Add("DATABASE_URL", "sqlite:x")
	f.Add("USAGE_CACHE_TTL", "")
	f.Fuzz(func(t *testing.T, name, value string) {
		_, err := loadConfig([]string{name + "=" + value}, map[string]string{"USANCE_ADDR": value})
		var faults configError
		if err != nil && (!errors.As(err, &faults) || len(faults) == 0) {
			t.Fatalf("answers %v, want a list of faults", err)
		}
	})
}
