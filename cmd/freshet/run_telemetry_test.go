package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/freshet/freshet/internal/redistest"
)

// get returns a page's status and text, 0 when nobody answers.
func get(url, token string) (int, string) {
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return 0, err.Error()
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	response, err := http.DefaultClient.Do(r.WithContext(ctx))
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

// anyPort is an address for what says on stderr which port it got.
const anyPort = "127.0.0.1:0"

var servedAt = regexp.MustCompile(`(?:"address":"|http://)(127\.0\.0\.1:\d+)["/]`)

// address waits until a process says where it serves pages.
func (p *process) address(t *testing.T) string {
	t.Helper()
	var found []string
	eventually(t, "it says where it serves", func() bool {
		found = servedAt.FindStringSubmatch(p.stderr.String())
		return found != nil
	})
	return found[1]
}

func runWithHTTP(t *testing.T, server *redistest.Server, address string, more ...string) *process {
	t.Helper()
	return start(t, nil, append([]string{
		"run", "--redis", server.URL(), "--app", "crm", "--http", address, "--replica", "sqlite://" + filepath.Join(t.TempDir(), "suite.db"),
	}, more...)...)
}

// TestRunServesMetricsAndHealth follows a process through its life: it is
// ready when it consumes, not while the server is away, and again after.
func TestRunServesMetricsAndHealth(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes")
	recorded, _ := addRecorded(t, server)
	p := runWithHTTP(t, server, anyPort)
	address := p.address(t)
	ready := func() int { code, _ := get("http://"+address+"/readyz", ""); return code }
	eventually(t, "ready", func() bool { return ready() == http.StatusOK })
	eventually(t, "everything is settled", func() bool { return allSettled(server, "crm-copy") })
	eventually(t, "metrics of the settled entries and of the group", func() bool {
		_, text := get("http://"+address+"/metrics", "")
		return strings.Contains(text, `freshet_settled_total{group="crm-copy",outcome="handled",stream="crm:sync:user:user_created"}`) &&
			strings.Contains(text, `freshet_group_pending{group="crm-copy",stream="crm:sync:user:user_created"} 0`) &&
			strings.Contains(text, `freshet_replica_batch_seconds_count{result="ok"}`) &&
			strings.Contains(text, "freshet_redis_up 1")
	})
	for path, want := range map[string]string{"/": "<title>Overview", "/entities": `href="/entities?tenant=`} {
		if code, text := get("http://"+address+path, ""); code != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("dashboard %s: %d, without %q", path, code, want)
		}
	}
	if recorded == 0 {
		t.Error("nothing was there to be settled")
	}

	server.Kill()
	eventually(t, "not ready without the server", func() bool { return ready() == http.StatusServiceUnavailable })
	if _, reason := get("http://"+address+"/readyz", ""); !strings.Contains(reason, "reading fails") {
		t.Errorf("the reason is %s", reason)
	}
	if code, _ := get("http://"+address+"/livez", ""); code != http.StatusOK {
		t.Errorf("not live without the server: %d", code)
	}
	server.Restart()
	eventually(t, "ready again", func() bool { return ready() == http.StatusOK })

	p.signal(t, syscall.SIGTERM)
	if code := p.exit(t); code != 0 {
		t.Errorf("exit %d\n%s", code, p.stderr.String())
	}
	if code, _ := get("http://"+address+"/livez", ""); code != 0 {
		t.Errorf("still served after the end: %d", code)
	}
}

func TestRunHTTPAsksForTheToken(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes")
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := runWithHTTP(t, server, anyPort, "--http-token-file", file).address(t)
	eventually(t, "ready", func() bool { code, _ := get("http://"+address+"/readyz", ""); return code == http.StatusOK })
	if code, _ := get("http://"+address+"/metrics", ""); code != http.StatusUnauthorized {
		t.Errorf("metrics without the token: %d", code)
	}
	if code, _ := get("http://"+address+"/metrics", "0123456789abcdef"); code != http.StatusOK {
		t.Errorf("metrics with the token: %d", code)
	}
	if _, text := get("http://"+address+"/streams", ""); !strings.Contains(text, "Log in") || strings.Contains(text, "user_created") {
		t.Error("the dashboard's streams are shown without the token")
	}
	if code, _ := post("http://"+address+"/login", url.Values{"token": {"0123456789abcdeX"}}); code != http.StatusUnauthorized {
		t.Errorf("logged in with another token: %d", code)
	}
	code, cookies := post("http://"+address+"/login", url.Values{"token": {"0123456789abcdef"}, "to": {"/streams"}})
	if code != http.StatusSeeOther || len(cookies) != 1 {
		t.Errorf("login with the token: %d, %d cookies", code, len(cookies))
	}
}

// post sends a form, and returns the status and the cookies of the answer.
func post(address string, form url.Values) (int, []*http.Cookie) {
	response, err := http.DefaultTransport.RoundTrip(formRequest(address, form))
	if err != nil {
		return 0, nil
	}
	defer response.Body.Close()
	return response.StatusCode, response.Cookies()
}

func formRequest(address string, form url.Values) *http.Request {
	r := httptest.NewRequest("POST", address, strings.NewReader(form.Encode()))
	r.RequestURI = ""
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func TestRunHTTPThatCannotBe(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	p := runWithHTTP(t, server, taken.Addr().String())
	if code := p.exit(t); code != exitFailure || !strings.Contains(p.stderr.String(), "address already in use") {
		t.Errorf("port in use: exit %d\n%s", code, p.stderr.String())
	}
	p = runWithHTTP(t, server, "0.0.0.0:9464")
	if code := p.exit(t); code != exitUsage || !strings.Contains(p.stderr.String(), "http.token_file") {
		t.Errorf("open to other machines: exit %d\n%s", code, p.stderr.String())
	}
}

// TestAlertsNameCommands: what an alert tells an operator to run is a command
// that is there, and takes the arguments it is given.
func TestAlertsNameCommands(t *testing.T) {
	text, err := os.ReadFile("../../deploy/prometheus-alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert       string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, r := range file.Groups[0].Rules {
		words := strings.Fields(r.Annotations["command"])
		if len(words) == 0 || strings.Contains(r.Annotations["command"], "{{") {
			t.Errorf("%s: command %q, want one without names from the server", r.Alert, words)
			continue
		}
		if words[0] != "freshet" {
			continue // systemctl
		}
		checked++
		cmd, rest, err := (&cli{}).rootCommand().Find(words[1:])
		if err == nil && cmd.Args != nil {
			err = cmd.Args(cmd, rest)
		}
		if err != nil || !cmd.Runnable() || len(rest) > 0 {
			t.Errorf("%s: %v: %v", r.Alert, words, err)
		}
	}
	if checked < 10 {
		t.Errorf("%d commands", checked)
	}
}

// TestRunTellsSystemdAndTheCollector: a unit of type notify is up when it
// consumes, and what it did arrives at a collector that the environment names.
func TestRunTellsSystemdAndTheCollector(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes")
	addRecorded(t, server)
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	var traces atomic.Int64 // bytes
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		traces.Add(n)
	}))
	defer collector.Close()
	p := start(t, []string{"NOTIFY_SOCKET=" + socket.LocalAddr().String(), "OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL},
		"run", "--redis", server.URL(), "--app", "crm", "--replica", "sqlite://"+filepath.Join(t.TempDir(), "suite.db"))
	told := func(want string) {
		t.Helper()
		_ = socket.SetReadDeadline(time.Now().Add(30 * time.Second))
		for buffer := make([]byte, 4096); ; {
			n, err := socket.Read(buffer)
			if err != nil {
				t.Fatalf("not told %s: %v\n%s", want, err, p.stderr.String())
			}
			if string(buffer[:n]) == want {
				return
			}
		}
	}
	told("READY=1")
	eventually(t, "everything is settled", func() bool { return allSettled(server, "crm-copy") })
	p.signal(t, syscall.SIGTERM)
	told("STOPPING=1")
	if code := p.exit(t); code != 0 {
		t.Errorf("exit %d\n%s", code, p.stderr.String())
	}
	if traces.Load() == 0 {
		t.Error("no traces at the collector after the end")
	}
}
