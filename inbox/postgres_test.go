//go:build postgres

package inbox_test

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
)

// TestPostgreSQL starts a server of its own, from PATH or where Debian has it:
//
//	go test -tags postgres ./inbox
//
// PostgreSQL does not run as root; then the user postgres runs it.
func TestPostgreSQL(t *testing.T) {
	dir, err := os.MkdirTemp("", "inbox")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if os.Getuid() == 0 {
		if out, err := exec.Command("chown", "postgres", dir).CombinedOutput(); err != nil {
			t.Fatalf("chown: %v: %s", err, out)
		}
	}
	data := filepath.Join(dir, "data")
	if out, err := command(t, "initdb", "-D", data, "-U", "test", "--auth=trust", "--no-sync").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v: %s", err, out)
	}
	// A socket in dir is all it listens on.
	server := command(t, "postgres", "-D", data, "-k", dir, "-h", "", "-F")
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Signal(syscall.SIGINT) // disconnects clients and ends
		server.Wait()
	})

	dsn := "host=" + dir + " user=test dbname="
	admin, err := sql.Open("pgx", dsn+"postgres")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close() })
	for deadline := time.Now().Add(30 * time.Second); admin.Ping() != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the server does not answer: %v", admin.Ping())
		}
	}

	n := 0
	testInbox(t, func(t *testing.T) *sql.DB {
		n++
		name := fmt.Sprintf("test%d", n)
		if _, err := admin.Exec("CREATE DATABASE " + name); err != nil {
			t.Fatal(err)
		}
		db, err := sql.Open("pgx", dsn+name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	})
}

// command runs a program of PostgreSQL, as a user that may.
func command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
		if len(found) == 0 {
			t.Fatalf("%s is not installed", name)
		}
		path = found[len(found)-1]
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = os.TempDir()
	if os.Getuid() == 0 {
		cmd = exec.Command("setpriv", append([]string{
			"--reuid=postgres", "--regid=postgres", "--init-groups", path}, args...)...)
		cmd.Dir = os.TempDir()
	}
	return cmd
}
