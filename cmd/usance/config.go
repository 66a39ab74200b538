package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/usance/usance"
	"github.com/usance/usance/jobs"
)

// secret is a setting that never prints.
type secret string

func (s secret) String() string {
	if s == "" {
		return ""
	}
	return "<secret>"
}

// GoString keeps %#v from printing it.
func (s secret) GoString() string { return strconv.Quote(s.String()) }

// MarshalText keeps logs and JSON from printing it.
func (s secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// schedule is one or more cron lines, separated by semicolons.
type schedule []string

// UnmarshalText reads cron lines.
func (s *schedule) UnmarshalText(b []byte) (err error) {
	*s, err = jobs.ParseSchedule(string(b))
	return err
}

// networks are addresses or prefixes of addresses, separated by commas.
type networks []netip.Prefix

// UnmarshalText reads a list such as 10.0.0.0/8, 192.0.2.1.
func (n *networks) UnmarshalText(b []byte) error {
	*n = nil
	for part := range strings.SplitSeq(string(b), ",") {
		part = strings.TrimSpace(part)
		p, err := netip.ParsePrefix(part)
		if err != nil {
			addr, e := netip.ParseAddr(part)
			if e != nil {
				return fmt.Errorf("%q is neither an address nor a prefix such as 10.0.0.0/8", part)
			}
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		*n = append(*n, p.Masked())
	}
	return nil
}

// config is the settings of the program. Each comes from the environment
// variable named; a flag of the same name comes first.
type config struct {
	DatabaseURL       secret        `env:"DATABASE_URL" about:"where the data is kept: sqlite:PATH or postgres://user:password@host:5432/database; empty: usance.db in USANCE_DATA_DIR"`
	DatabaseURLPooled secret        `env:"DATABASE_URL_POOLED" about:"the same database by way of PgBouncer in transaction mode, which serve uses for all but migrations; empty: DATABASE_URL"`
	DatabaseWait      time.Duration `env:"USANCE_DATABASE_WAIT" envDefault:"1m" about:"how long a start waits for a PostgreSQL that is not up yet"`
	RedisURL          secret        `env:"REDIS_URL" about:"what several nodes share, the cache and the rate limits: redis://:password@host:6379/0, or rediss:// for TLS; empty: each process has its own"`
	DataDir           string        `env:"USANCE_DATA_DIR" envDefault:"usance-data" about:"folder of the data and of the admin key; on PostgreSQL nothing is kept there"`
	Addr              string        `env:"USANCE_ADDR" envDefault:"127.0.0.1:8080" about:"address to serve on"`
	AdminKey          secret        `env:"USANCE_ADMIN_KEY" about:"a secret that is an admin's, at least 16 characters; required on PostgreSQL; empty: made on the first start and kept in the data folder"`
	MetricsKey        secret        `env:"USANCE_METRICS_KEY" about:"the bearer token of /metrics; empty: open on a loopback address, else for admin keys"`
	LogLevel          string        `env:"USANCE_LOG_LEVEL" envDefault:"info" about:"debug, info, warn or error"`
	LogFormat         string        `env:"USANCE_LOG_FORMAT" envDefault:"auto" about:"json, text, or auto: text on a terminal"`

	OTLPEndpoint string `env:"OTEL_EXPORTER_OTLP_ENDPOINT" about:"where traces are sent, by OTLP over HTTP, such as http://127.0.0.1:4318; empty: nowhere. Other OTEL_ variables hold as OpenTelemetry's SDK has them"`
	ServiceName  string `env:"OTEL_SERVICE_NAME" envDefault:"usance" about:"the name of the service in traces and in JSON logs"`

	LateGrace        time.Duration `env:"USANCE_LATE_GRACE" envDefault:"24h" about:"how far back ordinary keys may date an event, and how long a period stays open after its end"`
	AutoApproveCents int64         `env:"USANCE_AUTO_APPROVE_CENTS" envDefault:"0" about:"overage fees up to this need no approval by a person"`
	BreachAlertDays  int           `env:"USANCE_BREACH_ALERT_DAYS" envDefault:"7" about:"days ahead within which a limit must be forecast to be passed for an alert"`
	FoldInterval     time.Duration `env:"USANCE_FOLD_INTERVAL" envDefault:"1s" about:"pause between folds while little is pending"`
	ShutdownTimeout  time.Duration `env:"USANCE_SHUTDOWN_TIMEOUT" envDefault:"30s" about:"how long requests under way may take when the program is stopped"`

	RateLimitCalls  int      `env:"USANCE_RATE_LIMIT_CALLS" envDefault:"1000" about:"operations a second that one key may call, those that send events apart; 0: any number"`
	RateLimitEvents int      `env:"USANCE_RATE_LIMIT_EVENTS" envDefault:"0" about:"events a second that one key may send; 0: any number"`
	TrustedProxies  networks `env:"USANCE_TRUSTED_PROXIES" about:"addresses and prefixes of the proxies in front, whose X-Forwarded-For names the client whose bad keys are limited; separated by commas"`

	BatchSize       int `env:"USAGE_TRACKING_BATCH_SIZE" envDefault:"100" about:"events that the importer sends at once, 1 to 10000"`
	RetentionDays   int `env:"USAGE_EVENT_RETENTION_DAYS" envDefault:"90" about:"days that raw events are kept, counted from their receipt: at least USANCE_LATE_GRACE and 26 hours"`
	CacheTTLSeconds int `env:"USAGE_CACHE_TTL_SECONDS" envDefault:"300" about:"how long answers over folded rows are kept; 0: not at all"`

	StripeSecretKey     secret `env:"STRIPE_SECRET_KEY" about:"not used by this build: an overage goes as far as APPROVED"`
	StripeWebhookSecret secret `env:"STRIPE_WEBHOOK_SECRET" about:"not used by this build"`
	StripeAPIBase       string `env:"STRIPE_API_BASE" about:"not used by this build"`
	SMTPURL             secret `env:"SMTP_URL" about:"not used by this build: alerts are read from the API"`

	AggregateSchedule    schedule `env:"USANCE_JOB_AGGREGATE_USAGE_METRICS_SCHEDULE" envDefault:"0 * * * *; 0 2 * * *" about:"cron lines in UTC of aggregateUsageMetrics; at those after the first it verifies too"`
	ThresholdsSchedule   schedule `env:"USANCE_JOB_CHECK_USAGE_THRESHOLDS_SCHEDULE" envDefault:"30 * * * *" about:"cron lines in UTC of checkUsageThresholds"`
	ForecastsSchedule    schedule `env:"USANCE_JOB_GENERATE_USAGE_FORECASTS_SCHEDULE" envDefault:"0 3 * * *" about:"cron lines in UTC of generateUsageForecasts"`
	BreachAlertsSchedule schedule `env:"USANCE_JOB_SEND_FORECAST_BREACH_ALERTS_SCHEDULE" envDefault:"0 9 * * *" about:"cron lines in UTC of sendForecastBreachAlerts"`
	AnomaliesSchedule    schedule `env:"USANCE_JOB_DETECT_USAGE_ANOMALIES_SCHEDULE" envDefault:"15 * * * *" about:"cron lines in UTC of detectUsageAnomalies"`
	CleanupSchedule      schedule `env:"USANCE_JOB_CLEANUP_OLD_USAGE_EVENTS_SCHEDULE" envDefault:"0 4 * * 0" about:"cron lines in UTC of cleanupOldUsageEvents"`

	URL string `env:"USANCE_URL" about:"the server that the commands talk to; empty: the one that has the data folder open"`
	Key secret `env:"USANCE_KEY" about:"the API key that the commands use; empty: USANCE_ADMIN_KEY, else, for the server of the data folder, the one kept there"`
}

// setting is one variable of config, as it is documented.
type setting struct{ Variable, Default, About string }

// settings lists the variables in the order of config's fields.
func settings() []setting {
	t := reflect.TypeFor[config]()
	out := make([]setting, t.NumField())
	for i := range out {
		tag := t.Field(i).Tag
		out[i] = setting{tag.Get("env"), tag.Get("envDefault"), tag.Get("about")}
	}
	return out
}

// fault is what is wrong with one variable.
type fault struct{ Variable, Problem string }

// configError holds every fault of a configuration.
type configError []fault

func (e configError) Error() string {
	var b strings.Builder
	noun := "faults"
	if len(e) == 1 {
		noun = "fault"
	}
	fmt.Fprintf(&b, "the configuration has %d %s:\n", len(e), noun)
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "  VARIABLE\tPROBLEM")
	for _, f := range e {
		fmt.Fprintf(w, "  %s\t%s\n", f.Variable, f.Problem)
	}
	_ = w.Flush() // into memory
	return strings.TrimRight(b.String(), "\n")
}

// ours tells whether a variable name belongs to this program alone, so that an
// unknown one is a slip of the pen: it is refused rather than left without effect.
func ours(name string) bool {
	for _, p := range []string{"USANCE_", "USAGE_TRACKING_", "USAGE_EVENT_", "USAGE_CACHE_"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// loadConfig reads the settings from the environment (NAME=value lines), those
// in flags coming first. It reports every fault at once, as a configError.
func loadConfig(environ []string, flags map[string]string) (config, error) {
	vars := make(map[string]string)
	var faults configError
	known := settings()
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		if value = strings.TrimSpace(value); value == "" {
			continue // as good as not set
		}
		vars[name] = value
		isKnown := slices.ContainsFunc(known, func(s setting) bool { return s.Variable == name })
		if !isKnown && ours(name) {
			faults = append(faults, fault{name, "is no setting of this program" + nearest(name, known)})
		}
	}
	for name, value := range flags {
		vars[name] = strings.TrimSpace(value)
		if vars[name] == "" {
			delete(vars, name)
		}
	}
	var c config
	if err := env.ParseWithOptions(&c, env.Options{Environment: vars}); err != nil {
		faults = append(faults, parseFaults(err, vars)...)
	}
	faults = append(faults, c.check(faults)...)
	if len(faults) > 0 {
		slices.SortStableFunc(faults, func(a, b fault) int { return strings.Compare(a.Variable, b.Variable) })
		return c, faults
	}
	return c, nil
}

// parseFaults names the variables whose values could not be read.
func parseFaults(err error, vars map[string]string) []fault {
	var all env.AggregateError
	if !errors.As(err, &all) {
		return []fault{{"", err.Error()}}
	}
	var out []fault
	for _, e := range all.Errors {
		var p env.ParseError
		if !errors.As(e, &p) {
			out = append(out, fault{"", e.Error()})
			continue
		}
		f, _ := reflect.TypeFor[config]().FieldByName(p.Name)
		name := f.Tag.Get("env")
		problem := p.Err.Error()
		switch f.Type.Kind() {
		case reflect.Int, reflect.Int64:
			problem = fmt.Sprintf("%q is not a whole number", vars[name])
			if f.Type == reflect.TypeFor[time.Duration]() {
				problem = fmt.Sprintf("%q is not a duration such as 90s, 15m or 24h", vars[name])
			}
		}
		out = append(out, fault{name, problem})
	}
	return out
}

// check finds what is wrong with values that could be read; those of faults
// could not.
func (c *config) check(unread []fault) []fault {
	var out []fault
	bad := func(name, format string, args ...any) {
		if !slices.ContainsFunc(unread, func(f fault) bool { return f.Variable == name }) {
			out = append(out, fault{name, fmt.Sprintf(format, args...)})
		}
	}
	within := func(name string, n, low, high int64) {
		if n < low || n > high {
			bad(name, "must be from %d to %d, not %d", low, high, n)
		}
	}
	if err := c.checkDatabase(); err != nil {
		bad("DATABASE_URL", "%v", err)
	}
	if err := c.checkPooled(); err != nil {
		bad("DATABASE_URL_POOLED", "%v", err)
	}
	if c.onPostgres() && c.AdminKey == "" {
		bad("USANCE_ADMIN_KEY", "is required on PostgreSQL, where all nodes must share it; make one with: openssl rand -hex 32")
	}
	if err := c.checkRedis(); err != nil {
		bad("REDIS_URL", "%v", err)
	}
	if err := c.checkEndpoint(); c.OTLPEndpoint != "" && err != nil {
		bad("OTEL_EXPORTER_OTLP_ENDPOINT", "%v", err)
	}
	if _, port, err := net.SplitHostPort(c.Addr); err != nil {
		bad("USANCE_ADDR", "%q is not host:port, such as 127.0.0.1:8080 or :8080", c.Addr)
	} else if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		bad("USANCE_ADDR", "%q is not a port, 0 to 65535", port)
	}
	if c.AdminKey != "" && len(c.AdminKey) < 16 {
		bad("USANCE_ADMIN_KEY", "must be at least 16 characters; make one with: openssl rand -hex 32")
	}
	if c.MetricsKey != "" && len(c.MetricsKey) < 16 {
		bad("USANCE_METRICS_KEY", "must be at least 16 characters; make one with: openssl rand -hex 32")
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel) {
		bad("USANCE_LOG_LEVEL", "must be debug, info, warn or error, not %q", c.LogLevel)
	}
	if !slices.Contains([]string{"auto", "json", "text"}, c.LogFormat) {
		bad("USANCE_LOG_FORMAT", "must be auto, json or text, not %q", c.LogFormat)
	}
	if c.LateGrace < time.Minute || c.LateGrace > usance.MaxLateGrace {
		bad("USANCE_LATE_GRACE", "must be from 1m to 744h, not %s", c.LateGrace)
	}
	within("USANCE_AUTO_APPROVE_CENTS", c.AutoApproveCents, 0, 1_000_000_000_000)
	if c.FoldInterval < 10*time.Millisecond || c.FoldInterval > time.Minute {
		bad("USANCE_FOLD_INTERVAL", "must be from 10ms to 1m, not %s", c.FoldInterval)
	}
	if c.ShutdownTimeout < time.Second || c.ShutdownTimeout > 10*time.Minute {
		bad("USANCE_SHUTDOWN_TIMEOUT", "must be from 1s to 10m, not %s", c.ShutdownTimeout)
	}
	if c.DatabaseWait < 0 || c.DatabaseWait > time.Hour {
		bad("USANCE_DATABASE_WAIT", "must be from 0s to 1h, not %s", c.DatabaseWait)
	}
	within("USANCE_RATE_LIMIT_CALLS", int64(c.RateLimitCalls), 0, 1_000_000)
	within("USANCE_RATE_LIMIT_EVENTS", int64(c.RateLimitEvents), 0, 100_000_000)
	within("USANCE_BREACH_ALERT_DAYS", int64(c.BreachAlertDays), 1, 366)
	within("USAGE_TRACKING_BATCH_SIZE", int64(c.BatchSize), 1, usance.MaxBatch)
	within("USAGE_EVENT_RETENTION_DAYS", int64(c.RetentionDays), 2, 3660)
	unreadGrace := slices.ContainsFunc(unread, func(f fault) bool { return f.Variable == "USANCE_LATE_GRACE" })
	if least := leastRetention(c.LateGrace); c.RetentionDays >= 2 && c.RetentionDays < least && !unreadGrace {
		bad("USAGE_EVENT_RETENTION_DAYS", "must be at least %d while USANCE_LATE_GRACE is %s, not %d: it closes a day that late events may still come for; set %[1]d, or a shorter grace",
			least, c.LateGrace, c.RetentionDays)
	}
	within("USAGE_CACHE_TTL_SECONDS", int64(c.CacheTTLSeconds), 0, 86_400)
	if c.URL != "" && !strings.HasPrefix(c.URL, "http://") && !strings.HasPrefix(c.URL, "https://") {
		bad("USANCE_URL", "must begin with http:// or https://")
	}
	return out
}

// retention is how long raw events are kept.
func (c config) retention() time.Duration { return time.Duration(c.RetentionDays) * 24 * time.Hour }

// leastRetention is for how many days raw events must be kept, so that a day is
// not closed while what may still be dated into it comes: a day is closed when
// its first event is due, which may have come with its beginning, and late ones
// come until the grace after its end. Days have up to 25 hours, and events may
// be dated some minutes ahead.
func leastRetention(grace time.Duration) int {
	const day = 24 * time.Hour
	return int((26*time.Hour + grace + day - 1) / day)
}

// idle names the settings that are set and have no effect in this build.
func (c *config) idle() []string {
	var out []string
	for name, set := range map[string]bool{
		"STRIPE_SECRET_KEY": c.StripeSecretKey != "", "STRIPE_WEBHOOK_SECRET": c.StripeWebhookSecret != "",
		"STRIPE_API_BASE": c.StripeAPIBase != "", "SMTP_URL": c.SMTPURL != "",
	} {
		if set {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// nearest proposes the setting that a mistyped name is likely to mean.
func nearest(name string, known []setting) string {
	best, distance := "", 5
	for _, s := range known {
		if d := edits(name, s.Variable); d < distance {
			best, distance = s.Variable, d
		}
	}
	if best == "" {
		return "; see: usance serve --help"
	}
	return "; did you mean " + best + "?"
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			corner, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, corner+cost)
		}
	}
	return row[len(b)]
}

// writeSettings writes the table of settings that docs/configuration.md holds.
func writeSettings(w io.Writer) {
	fmt.Fprintln(w, "| variable | flag | default | |")
	fmt.Fprintln(w, "|---|---|---|---|")
	for _, s := range settings() {
		def := s.Default
		if def != "" {
			def = "`" + def + "`"
		}
		fmt.Fprintf(w, "| `%s` | `--%s` | %s | %s |\n", s.Variable, flagOf(s.Variable), def, s.About)
	}
}

// flagOf is the flag of a variable: its name in lower case with dashes, without
// the program's own prefix.
func flagOf(variable string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(variable, "USANCE_")), "_", "-")
}
