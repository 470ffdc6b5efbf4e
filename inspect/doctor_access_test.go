package inspect_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redistest"
)

func itoa(n int) string { return strconv.Itoa(n) }

// poll waits until the condition holds.
func poll(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within 30 s: " + what)
		}
	}
}

func setUser(t *testing.T, s *redistest.Server, rules ...string) {
	t.Helper()
	if reply := s.Do(append([]string{"ACL", "SETUSER"}, rules...)...); reply != "OK" {
		t.Fatal(reply)
	}
}

func TestDoctorPermissionsOfAConsumer(t *testing.T) {
	s := redistest.Start(t, safe...)
	add(t, s, users, "*", 1)
	s.Do("XGROUP", "CREATE", users, "g", "0")
	setUser(t, s, "app", "on", ">secret", "~crm:*", "+@all", "-xack", "-xgroup|createconsumer")
	cfg := inspect.DiagnoseConfig{User: "app", Checks: []string{"acl"}}
	f := found(t, diagnose(t, s.URL(), cfg), "acl")
	if f.Severity != inspect.Critical || f.Subject != "user app" || !strings.Contains(f.Command, "+xack") || !strings.Contains(f.Command, "~{*") {
		t.Errorf("%+v", f)
	}
	mended(t, f.Command)
	nothing(t, s.URL(), cfg)
	// One who may not consume does not lack what a consumer needs.
	setUser(t, s, "publisher", "on", ">secret", "~crm:*", "~{*", "~freshet:*", "+@all", "-xreadgroup")
	nothing(t, s.URL(), inspect.DiagnoseConfig{User: "publisher", Checks: []string{"acl"}})
}

func TestDoctorPermissionsToLook(t *testing.T) {
	s := redistest.Start(t, safe...)
	add(t, s, users, "*", 1)
	s.Do("XGROUP", "CREATE", users, "g", "0")
	setUser(t, s, "mon", "on", ">secret", "~*", "+@all", "-xreadgroup", "-xinfo|groups")
	url := "redis://mon:secret@" + s.Addr()
	cfg := inspect.DiagnoseConfig{Checks: []string{"acl"}}
	f := found(t, diagnose(t, url, cfg), "acl")
	if f.Severity != inspect.Warning || !strings.Contains(f.Command, "ACL SETUSER mon '+xinfo|groups'") {
		t.Errorf("%+v", f)
	}
	if reply := s.Do("ACL", "SETUSER", "mon", "+xinfo|groups"); reply != "OK" {
		t.Fatal(reply)
	}
	nothing(t, url, cfg)
	// Where nobody tells what is allowed, refusals do.
	setUser(t, s, "mon", "-acl", "-xinfo")
	if d := diagnose(t, url, cfg); d.Healthy() {
		t.Errorf("nothing is missed: %+v", d.Findings)
	}
}

func TestDoctorUserThatIsNotThere(t *testing.T) {
	s := redistest.Start(t, safe...)
	if f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{User: "nobody"}), "incomplete"); !strings.Contains(f.Evidence, "nobody") {
		t.Errorf("%+v", f)
	}
}

func TestDoctorDefaultUser(t *testing.T) {
	s := redistest.Start(t, slices.Concat(safe, []string{"--bind", "0.0.0.0", "--protected-mode", "no"})...)
	cfg := inspect.DiagnoseConfig{Checks: []string{"default_user"}}
	if f := found(t, diagnose(t, s.URL(), cfg), "default_user"); f.Severity != inspect.Critical {
		t.Errorf("on a server that others reach: %+v", f)
	}
	local := redistest.Start(t, safe...)
	nothing(t, local.URL(), cfg)
	setUser(t, local, "app", "on", ">secret", "~*", "+@all")
	url := "redis://app:secret@" + local.Addr()
	f := found(t, diagnose(t, url, cfg), "default_user")
	if f.Severity != inspect.Warning || !strings.Contains(f.Command, "--user app") {
		t.Errorf("beside users with passwords: %+v", f)
	}
	mended(t, "export REDISCLI_AUTH=secret; "+f.Command)
	nothing(t, url, cfg)
}
