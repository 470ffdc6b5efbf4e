package alerttest

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Families is what one scrape brings, by the names of the metrics.
type Families = map[string]*dto.MetricFamily

// Parse reads what a page of metrics says.
func Parse(t testing.TB, page io.Reader) Families {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(page)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// Situation is what Prometheus has, a sample a minute for half an hour, and
// what must fire at the end of it.
type Situation struct {
	Name   string
	Series []Series
	By     string   // labels to tell alerts by, such as "alertname, group"
	Firing []string // all that fire, each as the set of these labels: {alertname="A", group="g"}
}

// Series are the samples of one metric with its labels, as promtool reads them.
type Series struct {
	Series string `yaml:"series"`
	Values string `yaml:"values"`
}

// Step has each gauge and counter stand as it was before for twenty minutes,
// and then as it is after. Prometheus's tests begin in 1970, and so does the
// server's time.
func Step(before, after Families) (list []Series) {
	values := map[string][2]string{}
	for n, scraped := range []Families{before, after} {
		for name, family := range scraped {
			for _, m := range family.GetMetric() {
				if !strings.HasPrefix(name, "freshet_") || m.Histogram != nil {
					continue
				}
				labels := []string{`instance="a"`}
				for _, l := range m.GetLabel() {
					labels = append(labels, l.GetName()+"="+strconv.Quote(l.GetValue()))
				}
				value := m.GetGauge().GetValue() + m.GetCounter().GetValue()
				if name == "freshet_snapshot_timestamp_seconds" && value > 1e9 {
					value = 0
				}
				key := name + "{" + strings.Join(labels, ", ") + "}"
				v := values[key]
				v[n] = strconv.FormatFloat(value, 'f', -1, 64)
				values[key] = v
			}
		}
	}
	for key, v := range values {
		text := "_x21"
		if v[0] != "" {
			text = v[0] + "+0x20"
		}
		if v[1] != "" {
			text += " " + v[1] + "+0x40"
		}
		list = append(list, Series{key, text})
	}
	return list
}

// Check fails the test where the rules are wrong, or where not exactly the
// alerts named fire.
func Check(t *testing.T, rulesFile string, situations ...Situation) {
	t.Helper()
	rules, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("promtool", "check", "rules", rules).CombinedOutput(); err != nil {
		t.Fatalf("promtool: %v\n%s", err, out)
	}
	for _, s := range situations {
		t.Run(s.Name, func(t *testing.T) {
			samples := []map[string]any{}
			for _, labels := range s.Firing {
				samples = append(samples, map[string]any{"labels": labels, "value": 1})
			}
			text, err := yaml.Marshal(map[string]any{
				"rule_files": []string{rules},
				"tests": []map[string]any{{
					"interval": "1m", "input_series": s.Series,
					"promql_expr_test": []map[string]any{{
						"expr": `group by (` + s.By + `) (ALERTS{alertstate="firing"})`, "eval_time": "30m", "exp_samples": samples,
					}},
				}},
			})
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "test.yml")
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("promtool", "test", "rules", file).CombinedOutput(); err != nil {
				t.Errorf("promtool: %v\n%s", err, out)
			}
		})
	}
}
