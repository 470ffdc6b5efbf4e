package daemon_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/daemon"
)

func TestWhereMetricsAreServed(t *testing.T) {
	for _, test := range []struct{ section, problem string }{
		{"http: {address: \"127.0.0.1:9464\"}", ""},
		{"http: {address: \"localhost:9464\"}", ""},
		{"http: {address: \"[::1]:9464\"}", ""},
		{"http: {address: \":9464\"}", "other machines reach"},
		{"http: {address: \"10.0.0.1:9464\"}", "other machines reach"},
		{"http: {address: \"127.0.0.1.example.com:9464\"}", "other machines reach"},
		{"http: {address: \":9464\", token_file: t}", ""},
		{"http: {address: \"9464\"}", "want HOST:PORT"},
		{"http: {token_file: t}", "no http.address"},
		{"tracing: {endpoint: \"https://collector.example.com/v1/traces\"}", ""},
		{"tracing: {endpoint: \"collector:4318\"}", "want http://"},
		{"tracing: {endpoint: \"https://user:secret@collector/v1/traces\"}", "secrets must not stand"},
	} {
		_, err := load(t, "replica: sqlite://x.db\n"+test.section)
		switch {
		case test.problem == "" && err != nil:
			t.Errorf("%s: %v", test.section, err)
		case test.problem != "" && (err == nil || !strings.Contains(err.Error(), test.problem) || strings.Contains(err.Error(), "secret@")):
			t.Errorf("%s: got %v, want %q", test.section, err, test.problem)
		}
	}
}

func TestToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	read := func(text string, mode os.FileMode) (string, error) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		return daemon.Config{HTTPTokenFile: file}.HTTPToken()
	}
	if token, err := read("0123456789abcdef\n", 0o600); err != nil || token != "0123456789abcdef" {
		t.Errorf("got %q, %v", token, err)
	}
	for problem, text := range map[string]string{"at least 16": "short", "one word": "0123456789abcdef 0123456789abcdef"} {
		if _, err := read(text, 0o600); err == nil || !strings.Contains(err.Error(), problem) || strings.Contains(err.Error(), text) {
			t.Errorf("%q: got %v", text, err)
		}
	}
	if _, err := read("0123456789abcdef", 0o644); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by others: %v", err)
	}
	if token, err := (daemon.Config{}).HTTPToken(); token != "" || err != nil {
		t.Errorf("without a file: %q, %v", token, err)
	}
}
