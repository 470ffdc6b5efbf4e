package daemon_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/daemon"
)

// load writes a configuration file, reads it, and validates what it says.
func load(t *testing.T, text string, given ...string) (daemon.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "freshet.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var cfg daemon.Config
	if err := cfg.ReadFile(path, func(key string) bool { return slices.Contains(given, key) }); err != nil {
		return cfg, err
	}
	return cfg, cfg.Validate()
}

func TestFileSetsEverything(t *testing.T) {
	t.Setenv("PASSWORD", "s3cret")
	cfg, err := load(t, `
redis: rediss://app:${PASSWORD}@redis.example.com:6380
app: crm
replica: sqlite:///var/lib/crm/suite.db
tls:
  ca: ca.pem
  cert: client.pem
  key: client.key
server:
  allow_eviction: true
  allow_no_persistence: true
retention:
  older_than: 30d
http:
  address: 127.0.0.1:9464
  token_file: token
tracing:
  endpoint: http://collector:4318/v1/traces
consumer:
  group: crm-suite
  streams: ["*:sync:*", credit-events]
  tenants:
    - acme
    - globex
  replace_tenants: true
  start: new
  exclusive: true
  acknowledge: true
  dead_letter_unknown: true
  concurrency: 4
  max_in_flight: 200
  max_attempts: 3
  handler_timeout: 5s
  lease: 1m30s
  backoff_min: 100ms
  backoff_max: 10s
  drain_timeout: 3s
  batch_size: 50
  batch_wait: 20ms
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range cfg.Settings() {
		if s.Key != "redis_file" && s.Key != "redis_password_file" && isZero(s.Field) {
			t.Errorf("%s was not set", s.Key)
		}
	}
	if url, err := cfg.RedisURL(); err != nil || url != "rediss://app:s3cret@redis.example.com:6380" {
		t.Errorf("RedisURL = %q, %v", url, err)
	}
	if cfg.Retention != 30*24*time.Hour {
		t.Errorf("Retention = %v", cfg.Retention)
	}
	k := cfg.WithDefaults().Consumer
	if !k.StartNew || k.Lease != 90*time.Second || !slices.Equal(k.Tenants, []string{"acme", "globex"}) ||
		!slices.Equal(k.Streams, []string{"*:sync:*", "credit-events"}) || k.MaxAttempts != 3 {
		t.Errorf("consumer = %+v", k)
	}
}

func isZero(field any) bool {
	switch f := field.(type) {
	case *string:
		return *f == ""
	case *bool:
		return !*f
	case *int:
		return *f == 0
	case *time.Duration:
		return *f == 0
	case *[]string:
		return len(*f) == 0
	}
	panic("unknown kind of setting")
}

func TestDefaults(t *testing.T) {
	cfg, err := load(t, "replica: sqlite://suite.db\napp: crm\n")
	if err != nil {
		t.Fatal(err)
	}
	k := cfg.WithDefaults().Consumer
	if k.Group != "crm-copy" || !slices.Contains(k.Streams, "credit-events") || k.StartNew {
		t.Errorf("consumer = %+v", k)
	}
}

func TestKeptKeysAreNotReadFromTheFile(t *testing.T) {
	cfg, err := load(t, "replica: sqlite://suite.db\nconsumer:\n  group: of-the-file\n  max_attempts: none\n", "consumer.group", "consumer.max_attempts")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Consumer.Group != "" || cfg.Consumer.MaxAttempts != 0 {
		t.Errorf("consumer = %+v", cfg.Consumer)
	}
}

func TestFileErrors(t *testing.T) {
	const replica = "replica: sqlite://suite.db\n"
	for _, tt := range []struct {
		name, text string
		want       string // in the error, which must not have the word SECRET
	}{
		{"unknown key", replica + "consumer:\n  leese: SECRET\n", "freshet.yaml:3: consumer.leese: unknown key, did you mean consumer.lease?"},
		{"unknown key in the wrong section", replica + "group: SECRET\n", "freshet.yaml:2: group: unknown key, did you mean consumer.group?"},
		{"dotted key", replica + "consumer.lease: SECRET\n", "freshet.yaml:2: consumer.lease: unknown key"},
		{"unknown section", replica + "sinks: {a: SECRET}\n", "freshet.yaml:2: sinks: unknown key"},
		{"unlike any key", "wherefore_art_thou: SECRET\n", "freshet.yaml:1: wherefore_art_thou: unknown key"},
		{"duplicate key", replica + "app: a\napp: SECRET\n", "freshet.yaml:3: app: stands twice, first on line 2"},
		{"duplicate section", replica + "consumer: {group: a}\nconsumer: {group: SECRET}\n", "freshet.yaml:3: consumer: stands twice"},
		{"section without keys", replica + "consumer: SECRET\n", "freshet.yaml:2: consumer: want keys and values"},
		{"list at the top", "- SECRET\n", "freshet.yaml:1: want keys and values"},
		{"text for a number", replica + "consumer: {max_attempts: SECRET}\n", "freshet.yaml:2: consumer.max_attempts: want a whole number"},
		{"fraction", replica + "consumer: {max_attempts: 1.5}\n", "consumer.max_attempts: want a whole number"},
		{"huge number", replica + "consumer: {max_attempts: 99999999999999999999}\n", "consumer.max_attempts: want a whole number"},
		{"number for a duration", replica + "consumer: {lease: 30}\n", "consumer.lease: want a duration"},
		{"no duration", replica + "consumer: {lease: SECRET}\n", "consumer.lease: want a duration"},
		{"no retention", replica + "retention: {older_than: 0d}\n", "freshet.yaml:2: retention.older_than: must be above 0"},
		{"number for text", replica + "app: 12\n", "freshet.yaml:2: app: want text"},
		{"text for a list", replica + "consumer: {tenants: SECRET}\n", "consumer.tenants: want a list"},
		{"number in a list", replica + "consumer: {tenants: [a, 12]}\n", "consumer.tenants: item 2: want text"},
		{"text for a switch", replica + "consumer: {exclusive: SECRET}\n", "consumer.exclusive: want true or false"},
		{"no value", replica + "app:\n", "freshet.yaml:2: app: has no value"},
		{"zero", replica + "consumer: {max_attempts: 0}\n", "freshet.yaml:2: consumer.max_attempts: must be above 0"},
		{"negative", replica + "consumer: {handler_timeout: -1s}\n", "freshet.yaml:2: consumer.handler_timeout: must be above 0"},
		{"too many", replica + "consumer:\n  max_in_flight: 1000000000\n", "freshet.yaml:3: consumer.max_in_flight: from 1 to 100000"},
		{"too large a batch", replica + "consumer:\n  batch_size: 1000000000\n", "freshet.yaml:3: consumer.batch_size: from 1 to 10000"},
		{"lease too short", replica + "consumer:\n  handler_timeout: 30s\n  lease: 20s\n", "freshet.yaml:4: consumer.lease: must exceed handler_timeout (30s)"},
		{"backoff crossed", replica + "consumer:\n  backoff_min: 2s\n  backoff_max: 1s\n", "freshet.yaml:4: consumer.backoff_max: must not be below backoff_min"},
		{"start by symbol", replica + "consumer: {start: $}\n", "freshet.yaml:2: consumer.start: want beginning or new"},
		{"pattern with a space", replica + "consumer: {streams: ['a b']}\n", "freshet.yaml:2: consumer.streams: "},
		{"bad tenant", replica + "consumer: {tenants: ['AcmeCorp:*']}\n", "freshet.yaml:2: consumer.tenants: "},
		{"pattern that is an alias", replica + "consumer:\n  streams: [*:sync:*]\n", "freshet.yaml:3: consumer.streams: item 1: anchors, aliases and tags are not supported; quote a pattern that begins with *"},
		{"anchor", replica + "app: &a SECRET\n", "freshet.yaml:2: app: anchors, aliases"},
		{"merge key", replica + "<<: {app: SECRET}\n", "freshet.yaml:2: <<: unknown key"},
		{"tag", replica + "app: !!str SECRET\n", "freshet.yaml:2: app: anchors, aliases and tags"},
		{"syntax", replica + "app: [SECRET\n", "freshet.yaml:2: "},
		{"tab", replica + "consumer:\n\tgroup: SECRET\n", "freshet.yaml:3: "},
		{"two documents", replica + "---\napp: SECRET\n", "freshet.yaml: more than one document"},
		{"no copy", "app: crm\n", "replica"},
		{"empty", "", "replica"},
		{"comment alone", "# nothing\n", "replica"},
		{"password in the file", replica + "redis: redis://:SECRET@localhost\n", "freshet.yaml:2: redis: a password must not stand in the file"},
		{"password of the database in the file", "replica: postgres://app:SECRET@localhost/suite\n", "freshet.yaml:1: replica: a password must not stand in the file"},
		{"another database", "replica: mysql://localhost/suite\n", "freshet.yaml:1: replica: want sqlite://FILE"},
		{"unset variable", replica + "redis: ${FRESHET_UNSET}\n", "freshet.yaml:2: redis: the environment has no FRESHET_UNSET"},
		{"two servers", replica + "redis: redis://localhost\nredis_file: url\n", "freshet.yaml:3: redis_file: give redis or redis_file, not both"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, tt.text)
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %q\nwant it to have %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "SECRET") {
				t.Errorf("the error has a value: %q", err)
			}
		})
	}
}

func TestFileReportsAllErrorsAtOnce(t *testing.T) {
	_, err := load(t, "ap: x\nreplica: 1\nconsumer:\n  lease: 5\n")
	if err == nil || strings.Count(err.Error(), "freshet.yaml:") != 3 {
		t.Errorf("error = %v, want three lines", err)
	}
}

// A file that is made to exhaust the parser is refused quickly.
func TestFileBombs(t *testing.T) {
	for name, text := range map[string]string{
		"too large":       strings.Repeat("#", 1<<18+1),
		"flow lists":      "app: " + strings.Repeat("[", 1<<17),
		"flow maps":       strings.Repeat("{a: ", 1<<15),
		"lists in a line": strings.Repeat("- ", 1<<16),
		"keys in a line":  strings.Repeat("? ", 1<<16),
		"laughs":          "a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nreplica: *c\n",
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			if _, err := load(t, text); err == nil {
				t.Error("no error")
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestRedisFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "url")
	for _, tt := range []struct {
		name    string
		content string
		mode    os.FileMode
		want    string
		problem string
	}{
		{"private", "redis://:SECRET@host\n", 0o600, "redis://:SECRET@host", ""},
		{"read only", "redis://host", 0o400, "redis://host", ""},
		{"readable by others", "redis://:SECRET@host", 0o644, "", "mode 0644, others can use it: chmod 600"},
		{"empty", "\n", 0o600, "", "is empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			os.Remove(path)
			if err := os.WriteFile(path, []byte(tt.content), tt.mode); err != nil {
				t.Fatal(err)
			}
			cfg, err := load(t, "replica: sqlite://x\nredis_file: "+path+"\n")
			if err != nil {
				t.Fatal(err)
			}
			url, err := cfg.RedisURL()
			if tt.problem == "" {
				if url != tt.want || err != nil {
					t.Errorf("RedisURL = %q, %v; want %q", url, err, tt.want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), "freshet.yaml:2: redis_file: ") ||
				!strings.Contains(err.Error(), tt.problem) || strings.Contains(err.Error(), "SECRET") {
				t.Errorf("error = %v", err)
			}
		})
	}
	if _, err := (daemon.Config{RedisFile: filepath.Join(dir, "none")}).RedisURL(); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("error of a missing file = %v", err)
	}
}

func TestPasswordFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	for _, tt := range []struct {
		mode    os.FileMode // 0: there is none
		problem string
	}{
		{0, "no such file"},
		{0o640, "mode 0640, others can use it: chmod 600"},
		{0o600, ""},
	} {
		os.Remove(path)
		if tt.mode != 0 {
			if err := os.WriteFile(path, []byte("SECRET"), tt.mode); err != nil {
				t.Fatal(err)
			}
		}
		cfg, err := load(t, "replica: sqlite://x\nredis_password_file: "+path+"\n")
		if err != nil {
			t.Fatal(err)
		}
		switch err := cfg.CheckPasswordFile(); {
		case tt.problem == "" && err != nil:
			t.Errorf("mode %04o: %v", tt.mode, err)
		case tt.problem != "" && (err == nil || !strings.Contains(err.Error(), "freshet.yaml:2: redis_password_file: ") || !strings.Contains(err.Error(), tt.problem)):
			t.Errorf("mode %04o: %v, want %q", tt.mode, err, tt.problem)
		}
	}
}

func TestRedact(t *testing.T) {
	for url, want := range map[string]string{
		"redis://localhost:6379/2":             "redis://localhost:6379/2",
		"rediss://app:SECRET@host:6380":        "rediss://host:6380",
		"redis://:SEC/R@ET@host":               "redis://host",
		"postgres://u@host/db?password=SECRET": "postgres://host/db",
		"sqlite:///var/lib/a@b/suite.db":       "sqlite:///var/lib/a@b/suite.db",
	} {
		if got := daemon.Redact(url); got != want {
			t.Errorf("Redact(%q) = %q, want %q", url, got, want)
		}
	}
}
