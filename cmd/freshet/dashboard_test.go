package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/freshet/freshet/internal/redistest"
)

func TestDashboard(t *testing.T) {
	server := redistest.Start(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("a-token-of-enough-length\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--read-only"}, {"--token-file", token}} {
		p := start(t, nil, append([]string{"dashboard", "--redis", server.URL(), "--http", "127.0.0.1:0"}, args...)...)
		var url string
		eventually(t, "it says where it is", func() bool {
			url = regexp.MustCompile(`http://\S+`).FindString(p.stderr.String())
			return url != ""
		})
		reply, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		page, err := io.ReadAll(reply.Body)
		reply.Body.Close()
		wants := map[string]string{"--read-only": "Overview", "--token-file": "<h1>Log in</h1>"}[args[0]]
		if err != nil || reply.StatusCode != http.StatusOK || !strings.Contains(string(page), wants) {
			t.Errorf("%v: status %d, %v, no %q in\n%s", args, reply.StatusCode, err, wants, page)
		}
		p.signal(t, syscall.SIGTERM)
		if code := p.exit(t); code != exitOK {
			t.Errorf("%v: exit code %d\n%s", args, code, p.stderr.String())
		}
	}
}

func TestDashboardRefusesToBeOpenToAll(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good", "a-token-of-enough-length", 0o600)
	for _, test := range []struct {
		says string
		args []string
	}{
		{"can be reached by others", []string{"--http", "0.0.0.0:0"}},
		{"can be reached by others", []string{"--http", ":0"}},
		{"at least 16 characters", []string{"--token-file", file("short", "short", 0o600)}},
		{"others can use it", []string{"--token-file", file("open", "a-token-of-enough-length", 0o644)}},
		{"no such file", []string{"--view-token-file", filepath.Join(dir, "none")}},
		{"the same token", []string{"--token-file", good, "--view-token-file", file("same", "a-token-of-enough-length\n", 0o600)}},
	} {
		var out, err strings.Builder
		code := run(t.Context(), append([]string{"dashboard", "--redis", "redis://127.0.0.1:1"}, test.args...), nil, &out, &err)
		if code != exitUsage || !strings.Contains(err.String(), test.says) {
			t.Errorf("%v: exit code %d, %q", test.args, code, err.String())
		}
	}
}
