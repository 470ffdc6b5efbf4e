package telemetry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	dto "github.com/prometheus/client_model/go"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/internal/telemetry"
	"github.com/freshet/freshet/internal/telemetry/alerttest"
)

const (
	alertsFile    = "../../deploy/prometheus-alerts.yml"
	dashboardFile = "../../deploy/grafana-dashboard.json"
	metricsPage   = "../../docs/metrics.md"
)

type families = alerttest.Families

// incident is what is scraped before and after everything goes wrong at once,
// but for the server's end.
func incident(t *testing.T) (before, after families, server *redistest.Server) {
	t.Helper()
	server, bus, inspector := open(t)
	old := time.Now().Add(-2 * time.Hour).UnixMilli()
	for n := range 700 {
		server.Do("XADD", "acme:events", strconv.FormatInt(old+int64(n), 10)+"-0", "data", "{}")
	}
	server.Do("XGROUP", "CREATE", "acme:events", "stuck", "0") // reads, and never acknowledges
	server.Do("XREADGROUP", "GROUP", "stuck", "them", "COUNT", "600", "STREAMS", "acme:events", ">")
	server.Do("XGROUP", "CREATE", "acme:events", "unknown", strconv.FormatInt(old+300, 10)+"-5")
	server.Do("XGROUP", "CREATE", "acme:events", "abandoned", "0")
	half := strconv.FormatInt(time.Now().Add(-time.Hour/2).UnixMilli(), 10)
	server.Do("XADD", "acme:late", half+"-0", "data", "{}")
	server.Do("XADD", "acme:late", half+"-1", "data", "{}")
	server.Do("XADD", "acme:late", half+"-2", "data", "{}")
	server.Do("XGROUP", "CREATE", "acme:late", "late", "0")
	server.Do("XREADGROUP", "GROUP", "late", "them", "COUNT", "1", "STREAMS", "acme:late", ">")
	publish(t, bus, "poison")
	server.Do("XGROUP", "CREATE", userStream, "crm-copy", "0")

	look := func(ctx context.Context) (*inspect.Snapshot, error) {
		return inspector.Snapshot(ctx, inspect.SnapshotConfig{Patterns: []string{userStream, "acme:*"}, CountTo: 1})
	}
	stats := freshet.Stats{}
	see := func() families {
		m := telemetry.NewMetrics("v")
		m.Consumer("crm-copy", func() freshet.Stats { return stats }, func() error { return errors.New("stuck") })
		m.Applied(time.Millisecond, nil)
		watch(t, m, look)
		return scrape(t, m)
	}
	before = see()
	// a consumer that dead-letters, a stream that is trimmed, and a loss found
	m := telemetry.NewMetrics("v")
	consume(t, bus, m, "crm-copy")
	server.Do("XTRIM", "acme:late", "MINID", half+"-2")
	stats.LostUnread = 1
	after = see()
	for name, family := range scrape(t, m) { // what only a process that has handled something tells
		if after[name] == nil {
			after[name] = family
		}
	}
	publish(t, bus, "u1")
	h := telemetry.NewMetrics("v")
	consume(t, bus, h, "another")
	for name, family := range scrape(t, h) {
		if after[name] == nil {
			after[name] = family
		}
	}
	return before, after, server
}

var (
	selector  = regexp.MustCompile(`(freshet_\w+)(?:\{([^}]*)\})?`)
	grouping  = regexp.MustCompile(`\b(?:by|on|without)\s*\(([^)]*)\)`)
	named     = regexp.MustCompile(`\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}`)
	matched   = regexp.MustCompile(`(\w+)\s*(?:=~|!=|!~|=)`)
	labelList = regexp.MustCompile(`label_values\((freshet_\w+), (\w+)\)`)
)

// labelsOf returns the labels of each name that can stand in an expression.
func labelsOf(exposed families) map[string][]string {
	labels := map[string][]string{}
	for name, family := range exposed {
		var names []string
		for _, l := range family.GetMetric()[0].GetLabel() {
			names = append(names, l.GetName())
		}
		labels[name] = names
		if family.GetType() == dto.MetricType_HISTOGRAM {
			delete(labels, name)
			labels[name+"_bucket"] = append(slices.Clone(names), "le")
			labels[name+"_count"], labels[name+"_sum"] = names, names
		}
	}
	return labels
}

// TestDeployNamesWhatIsExposed: every metric and label of the alerts, of the
// dashboard and of the page on metrics is one that the exporter exposes, and
// the page has them all.
func TestDeployNamesWhatIsExposed(t *testing.T) {
	_, after, _ := incident(t)
	exposed := labelsOf(after)
	check := func(where, expr string, texts ...string) {
		t.Helper()
		known := []string{"instance", "job"}
		for _, m := range selector.FindAllStringSubmatch(expr, -1) {
			labels, ok := exposed[m[1]]
			if !ok {
				t.Errorf("%s: %s is not exposed", where, m[1])
				continue
			}
			known = append(known, labels...)
			for _, label := range matched.FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains(labels, label[1]) {
					t.Errorf("%s: %s has no label %s", where, m[1], label[1])
				}
			}
		}
		used := []string{}
		for _, m := range grouping.FindAllStringSubmatch(expr, -1) {
			used = append(used, strings.FieldsFunc(m[1], func(r rune) bool { return r == ',' || r == ' ' })...)
		}
		for _, text := range texts {
			for _, m := range named.FindAllStringSubmatch(text, -1) {
				used = append(used, m[1])
			}
		}
		for _, label := range used {
			if !slices.Contains(known, label) {
				t.Errorf("%s: no metric there has the label %s", where, label)
			}
		}
	}
	rules := alerts(t)
	if len(rules) < 10 {
		t.Fatalf("%d alerts", len(rules))
	}
	for _, r := range rules {
		check(r.Alert, r.Expr, r.Annotations["summary"], r.Annotations["description"])
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
		Templating struct {
			List []struct {
				Name  string
				Query any
			}
		}
	}
	text, err := os.ReadFile(dashboardFile)
	if err != nil || json.Unmarshal(text, &dashboard) != nil {
		t.Fatalf("dashboard: %v", err)
	}
	seen := 0
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			seen++
			check("panel "+p.Title, target.Expr, target.LegendFormat)
		}
	}
	for _, v := range dashboard.Templating.List {
		for _, m := range labelList.FindAllStringSubmatch(fmt.Sprint(v.Query), -1) {
			seen++
			if !slices.Contains(exposed[m[1]], m[2]) {
				t.Errorf("variable %s: %s has no label %s", v.Name, m[1], m[2])
			}
		}
	}
	if seen < 20 {
		t.Errorf("%d expressions in the dashboard", seen)
	}
	page, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	for name := range after {
		if strings.HasPrefix(name, "freshet_") && !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("%s does not have %s", metricsPage, name)
		}
	}
	for _, name := range regexp.MustCompile("`(freshet_\\w+)`").FindAllStringSubmatch(string(page), -1) {
		if after[name[1]] == nil {
			t.Errorf("%s has %s, which is not exposed", metricsPage, name[1])
		}
	}
}

type rule struct {
	Alert, Expr string
	Annotations map[string]string
}

func alerts(t *testing.T) (rules []rule) {
	t.Helper()
	text, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		rules = append(rules, g.Rules...)
	}
	return rules
}

// TestAlertsFire has Prometheus's own tool evaluate the alerts on what was
// really scraped: in an incident each fires, and otherwise none does.
func TestAlertsFire(t *testing.T) {
	before, after, server := incident(t)
	server.Kill()
	down := telemetry.NewMetrics("v")
	inspector := func(context.Context) (*inspect.Snapshot, error) { return nil, errors.New("down") }
	watch(t, down, inspector)

	gone := []string{"FreshetAbsent"}
	off := []string{"FreshetRedisDown"}
	var wrong []string
	for _, r := range alerts(t) {
		if !slices.Contains(gone, r.Alert) && !slices.Contains(off, r.Alert) {
			wrong = append(wrong, r.Alert)
		}
	}
	situation := func(name string, series []alerttest.Series, firing []string) alerttest.Situation {
		s := alerttest.Situation{Name: name, Series: series, By: "alertname"}
		for _, alert := range firing {
			s.Firing = append(s.Firing, fmt.Sprintf(`{alertname=%q}`, alert))
		}
		return s
	}
	alerttest.Check(t, alertsFile,
		situation("an incident", alerttest.Step(before, after), wrong),
		situation("the server is down", alerttest.Step(scrape(t, down), scrape(t, down)), off),
		situation("nothing is scraped", nil, gone),
		situation("all is well", alerttest.Step(healthy(t)), nil),
	)
}

// healthy is what is scraped, twice, where a group has settled everything and
// has a consumer.
func healthy(t *testing.T) (before, after families) {
	t.Helper()
	server, bus, inspector := open(t)
	publish(t, bus, "u1")
	server.Do("XGROUP", "CREATE", userStream, "crm-copy", "0")
	m := telemetry.NewMetrics("v")
	m.Consumer("crm-copy", func() freshet.Stats { return freshet.Stats{} }, func() error { return nil })
	read := server.Do("XREADGROUP", "GROUP", "crm-copy", "me", "STREAMS", userStream, ">")
	id := read.([]any)[0].([]any)[1].([]any)[0].([]any)[0].(string)
	server.Do("XACK", userStream, "crm-copy", id)
	watch(t, m, func(ctx context.Context) (*inspect.Snapshot, error) {
		s, err := inspector.Snapshot(ctx, inspect.SnapshotConfig{Patterns: []string{userStream}})
		if err == nil {
			s.At = time.UnixMilli(10 * 3600_000) // later than the evaluation: it goes on looking
		}
		return s, err
	})
	return scrape(t, m), scrape(t, m)
}
