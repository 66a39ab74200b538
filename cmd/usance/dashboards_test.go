package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// promtool runs Prometheus's own tool.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("promtool is not installed; run: make tools")
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %v: %v\n%s", args, err, out)
	}
}

// asksOf looks at the metrics that an expression asks for, and at their labels.
func asksOf(t *testing.T, served map[string][]string, what, expr string) {
	t.Helper()
	names := metricNames(expr)
	if len(names) == 0 {
		t.Errorf("%s asks for no metric: %s", what, expr)
	}
	for _, name := range names {
		if served[name] == nil {
			t.Errorf("%s asks for %s, which the server does not serve", what, name)
		}
	}
	for _, selector := range regexp.MustCompile(`(usance_[a-z_]+)\{([^}]*)\}`).FindAllStringSubmatch(expr, -1) {
		for _, label := range regexp.MustCompile(`([a-z_]+)(=|!=|=~|!~)"`).FindAllStringSubmatch(selector[2], -1) {
			if name := metricNames(selector[1])[0]; label[1] != "instance" && !slices.Contains(served[name], label[1]) {
				t.Errorf("%s asks for the label %q of %s, which has %v", what, label[1], name, served[name])
			}
		}
	}
}

// The alert rules are right by Prometheus's own tool, each is tested to come and
// not to come, and asks for what is served.
func TestAlertRules(t *testing.T) {
	t.Parallel()
	const rules, tests = "../../deploy/prometheus/usance.rules.yml", "../../deploy/prometheus/usance.rules.test.yml"
	promtool(t, "check", "rules", rules)
	promtool(t, "test", "rules", tests)
	text, err := os.ReadFile(rules)
	if err != nil {
		t.Fatal(err)
	}
	tested, err := os.ReadFile(tests)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	served := servedMetrics(t)
	alerts := strings.Split(string(text), "- alert: ")[1:]
	if len(alerts) < 15 {
		t.Fatalf("%d alerts", len(alerts))
	}
	for _, alert := range alerts {
		name, _, _ := strings.Cut(alert, "\n")
		expr, _, _ := strings.Cut(alert[strings.Index(alert, "expr:"):], "labels:")
		asksOf(t, served, name, expr)
		if !regexp.MustCompile(`alertname: ` + name + `\n +exp_alerts:`).Match(tested) {
			t.Errorf("%s: no test has it come", name)
		}
		if !strings.Contains(string(tested), "alertname: "+name+"}") {
			t.Errorf("%s: no test has it not come", name)
		}
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/operations.md does not say what to do at %s", name)
		}
	}
	// Each line that is monitored has its place there.
	for _, m := range monitored {
		if !strings.Contains(string(text), "# "+m.line) {
			t.Errorf("no rule is of the line %q", m.line)
		}
	}
}

// The dashboard is one that Grafana can show, and asks for what is served.
func TestDashboard(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../deploy/grafana/usance.json")
	if err != nil {
		t.Fatal(err)
	}
	type source struct{ Type, UID string }
	var board struct {
		UID, Title    string
		SchemaVersion int
		Templating    struct {
			List []struct{ Name, Type string }
		}
		Panels []struct {
			ID          int
			Type, Title string
			Datasource  source
			GridPos     struct{ X, Y, W, H int }
			Targets     []struct {
				RefID, Expr string
				Datasource  source
			}
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	if board.UID == "" || board.Title == "" || board.SchemaVersion < 36 || len(board.Templating.List) != 2 {
		t.Errorf("%+v", board)
	}
	served := servedMetrics(t)
	asked := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*")
	rules := strings.Builder{}
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	ids, places, titles := map[int]bool{}, map[[2]int]string{}, ""
	for _, p := range board.Panels {
		if ids[p.ID] || p.Title == "" || p.GridPos.X+p.GridPos.W > 24 || p.GridPos.W < 1 || p.GridPos.H < 1 {
			t.Errorf("panel %d %q at %v", p.ID, p.Title, p.GridPos)
		}
		ids[p.ID] = true
		titles += p.Title + "\n"
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if places[at] != "" {
					t.Fatalf("%q lies over %q", p.Title, places[at])
				}
				places[at] = p.Title
			}
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			asksOf(t, served, p.Title, target.Expr)
			if target.Datasource != (source{"prometheus", "${datasource}"}) || p.Datasource != target.Datasource || target.RefID == "" {
				t.Errorf("%q: %+v", p.Title, target)
			}
			expr, err := json.Marshal(asked.Replace(target.Expr)) // a string of JSON is one of YAML
			if err != nil {
				t.Fatal(err)
			}
			rules.WriteString("  - record: dashboard\n    labels: {panel: " + strings.ToLower(target.RefID) + ", id: \"" + p.Title + "\"}\n    expr: " + string(expr) + "\n")
		}
	}
	for _, m := range monitored {
		if !strings.Contains(titles, m.line) {
			t.Errorf("no panel shows the line %q", m.line)
		}
	}
	if !strings.Contains(titles, "Forecast accuracy") {
		t.Error("no panel shows the accuracy of forecasts")
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", file)
}
