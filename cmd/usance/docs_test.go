package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/usance/usance/store/postgres"
	"github.com/usance/usance/store/postgres/pgtest"
)

// page is a page of docs whose commands are carried out as they stand, in their
// order, as an operator would.
type page struct {
	t       *testing.T
	dir     string
	environ []string
	words   *strings.Replacer // what stands in the page for something of the reader's
	node    *exec.Cmd
	log     *lockedBuffer
}

func newPage(t *testing.T, environ ...string) *page {
	t.Helper()
	p := &page{t: t, dir: t.TempDir(), log: new(lockedBuffer), words: strings.NewReplacer()}
	bin := t.TempDir()
	if err := os.Symlink(os.Args[0], filepath.Join(bin, "usance")); err != nil {
		t.Fatal(err)
	}
	tools, err := pgtest.Tool("pg_dump")
	if err != nil {
		t.Fatal(err)
	}
	p.environ = append([]string{"RUN_AS_USANCE=1", "USANCE_ADDR=127.0.0.1:0", "USANCE_LOG_LEVEL=error", "HOME=" + p.dir,
		"PATH=" + bin + ":" + filepath.Dir(tools) + ":" + os.Getenv("PATH")}, environ...)
	t.Cleanup(p.stop)
	return p
}

// set sets an environment variable from now on.
func (p *page) set(name, value string) { p.environ = append(p.environ, name+"="+value) }

// blocks gives the commands of a page, and nothing that is no command.
func blocks(t *testing.T, name string) (out []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?ms)^```(sh|sql)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		out = append(out, m[2])
	}
	return out
}

// run carries out commands, those that ask with yes, and gives what they say.
// usance serve, which does not end, is started and left running.
func (p *page) run(commands string) string {
	p.t.Helper()
	commands = p.words.Replace(commands)
	serve := regexp.MustCompile(`(?m)^(\S+=\S+ )*usance serve.*$`).FindString(commands)
	if serve != "" {
		commands = strings.Replace(commands, serve, "env >env.after", 1)
	}
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", commands)
	cmd.Dir, cmd.Env, cmd.Stdin = p.dir, p.environ, strings.NewReader("yes\nyes\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("%s\n%v: %s", commands, err, out)
	}
	if serve != "" {
		p.serve(strings.Fields(strings.Split(serve, "usance serve")[0]))
	}
	return string(out)
}

// serve starts a node with what the commands before it have set.
func (p *page) serve(more []string) {
	p.t.Helper()
	p.stop()
	b, err := os.ReadFile(filepath.Join(p.dir, "env.after"))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && (strings.HasPrefix(name, "USANCE_") || strings.HasPrefix(name, "DATABASE_URL")) {
			p.set(name, value)
		}
	}
	p.node = exec.Command(os.Args[0], "serve")
	p.node.Dir, p.node.Env, p.node.Stdout, p.node.Stderr = p.dir, append(append([]string{}, p.environ...), more...), p.log, p.log
	before := len(p.log.String())
	if err := p.node.Start(); err != nil {
		p.t.Fatal(err)
	}
	url := regexp.MustCompile(` serves (http://\S+)`)
	await(p.t, func() bool { return url.MatchString(p.log.String()[before:]) })
	p.set("URL", url.FindStringSubmatch(p.log.String()[before:])[1])
}

// stop stops the node, if there is one.
func (p *page) stop() {
	if p.node == nil {
		return
	}
	_ = p.node.Process.Signal(os.Interrupt)
	_ = p.node.Wait()
	p.node = nil
}

// ask sends a request to the node.
func (p *page) ask(method, path, body string) string {
	return p.run(fmt.Sprintf("curl -sS --fail-with-body -X %s $URL%s -H \"Authorization: Bearer ${USANCE_ADMIN_KEY:-$(cat usance-data/admin.key)}\" -d '%s'", method, path, body))
}

// steps carries out the blocks of a page. Each must be known, by how it begins.
func (p *page) steps(name string, steps []step) {
	p.t.Helper()
	all := blocks(p.t, name)
	for i, block := range all {
		if i >= len(steps) || !strings.HasPrefix(block, steps[i].begins) {
			p.t.Fatalf("docs/%s has a block that is not tried out:\n%s", name, block)
		}
		if steps[i].before != nil {
			steps[i].before()
		}
		run := steps[i].run
		if run == nil {
			run = p.run
		}
		said := run(block)
		if !regexp.MustCompile(steps[i].says).MatchString(said) {
			p.t.Errorf("docs/%s: this\n%s\nsays no %q:\n%s", name, block, steps[i].says, said)
		}
	}
	if len(all) != len(steps) {
		p.t.Errorf("docs/%s has %d blocks, %d are known", name, len(all), len(steps))
	}
}

// step is what is to be done and seen at a block.
type step struct {
	begins string
	says   string
	before func()
	run    func(block string) string
}

// TestPostgreSQLPage: the commands of the page do what it says.
func TestPostgreSQLPage(t *testing.T) {
	t.Parallel()
	pg := pgtest.Start(t)
	server, err := pg.Database(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	of := func(database string) string {
		t.Helper()
		u, err := postgres.WithDatabase(server, database)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Replace(u, "usance@", "shop@", 1) // the role that the page makes
	}
	host := regexp.MustCompile(`host=([^&]+)`).FindStringSubmatch(server)[1]
	p := newPage(t, "PGHOST="+host, "PGUSER=usance", "PGDATABASE=postgres")
	p.words = strings.NewReplacer(
		"postgres://usance:PASSWORD@db.example:5432/usance?sslmode=verify-full", "'"+of("shop")+"'",
		"postgres://usance:PASSWORD@db.example:5432/usance", "'"+of("shop")+"'",
		"postgres://usance:PASSWORD@pooler.example:6432/usance", "'"+pg.Pool(t).URL(strings.Replace(of("shop"), "shop@", "usance@", 1))+"'",
		"postgres://usance:PASSWORD@db.example/restored", of("restored"), "--owner=usance", "--owner=shop",
		"postgres://usance@db.example:5432/usance", "'"+of("moved")+"'")
	asOwner := strings.NewReplacer("ROLE usance", "ROLE shop", "DATABASE usance OWNER usance", "DATABASE shop OWNER shop", "AUTHORIZATION usance", "AUTHORIZATION shop")
	sql := func(url string) func(string) string {
		return func(block string) string {
			t.Helper()
			c, err := postgres.Connect(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close(context.WithoutCancel(t.Context()))
			for statement := range strings.SplitSeq(strings.TrimSpace(asOwner.Replace(block)), ";\n") {
				if _, err := c.Exec(t.Context(), statement); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
			}
			return ""
		}
	}
	all := blocks(t, "postgresql.md")
	for _, block := range all { // what the first block needs
		if strings.HasPrefix(block, "CREATE ROLE") {
			sql(server)(block)
		}
	}
	p.set("DATABASE_URL", of("shop"))
	p.set("USANCE_ADMIN_KEY", scriptKey)
	p.run("usance migrate up") // which check wants
	p.steps("postgresql.md", []step{
		{begins: "export DATABASE_URL", says: `ok +database`},
		{begins: "CREATE ROLE usance", run: func(string) string { return "" }, before: func() {
			p.ask("PUT", "/v1/licenses/lic_1", `{"brandId":"b","assetId":"a","status":"ACTIVE"}`)
			p.ask("POST", "/v1/events", `{"licenseId":"lic_1","usageType":"view","idempotencyKey":"k"}`)
		}},
		{begins: "export DATABASE_URL", run: func(block string) string {
			p.run(block + "usance serve\n")
			return p.ask("POST", "/v1/events", `{"licenseId":"lic_1","usageType":"view","idempotencyKey":"k"}`)
		}, says: `"duplicate":true`},
		{begins: "CREATE EXTENSION citus", run: func(string) string { return "" }}, // which not every machine has
		{begins: "usance migrate resolve --rolled-back 20261130000010", says: "applied 20261130000010"},
		{begins: "usance migrate status", says: `nothing is pending`},
		{begins: "UPDATE licenses SET usage_tracking_enabled", run: sql(of("shop"))},
		{begins: "CREATE SCHEMA usance", run: func(block string) string {
			sql(server)("CREATE DATABASE host OWNER shop;\n")
			sql(of("host"))("CREATE TABLE brands (mine int);\n" + block)
			return p.run("! usance migrate up --database-url '" + of("host") + "' && usance migrate up --database-url '" + of("host") + "&search_path=usance,public'")
		}, says: "(?s)tables of other programs.*applied 2024"},
		{begins: "pg_dump"},
		{begins: "createdb", says: `ok`},
		{begins: "usance migrate down", before: p.stop, says: "took back"},
		{begins: `psql "$DATABASE_URL" -c "UPDATE`, before: func() { p.run("usance migrate up") }, says: `(?s)UPDATE 1.*is paused.*applied 2024`},
		{begins: "usance migrate resolve"},
		{begins: "# the server on the file is stopped", before: func() {
			p.run("env -u DATABASE_URL -u DATABASE_URL_POOLED usance migrate up")
			sql(server)("CREATE DATABASE moved OWNER shop;\n")
		}, run: func(block string) string {
			return p.run("unset DATABASE_URL DATABASE_URL_POOLED USANCE_ADMIN_KEY\n" + block)
		}},
		{begins: "# Events are not tracked", before: func() { p.run("usance migrate up") }, says: `(?s)enabled.*oldest.*n_dead_tup.*allow_overage.*checkUsageThresholds has run`},
	})
}

// TestOperationsPage: the same, of the page on the embedded database.
func TestOperationsPage(t *testing.T) {
	t.Parallel()
	p := newPage(t)
	count := func(key string) string {
		return p.ask("POST", "/v1/events", `{"licenseId":"lic_123","usageType":"view","idempotencyKey":"`+key+`"}`)
	}
	p.run("usance serve")
	p.ask("PUT", "/v1/licenses/lic_123", `{"brandId":"b","assetId":"a","status":"ACTIVE"}`)
	count("a")
	p.steps("operations.md", []step{
		{begins: "OTEL_EXPORTER_OTLP_ENDPOINT"},
		{begins: "usance backup usance-backup.db"},
		{begins: "mkdir -m 700 restored", before: func() { count("b"); p.stop() }, says: "ok"},
		{begins: "usance backup before-upgrade.db", before: func() {
			if said := count("a") + count("b"); strings.Count(said, `"duplicate":true`) != 1 {
				t.Errorf("after the restore: %s", said)
			}
		}, run: func(block string) string {
			before, after, _ := strings.Cut(block, "# stop the server")
			said := p.run(before)
			p.stop()
			return said + p.run("# stop the server"+after)
		}, says: `ok +migrations`},
		{begins: "usance migrate status", before: p.stop, says: "took back"},
		{begins: "sqlite3 -cmd", before: func() { p.run("usance migrate up\nusance serve") }, run: func(block string) string {
			lines := strings.SplitAfter(block, "\n")
			said := p.run(lines[0])
			if refused := count("c"); !strings.Contains(refused, "TRACKING_DISABLED") {
				t.Errorf("tracking is disabled: %s", refused)
			}
			said += p.run(lines[1])
			p.stop()
			return said + p.run(lines[2])
		}, says: `(?s)is paused.*applied 2024`},
		{begins: "sqlite3 -cmd", before: func() { p.run("usance serve") }, says: "is scheduled again"},
		{begins: "usance migrate resolve", before: p.stop, says: "applied 2024"},
		{begins: "df -h", says: `ok +test event`},
		{begins: "mkdir -m 700 rescued", before: func() {
			p.run("usance serve")
			p.ask("PUT", "/v1/licenses/lic_123", `{"brandId":"b","assetId":"a","status":"ACTIVE"}`)
			count("d")
			p.run(`rm usance-data/usance.db; test "$(curl -sS -o /dev/null -w '%{http_code}' $URL/readyz)" = 503; ! usance check`)
			p.words = strings.NewReplacer("$(pidof usance)", strconv.Itoa(p.node.Process.Pid))
		}, run: func(block string) string {
			before, after, _ := strings.Cut(block, "# stop the server")
			said := p.run(before)
			p.stop()
			return said + p.run("# stop the server"+after)
		}, says: "ok +file"},
		{begins: "sqlite3 usance-data/usance.db \"DELETE", before: func() {
			p.stop()
			p.run("sqlite3 usance-data/usance.db .dump > whole.sql\n" +
				"sqlite3 usance-data/usance.db 'DROP INDEX license_usage_events_key'\n" +
				"grep '^INSERT INTO license_usage_events VALUES' whole.sql | sed 's/VALUES([0-9]*,/VALUES(NULL,/' | sqlite3 usance-data/usance.db\n" +
				`! sqlite3 usance-data/usance.db "$(grep -o 'CREATE UNIQUE INDEX license_usage_events_key .*;' whole.sql)"`)
		}, run: func(block string) string {
			return p.run(block + "\n" + `sqlite3 usance-data/usance.db "$(grep -o 'CREATE UNIQUE INDEX license_usage_events_key .*;' whole.sql)" && usance check && usance verify --deep --only books`)
		}, says: "ok +books: rollups"},
		{begins: "curl", before: func() {
			p.run("usance serve")
			if said := count("d"); !strings.Contains(said, `"duplicate":true`) {
				t.Errorf("after the rescue: %s", said)
			}
			p.run("usance keys list")
			p.ask("PUT", "/v1/licenses/lic_123", `{"brandId":"b","assetId":"a","status":"ACTIVE"}`)
		}, run: func(block string) string {
			return p.run("export USANCE_URL=$URL USANCE_KEY=$(cat usance-data/admin.key)\n" + strings.ReplaceAll(block, "curl ", "curl -sS --fail-with-body "))
		}},
	})
}
