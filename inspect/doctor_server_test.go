package inspect_test

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redistest"
)

// safe are the arguments of a server that is set up as it should be.
var safe = []string{"--appendonly", "yes"}

func diagnose(t *testing.T, url string, cfg inspect.DiagnoseConfig) *inspect.Diagnosis {
	t.Helper()
	d, err := inspect.Diagnose(t.Context(), freshet.Config{URL: url, Log: slog.New(slog.DiscardHandler)}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range d.Findings {
		if f.Summary == "" || f.Evidence == "" || f.Subject == "" || f.Advice == "" && f.Command == "" {
			t.Errorf("a finding that says too little: %+v", f)
		}
		if !slices.ContainsFunc(inspect.Checks(), func(c inspect.Check) bool { return c.Name == f.Check }) {
			t.Errorf("no check %s", f.Check)
		}
	}
	return d
}

// found returns the only finding of a check.
func found(t *testing.T, d *inspect.Diagnosis, check string) inspect.Finding {
	t.Helper()
	var all []inspect.Finding
	for _, f := range d.Findings {
		if f.Check == check {
			all = append(all, f)
		}
	}
	if len(all) != 1 {
		t.Fatalf("%d findings of %s, want 1: %+v", len(all), check, d.Findings)
	}
	return all[0]
}

// mended runs a command that a finding gives, as it stands, in a shell.
func mended(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.Command("bash", "-c", command).CombinedOutput(); err != nil || strings.Contains(string(out), "ERR") {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// nothing fails when there is a finding.
func nothing(t *testing.T, url string, cfg inspect.DiagnoseConfig) {
	t.Helper()
	if d := diagnose(t, url, cfg); len(d.Findings) != 0 || !d.Healthy() {
		t.Fatalf("findings of what is well: %+v", d.Findings)
	}
}

func TestDoctorFindsNothingOnAnEmptyServer(t *testing.T) {
	s := redistest.Start(t, safe...)
	nothing(t, s.URL(), inspect.DiagnoseConfig{})
}

func TestDoctorCannotReachTheServer(t *testing.T) {
	s := redistest.Start(t, safe...)
	s.Kill()
	d := diagnose(t, s.URL(), inspect.DiagnoseConfig{})
	f := found(t, d, "reachable")
	if !d.Unreachable || d.Healthy() || f.Severity != inspect.Critical || !strings.Contains(d.Verdict(), s.Addr()) {
		t.Errorf("%+v, %s", f, d.Verdict())
	}
}

func TestDoctorOfAServerThatFreezesMeanwhile(t *testing.T) {
	i, s, _ := open(t, safe...)
	s.Stop()
	defer s.Cont()
	d, err := i.Diagnose(t.Context(), inspect.DiagnoseConfig{})
	if err != nil || !d.Unreachable {
		t.Fatalf("%+v, %v", d, err)
	}
	found(t, d, "reachable")
}

func TestDoctorAuthentication(t *testing.T) {
	s := redistest.Start(t, slices.Concat(safe, []string{"--requirepass", "right"})...)
	for _, url := range []string{s.URL(), "redis://:wr0ng@" + s.Addr()} {
		d := diagnose(t, url, inspect.DiagnoseConfig{})
		f := found(t, d, "authentication")
		if !d.Unreachable || f.Severity != inspect.Critical || strings.Contains(f.Summary+f.Evidence+f.Advice+f.Command, "wr0ng") {
			t.Errorf("%+v", f)
		}
	}
	nothing(t, "redis://:right@"+s.Addr(), inspect.DiagnoseConfig{})
}

func TestDoctorTLS(t *testing.T) {
	s := redistest.Start(t, slices.Concat(safe, []string{"--bind", "127.0.0.1 -::1", "--protected-mode", "yes"})...)
	// An address that is not known to be this machine's own.
	f := found(t, diagnose(t, strings.Replace(s.URL(), "127.0.0.1", "0.0.0.0", 1), inspect.DiagnoseConfig{Checks: []string{"tls"}}), "tls")
	if f.Severity != inspect.Warning || !strings.Contains(f.Advice, "rediss://") {
		t.Errorf("%+v", f)
	}
	dir := t.TempDir()
	mended(t, "cd "+dir+" && openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=elsewhere 2>/dev/null")
	port, err := redistest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	redistest.Start(t, slices.Concat(safe, []string{"--tls-port", itoa(port), "--tls-cert-file", filepath.Join(dir, "cert.pem"),
		"--tls-key-file", filepath.Join(dir, "key.pem"), "--tls-ca-cert-file", filepath.Join(dir, "cert.pem"), "--tls-auth-clients", "no"})...)
	d := diagnose(t, "rediss://127.0.0.1:"+itoa(port), inspect.DiagnoseConfig{})
	f = found(t, d, "tls")
	if !d.Unreachable || f.Severity != inspect.Critical || !strings.Contains(f.Evidence, "x509") {
		t.Errorf("%+v", f)
	}
}

func TestDoctorEviction(t *testing.T) {
	s := redistest.Start(t, safe...)
	s.Do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "eviction")
	if f.Severity != inspect.Critical || f.Fix == nil || f.Fix.Setting != "maxmemory-policy" || f.Fix.Value != "noeviction" {
		t.Errorf("%+v", f)
	}
	mended(t, f.Command)
	nothing(t, s.URL(), inspect.DiagnoseConfig{})
}

func TestDoctorPersistence(t *testing.T) {
	s := redistest.Start(t)
	f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "persistence")
	if f.Severity != inspect.Critical || f.Fix != nil {
		t.Errorf("%+v", f)
	}
	s.Do("CONFIG", "SET", "save", "3600 1")
	if f = found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "persistence"); f.Severity != inspect.Warning {
		t.Errorf("with snapshots alone: %+v", f)
	}
	mended(t, f.Command)
	nothing(t, s.URL(), inspect.DiagnoseConfig{})
	s.Do("CONFIG", "SET", "appendfsync", "no")
	d := diagnose(t, s.URL(), inspect.DiagnoseConfig{})
	if f = found(t, d, "persistence"); f.Severity != inspect.Info || !d.Healthy() {
		t.Errorf("with appendfsync no: %+v", f)
	}
}

func TestDoctorDisk(t *testing.T) {
	s := redistest.Start(t, slices.Concat(safe, []string{"--enable-protected-configs", "yes"})...)
	dir := t.TempDir()
	if reply := s.Do("CONFIG", "SET", "dir", dir); reply != "OK" {
		t.Fatal(reply)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	s.Do("SET", "k", "v")
	s.Do("BGSAVE")
	poll(t, "the snapshot fails", func() bool {
		return strings.Contains(s.Do("INFO", "persistence").(string), "rdb_last_bgsave_status:err")
	})
	if f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{Checks: []string{"disk"}}), "disk"); f.Severity != inspect.Critical {
		t.Errorf("%+v", f)
	}
}

func TestDoctorMemory(t *testing.T) {
	s := redistest.Start(t, safe...)
	s.Do("CONFIG", "SET", "maxmemory", "1200kb")
	poll(t, "memory is used", func() bool { return strings.Contains(s.Do("INFO", "memory").(string), "maxmemory:1228800") })
	cfg := inspect.DiagnoseConfig{Checks: []string{"memory"}}
	if f := found(t, diagnose(t, s.URL(), cfg), "memory"); f.Severity != inspect.Warning && f.Severity != inspect.Critical || !strings.Contains(f.Summary, "refuse") {
		t.Errorf("%+v", f)
	}
	s.Do("CONFIG", "SET", "maxmemory", "1gb")
	nothing(t, s.URL(), cfg)
}

func TestDoctorClusterThatMissesSlots(t *testing.T) {
	bus, err := redistest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	s := redistest.Start(t, slices.Concat(safe, []string{"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus)})...)
	s.Do("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	state := func(want string) {
		poll(t, "the cluster is "+want, func() bool {
			return strings.Contains(s.Do("CLUSTER", "INFO").(string), "cluster_state:"+want)
		})
	}
	state("ok")
	if d := diagnose(t, s.URL(), inspect.DiagnoseConfig{Checks: []string{"cluster"}}); len(d.Findings) != 0 {
		t.Errorf("findings of a cluster that is whole: %+v", d.Findings)
	}
	s.Do("CLUSTER", "DELSLOTS", "1000")
	state("fail")
	f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "cluster")
	if f.Severity != inspect.Critical || !strings.Contains(f.Evidence, "fail") {
		t.Errorf("%+v", f)
	}
	mended(t, f.Command)
}

func TestDoctorRoleAndReplicas(t *testing.T) {
	s := redistest.Start(t, safe...)
	host, port, _ := strings.Cut(s.Addr(), ":")
	replica := redistest.Start(t, slices.Concat(safe, []string{"--replicaof", host + " " + port})...)
	poll(t, "the replica is online", func() bool {
		return strings.Contains(s.Do("INFO", "replication").(string), "state=online")
	})
	s.Do("CONFIG", "SET", "min-replicas-to-write", "1")
	nothing(t, s.URL(), inspect.DiagnoseConfig{})
	if f := found(t, diagnose(t, replica.URL(), inspect.DiagnoseConfig{}), "role"); f.Severity != inspect.Critical {
		t.Errorf("%+v", f)
	}
	replica.Stop()
	s.Do("CONFIG", "SET", "repl-timeout", "3600")
	poll(t, "the replica is silent", func() bool {
		d := diagnose(t, s.URL(), inspect.DiagnoseConfig{Checks: []string{"replicas"}})
		return d.Worst() == inspect.Critical
	})
	f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "replicas")
	mended(t, f.Command)
	if f = found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "replicas"); f.Severity != inspect.Warning {
		t.Errorf("that writes do without: %+v", f)
	}
	replica.Cont()
}

func TestDoctorVersion(t *testing.T) {
	s := redistest.Start(t, slices.Concat(safe, []string{"--rename-command", "XAUTOCLAIM", ""})...)
	if f := found(t, diagnose(t, s.URL(), inspect.DiagnoseConfig{}), "version"); f.Severity != inspect.Critical || !strings.Contains(f.Summary, "XAUTOCLAIM") {
		t.Errorf("%+v", f)
	}
	if d := diagnose(t, redistest.Start(t, safe...).URL(), inspect.DiagnoseConfig{}); d.Server.Version == "" || len(d.Server.Features) == 0 || !d.Server.Features[0].Has || d.Server.User != "default" {
		t.Errorf("%+v", d.Server)
	}
}

func TestDoctorClock(t *testing.T) {
	s := redistest.StartWithClock(t, safe...)
	cfg := inspect.DiagnoseConfig{Checks: []string{"clock"}}
	nothing(t, s.URL(), cfg)
	for _, test := range []struct {
		move time.Duration
		want inspect.Severity
	}{{5 * time.Second, inspect.Warning}, {-time.Hour, inspect.Critical}} {
		s.MoveClock(test.move)
		if f := found(t, diagnose(t, s.URL(), cfg), "clock"); f.Severity != test.want {
			t.Errorf("moved by %v: %+v", test.move, f)
		}
	}
	if d := diagnose(t, s.URL(), cfg); time.Until(d.At).Abs() < 30*time.Minute {
		t.Errorf("the time of the diagnosis is not the server's: %v", d.At)
	}
}

func TestDoctorRefusesAConfiguration(t *testing.T) {
	for _, test := range []struct {
		server freshet.Config
		cfg    inspect.DiagnoseConfig
	}{
		{freshet.Config{URL: "redis://localhost:1"}, inspect.DiagnoseConfig{Checks: []string{"nonsense"}}},
		{freshet.Config{URL: "http://localhost"}, inspect.DiagnoseConfig{}},
		{freshet.Config{URL: "rediss://localhost:1", TLSCA: "/none"}, inspect.DiagnoseConfig{}},
	} {
		if d, err := inspect.Diagnose(t.Context(), test.server, test.cfg); err == nil {
			t.Errorf("%+v", d)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	i, _, _ := open(t)
	if d, err := i.Diagnose(ctx, inspect.DiagnoseConfig{}); err == nil {
		t.Errorf("%+v", d)
	}
}
