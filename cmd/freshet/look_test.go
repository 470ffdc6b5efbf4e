package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/goccy/go-yaml"

	"github.com/freshet/freshet/internal/redistest"
)

const lookedAt = "crm:sync:user:user_created"

// busToLookAt has on lookedAt five entries of 2025: old-crm holds two, one of
// them trimmed, and has two dead letters; new-crm has read nothing. Nobody reads
// credit-events.
func busToLookAt(t *testing.T) *redistest.Server {
	t.Helper()
	server := redistest.Start(t)
	for _, command := range []string{
		"XADD $ 1764842400001-0 eventType user_created", "XADD $ 1764842400002-0 eventType user_created",
		"XADD $ 1764842400003-0 eventType user_created", "XADD $ 1764842400004-0 eventType user_created",
		"XADD $ 1764842400005-0 eventType user_created",
		"XGROUP CREATE $ new-crm 0", "XGROUP CREATE $ old-crm 0",
		"XREADGROUP GROUP old-crm crm-1 COUNT 2 STREAMS $ >",
		"XCLAIM $ old-crm crm-1 0 1764842400002-0",
		"XTRIM $ MAXLEN 4",
		"XADD {$}:dlq:old-crm 1764842500000-0 a b", "XADD {$}:dlq:old-crm 1764842600000-0 a b",
		"XADD credit-events 1764842400000-0 eventType credit.allocated",
	} {
		if err, failed := server.Do(strings.Fields(strings.ReplaceAll(command, "$", lookedAt))...).(redistest.Error); failed {
			t.Fatal(command, err)
		}
	}
	return server
}

// varying is what no two runs have in common.
var varying = regexp.MustCompile(`"(age_seconds|idle_seconds|last_seen_seconds|bytes)": [0-9.e-]+`)

func TestLookJSON(t *testing.T) {
	server := busToLookAt(t)
	for name, args := range map[string][]string{
		"streams":   {"streams"},
		"groups":    {"groups"},
		"consumers": {"consumers"},
		"pending":   {"pending", lookedAt, "old-crm"},
		"lag":       {"lag", "--group", "old-crm", "--group", "new-crm"},
	} {
		args = append(args, "--redis", server.URL())
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := freshetOutput(t, slices.Concat(args, []string{"-o", "json"})...)
			var indented bytes.Buffer
			if err := json.Indent(&indented, []byte(text), "", "  "); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			got := varying.ReplaceAll(indented.Bytes(), []byte(`"$1": 0`))
			golden := filepath.Join("testdata", name+".json.golden")
			if *update {
				if err := os.WriteFile(golden, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}

			// The other formats say the same.
			var fromJSON, fromYAML any
			if err := json.Unmarshal(got, &fromJSON); err != nil {
				t.Fatal(err)
			}
			document := varyingYAML.ReplaceAllString(freshetOutput(t, slices.Concat(args, []string{"-o", "yaml"})...), "$1: 0")
			if err := yaml.Unmarshal([]byte(document), &fromYAML); err != nil {
				t.Fatalf("%v:\n%s", err, document)
			}
			if a, b := canonical(t, fromJSON), canonical(t, fromYAML); a != b {
				t.Errorf("YAML says\n%s\nJSON\n%s", b, a)
			}
			if n, lines := len(fromJSON.([]any)), strings.Count(freshetOutput(t, slices.Concat(args, []string{"-o", "jsonl"})...), "\n"); n != lines || n == 0 {
				t.Errorf("%d results, %d lines", n, lines)
			}
			if n, names := len(fromJSON.([]any)), strings.Count(freshetOutput(t, slices.Concat(args, []string{"-o", "name"})...), "\n"); n != names {
				t.Errorf("%d results, %d names", n, names)
			}
		})
	}
}

var varyingYAML = regexp.MustCompile(`(age_seconds|idle_seconds|last_seen_seconds|bytes): [0-9.e-]+`)

func canonical(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every field that is printed is documented.
func TestLookJSONIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/commands-json.md")
	if err != nil {
		t.Fatal(err)
	}
	goldens, err := filepath.Glob("testdata/*.json.golden")
	if err != nil || len(goldens) < 5 {
		t.Fatal(goldens, err)
	}
	for _, golden := range goldens {
		text, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`"(\w+)":`).FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains(string(page), "`"+name[1]+"`") {
				t.Errorf("%s: %s is not in docs/commands-json.md", golden, name[1])
			}
		}
	}
}

// exitsWith runs a command that must exit with the code.
func exitsWith(t *testing.T, code int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	if got := run(t.Context(), args, strings.NewReader(""), &out, &err); got != code {
		t.Errorf("freshet %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, &out, &err)
	}
	return out.String(), err.String()
}

func TestLag(t *testing.T) {
	server := busToLookAt(t)
	t.Setenv("REDIS_URL", server.URL())
	exitsWith(t, exitOK, "lag")
	exitsWith(t, exitOK, "lag", "--max", "4")
	exitsWith(t, exitFindings, "lag", "--max", "3")
	exitsWith(t, exitOK, "lag", "--max", "3", "--group", "old-crm")
	exitsWith(t, exitFindings, "lag", "--max", "0", "--group", "old-crm")
	exitsWith(t, exitFindings, "lag", "--max-age", "60s")
	exitsWith(t, exitOK, "lag", "--max-age", "36500d")
	exitsWith(t, exitNotFound, "lag", "--max", "5", "--group", "none")
	exitsWith(t, exitNotFound, "lag", "no-such-stream")
	exitsWith(t, exitUnreachable, "lag", "--redis", "redis://127.0.0.1:1")
	exitsWith(t, exitUsage, "lag", "--max", "many")
	exitsWith(t, exitUsage, "lag", "--watch=1ms")

	// What is not known exceeds any limit.
	server.Do("EVAL", `for i = 1, 3000 do redis.call('XADD', KEYS[1], '*', 'n', i) end`, "1", "acknowledgments")
	second := server.Do("XRANGE", "acknowledgments", "-", "+", "COUNT", "2").([]any)[1].([]any)[0].(string)
	server.Do("XGROUP", "CREATE", "acknowledgments", "g", second)
	out, _ := exitsWith(t, exitOK, "lag", "acknowledgments")
	if !strings.Contains(out, ">= 1000") {
		t.Errorf("not said to be unknown:\n%s", out)
	}
	exitsWith(t, exitFindings, "lag", "acknowledgments", "--max", "1500")
	exitsWith(t, exitOK, "lag", "acknowledgments", "--max", "3000") // counted as far as that

	server.Do("ACL", "SETUSER", "viewer", "reset", "on", ">secret", "~*", "+@all", "-xrange")
	as := strings.Replace(server.URL(), "//", "//viewer:secret@", 1)
	out, errs := exitsWith(t, exitFindings, "lag", "acknowledgments", "--redis", as, "--max", "1000000")
	if !strings.Contains(out, "unknown: no permission to read the stream") || !strings.Contains(errs, "warning: unread entries of group g on acknowledgments could not be looked at") {
		t.Errorf("%s%s", out, errs)
	}
	exitsWith(t, exitFindings, "lag", "acknowledgments", "--redis", as, "--max-age", "36500d")
	server.Do("ACL", "SETUSER", "viewer", "+xrange", "-xinfo|groups")
	exitsWith(t, exitFindings, "lag", "acknowledgments", "--redis", as, "--max", "1000000")
}

// What was redriven is not settled, whoever is there to take it.
func TestRedrivenEventsThatWaitAreShown(t *testing.T) {
	server := redistest.Start(t)
	t.Setenv("REDIS_URL", server.URL())
	server.Do("XADD", lookedAt, "1764842400001-0", "eventType", "user_created")
	server.Do("XGROUP", "CREATE", lookedAt, "crm-copy", "$")
	exitsWith(t, exitOK, "lag", "--max", "0", "--max-age", "1s")
	for _, group := range []string{"crm-copy", "gone"} {
		server.Do("XADD", "{"+lookedAt+"}:retry:"+group, "1764842400001-0", "eventType", "user_created")
		only := []string{"--group", group}
		out, _ := exitsWith(t, exitFindings, append([]string{"lag", "--max", "0", "-o", "jsonl", "--jq", `.redriven == 1 and .redriven_since == "2025-12-04T10:00:00.001Z"`}, only...)...)
		if !strings.Contains(out, `"exceeded":true,"reasons":["more than 0 with what was redriven"]`) {
			t.Errorf("%s: %s", group, out)
		}
		exitsWith(t, exitFindings, append([]string{"lag", "--max-age", "1s"}, only...)...)
		if out, _ := exitsWith(t, exitOK, append([]string{"groups", "-o", "name", "--jq", ".redriven == 1 and .live_consumers == 0"}, only...)...); out != lookedAt+" "+group+"\n" {
			t.Errorf("%s: %s", group, out)
		}
	}
	exitsWith(t, exitOK, "lag", "--max", "1", "--group", "crm-copy")
	exitsWith(t, exitFindings, "lag", lookedAt, "--max", "1") // what is not there has no lag that is known
	exitsWith(t, exitOK, "lag", "crm:sync:role:*")
	out, _ := exitsWith(t, exitOK, "groups")
	if !regexp.MustCompile(`(?m)^crm-copy .* 0, 1 redriven .* none `).MatchString(out) || !regexp.MustCompile(`(?m)^gone .* unknown, 1 redriven .* none `).MatchString(out) {
		t.Error(out)
	}
}

func TestLookTables(t *testing.T) {
	server := busToLookAt(t)
	t.Setenv("REDIS_URL", server.URL())
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"streams"}, []string{"credit-events", "nobody reads it", "old-crm: pending since", "new-crm, old-crm"}},
		{[]string{"streams", "-o", "wide"}, []string{"FIRST ID", "1764842400005-0"}},
		{[]string{"groups"}, []string{"new-crm", "none", "old-crm", "1 live", "2, last"}},
		{[]string{"groups", "-o", "wide"}, []string{"1764842400001-0 pending", "UNKNOWN BECAUSE"}},
		{[]string{"consumers"}, []string{"crm-1", "live"}},
		{[]string{"pending", lookedAt, "old-crm"}, []string{"1764842400001-0", "trimmed from the stream"}},
	} {
		out, _ := exitsWith(t, exitOK, test.args...)
		for _, want := range test.want {
			if !strings.Contains(out, want) {
				t.Errorf("%q: no %q in\n%s", test.args, want, out)
			}
		}
	}
	_, errs := exitsWith(t, exitOK, "pending", lookedAt, "old-crm", "--limit", "1")
	if !strings.Contains(errs, "--after 1764842400001-0") {
		t.Errorf("no way to the next page: %s", errs)
	}
	exitsWith(t, exitNotFound, "pending", lookedAt, "none")
	exitsWith(t, exitUsage, "pending", lookedAt)
	exitsWith(t, exitUsage, "pending", lookedAt, "old-crm", "--limit", "1001")
	exitsWith(t, exitUsage, "streams", "--jq", "(")
	exitsWith(t, exitUsage, "streams", "-o", "xml")
	exitsWith(t, exitUsage, "tail", "-o", "name")
	if out, _ := exitsWith(t, exitOK, "groups", "-o", "name", "--jq", ".pending > 0"); out != lookedAt+" old-crm\n" {
		t.Errorf("--jq selects %q", out)
	}
	server.Do("FLUSHALL")
	if out, _ := exitsWith(t, exitOK, "streams", "-o", "yaml"); out != "[]\n" {
		t.Errorf("nothing is %q", out)
	}
	server.Kill()
	exitsWith(t, exitUnreachable, "streams")
}

// Names are anybody's: what a terminal might obey is never written.
func TestLookWritesNoControls(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	commands := [][]string{{"streams"}, {"groups"}, {"consumers"}, {"lag"}}
	for _, hostile := range []string{"\x1b[31mred", "\r\nline", "\u202egnp.exe", "\u2028line", "\u0085line", "\xff\xfe", "\U000e0041tag", ": - a #b"} {
		stream := "crm:sync:" + hostile
		server.Do("XGROUP", "CREATE", stream, hostile, "0", "MKSTREAM")
		server.Do("XADD", stream, "*", "a", "b")
		server.Do("XREADGROUP", "GROUP", hostile, hostile, "STREAMS", stream, ">")
		server.Do("SET", "hr:sync:"+hostile, "no stream")
		commands = append(commands, []string{"pending", stream, hostile}, []string{"lag", "hr:sync:" + hostile})
	}
	for _, args := range commands {
		for _, format := range outputFormats {
			stdout, stderr := exitsWith(t, exitOK, append(args, "-o", format, "--redis", server.URL())...)
			for at, r := range stdout + stderr {
				if r != '\n' && !unicode.IsPrint(r) {
					t.Errorf("%q -o %s: %U in the output: …%q", args, format, r, (stdout + stderr)[max(at-60, 0):at])
					break
				}
			}
			var value any
			if format == "yaml" && yaml.Unmarshal([]byte(stdout), &value) != nil {
				t.Errorf("no YAML:\n%s", stdout)
			}
		}
	}
}

func TestWatch(t *testing.T) {
	server := busToLookAt(t)
	t.Setenv("REDIS_URL", server.URL())
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var stdout, stderr output
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"lag", "--max", "0", "--watch=100ms", "-o", "jsonl", "--group", "new-crm"}, strings.NewReader(""), &stdout, &stderr)
	}()
	eventually(t, "the lag is shown", func() bool { return strings.Contains(stdout.String(), `"lag":4`) })
	server.Do("XADD", lookedAt, "*", "eventType", "user_created")
	eventually(t, "it grows", func() bool { return strings.Contains(stdout.String(), `"lag":5`) })
	server.Stop()
	server.Cont()
	server.Kill()
	eventually(t, "an outage is said", func() bool { return stderr.String() != "" })
	server.Restart()
	server.Do("XGROUP", "CREATE", lookedAt, "new-crm", "0", "MKSTREAM")
	eventually(t, "it goes on", func() bool { return strings.Contains(stdout.String(), `"lag":0`) })
	stop()
	select {
	case code := <-ended:
		if code != exitOK {
			t.Errorf("exit code %d: %s", code, stderr.String())
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
}

func TestHealth(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes")
	t.Setenv("REDIS_URL", server.URL())
	if out, _ := exitsWith(t, exitOK, "health", "acknowledgments"); !strings.HasPrefix(out, "Healthy") {
		t.Errorf("%s", out)
	}
	server.Do("XGROUP", "CREATE", "acknowledgments", "g", "0", "MKSTREAM")
	server.Do("XADD", "acknowledgments", "1764842400001-0", "eventType", "acknowledgment")
	if out, _ := exitsWith(t, exitFindings, "health", "-o", "json"); !strings.Contains(out, `"healthy":false`) || !strings.Contains(out, `"worst_severity":"critical"`) {
		t.Errorf("%s", out)
	}
	exitsWith(t, exitUsage, "health", "--threshold", "nonsense")
	server.Kill()
	if out, _ := exitsWith(t, exitUnreachable, "health"); !strings.Contains(out, "does not answer") {
		t.Errorf("%s", out)
	}
}
