package redisstream_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/redistest"
)

func passwordFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	rewrite(t, file, text)
	return file
}

func rewrite(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// as puts a user into a server's URL.
func as(user string, server *redistest.Server) string {
	return strings.Replace(server.URL(), "://", "://"+user+"@", 1)
}

func TestPasswordFileIsReadForEveryConnection(t *testing.T) {
	server := redistest.Start(t)
	server.Do("ACL", "SETUSER", "app", "on", ">one two", "~*", "+@all")
	file := passwordFile(t, "one two\n")
	c, err := redisstream.Open(t.Context(), redisstream.Config{URL: as("app", server), PasswordFile: file})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	server.Do("ACL", "SETUSER", "app", "resetpass", ">three")
	server.Do("CLIENT", "KILL", "USER", "app")
	refused := func(what string) {
		t.Helper()
		eventually(t, what, func() bool {
			_, err := c.Add(t.Context(), s1, someFields)
			return redisstream.ClassOf(err) == redisstream.Auth && redisstream.NotSent(err) && !strings.Contains(err.Error(), "one")
		})
	}
	refused("the old password is refused")
	rewrite(t, file, "") // half written
	refused("an empty file")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	refused("no file")
	rewrite(t, file, "three")
	if _, err := c.Add(t.Context(), s1, someFields); err != nil {
		t.Errorf("with the new password: %v", err)
	}
}

func TestOpenRefusesPasswordFiles(t *testing.T) {
	server := redistest.Start(t)
	for _, tt := range []struct{ url, text, want string }{
		{as("app:secret", server), "secret", "password in the URL and a password file"},
		{as("app", server), "", "is empty"},
		{as("app", server), "\n", "is empty"},
		{as("app", server), "secret\nsecret\n", "more than one line"},
		{as("app", server), strings.Repeat("secret", 1000), "more than 4096 bytes"},
		{as("app", server), "-", "no such file"},
		{as("app", server), "secret", "WRONGPASS"},
	} {
		file := passwordFile(t, tt.text)
		if tt.text == "-" {
			file += "-that-is-not"
		}
		_, err := redisstream.Open(t.Context(), redisstream.Config{URL: tt.url, PasswordFile: file})
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, want %q", tt.text, err, tt.want)
		}
	}
}

func TestSentinelsAreNotGivenThePasswordOfTheServer(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t)
	master.Do("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all")
	host, port, _ := strings.Cut(master.Addr(), ":")
	sentinel := startSentinel(t)
	if reply, err := redistest.Call(sentinel, "SENTINEL", "MONITOR", "mymaster", host, port, "1"); err != nil || reply != "OK" {
		t.Fatalf("%v, %v", reply, err)
	}
	c, err := redisstream.Open(t.Context(), redisstream.Config{
		URL:          "redis+sentinel://app@" + sentinel + "/mymaster",
		PasswordFile: passwordFile(t, "secret\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Add(t.Context(), s1, someFields); err != nil {
		t.Error(err)
	}
}
