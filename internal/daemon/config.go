package daemon

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
)

// Config describes one consumer and the copy that it keeps. Fill it by the
// flags that [Config.Settings] names and by [Config.ReadFile], then Validate.
type Config struct {
	Redis        string // URL of the server; may hold a password
	RedisFile    string // file that holds the URL instead
	PasswordFile string // file that holds the password instead of the URL, and is read again while running
	App          string
	TLSCA        string
	TLSCert      string
	TLSKey       string

	Consumer freshet.ConsumerConfig
	Batch    freshet.BatchConfig
	Start    string // StartBeginning or StartNew

	Replica string // sqlite://FILE

	Retention time.Duration // entries that old, and settled by every group, are removed; 0: none are

	AllowEviction      bool // start on a server that may delete streams for want of memory
	AllowNoPersistence bool // start on a server that writes nothing to disk

	HTTPAddress   string // serves metrics and health, "127.0.0.1:9464"; "": nothing is served
	HTTPTokenFile string // file that holds what callers must present
	Tracing       string // URL of the collector of traces; "": the environment's, or none

	Applied func(took time.Duration, err error) // told of each transaction on the copy; may be nil

	origins map[string]string // key → "freshet.yaml:7", of keys that a file set
}

// Where a group that does not exist yet begins.
const (
	StartBeginning = "beginning"
	StartNew       = "new"
)

// Setting is one thing to configure: a key of the file, a flag, and the field
// of a Config that both set.
type Setting struct {
	Key   string // dotted, "consumer.handler_timeout"
	Field any    // *string, *[]string, *int, *time.Duration or *bool
	Usage string // a flag's help; the `value` is named in back quotes

	Secret bool // a URL that may hold a password, which a file must refer to by ${NAME}
}

// Flag returns the name of the setting's flag, "handler-timeout".
func (s Setting) Flag() string {
	if s.Key == "http.address" {
		return "http"
	}
	name := strings.TrimPrefix(strings.TrimPrefix(s.Key, "consumer."), "server.")
	return strings.NewReplacer(".", "-", "_", "-").Replace(name)
}

// Check reports a number or duration that is not above zero. The SDK would
// take zero for "not set", which who writes it does not mean.
func (s Setting) Check() error {
	switch field := s.Field.(type) {
	case *int:
		if *field <= 0 {
			return errNotPositive
		}
	case *time.Duration:
		if *field <= 0 {
			return errNotPositive
		}
	}
	return nil
}

var errNotPositive = errors.New("must be above 0")

// Settings returns all there is to configure, bound to c.
func (c *Config) Settings() []Setting {
	k := &c.Consumer
	return []Setting{
		{Key: "redis", Field: &c.Redis, Usage: "server `URL`: redis://, rediss:// or unix://", Secret: true},
		{Key: "redis_file", Field: &c.RedisFile, Usage: "take the server's URL from `FILE`, which its owner alone can read"},
		{Key: "redis_password_file", Field: &c.PasswordFile, Usage: "take the server's password from `FILE`, which its owner alone can read"},
		{Key: "tls.ca", Field: &c.TLSCA, Usage: "PEM `FILE` of the authority to trust"},
		{Key: "tls.cert", Field: &c.TLSCert, Usage: "PEM `FILE` of the client certificate"},
		{Key: "tls.key", Field: &c.TLSKey, Usage: "PEM `FILE` of the client key"},
		{Key: "app", Field: &c.App, Usage: "application `NAME` that the copy belongs to (default freshet)"},
		{Key: "replica", Field: &c.Replica, Usage: "keep the copy that `URL` names: sqlite://FILE", Secret: true},
		{Key: "server.allow_eviction", Field: &c.AllowEviction, Usage: "start on a server that may delete streams when its memory is full"},
		{Key: "server.allow_no_persistence", Field: &c.AllowNoPersistence, Usage: "start on a server that writes nothing to disk"},
		{Key: "retention.older_than", Field: &c.Retention, Usage: "remove entries older than `DURATION` such as 30d that every group has settled (default keep all)"},
		{Key: "http.address", Field: &c.HTTPAddress, Usage: "serve the dashboard, /metrics, /livez and /readyz at `ADDRESS`, such as 127.0.0.1:9464; other machines reach it only with a token"},
		{Key: "http.token_file", Field: &c.HTTPTokenFile, Usage: "callers must present the token that is in `FILE`, which its owner alone can read"},
		{Key: "tracing.endpoint", Field: &c.Tracing, Usage: "send traces to the `URL` of a collector, http://HOST:4318/v1/traces (default the environment's OTEL_EXPORTER_OTLP_ENDPOINT, else none)"},
		{Key: "consumer.group", Field: &k.Group, Usage: "consumer group `NAME` (default APP-copy)"},
		{Key: "consumer.streams", Field: &k.Streams, Usage: "read these `PATTERNS`: keys or Redis globs, comma-separated (default all streams of the suite)"},
		{Key: "consumer.tenants", Field: &k.Tenants, Usage: "copy these `TENANTS` alone, comma-separated (default all); the filter belongs to the group"},
		{Key: "consumer.replace_tenants", Field: &k.ReplaceTenants, Usage: "make --tenants the group's filter from now on; stop its other consumers first"},
		{Key: "consumer.start", Field: &c.Start, Usage: "begin a group that does not exist yet at `WHERE`: beginning or new (default beginning)"},
		{Key: "consumer.exclusive", Field: &k.Exclusive, Usage: "let one consumer of the group be active, the others stand by"},
		{Key: "consumer.acknowledge", Field: &k.Acknowledge, Usage: "publish an acknowledgment of each event"},
		{Key: "consumer.dead_letter_unknown", Field: &k.DeadLetterUnknown, Usage: "dead-letter events of unknown type (default ignore them)"},
		{Key: "consumer.concurrency", Field: &k.Concurrency, Usage: "run at most `N` handlers at once (default 16)"},
		{Key: "consumer.max_in_flight", Field: &k.MaxInFlight, Usage: "have at most `N` entries read and not settled (default 1000, or 10 for each stream where that is more)"},
		{Key: "consumer.max_attempts", Field: &k.MaxAttempts, Usage: "dead-letter an event after `N` attempts (default 8)"},
		{Key: "consumer.handler_timeout", Field: &k.HandlerTimeout, Usage: "give up a write to the copy after `DURATION` (default 20s)"},
		{Key: "consumer.lease", Field: &k.Lease, Usage: "take a dead consumer's entries over after `DURATION` (default 30s)"},
		{Key: "consumer.backoff_min", Field: &k.BackoffMin, Usage: "wait about `DURATION` before the second attempt; it doubles (default 200ms)"},
		{Key: "consumer.backoff_max", Field: &k.BackoffMax, Usage: "wait at most `DURATION` between attempts (default 30s)"},
		{Key: "consumer.drain_timeout", Field: &k.DrainTimeout, Usage: "finish what is in hand within `DURATION` when told to stop (default 25s)"},
		{Key: "consumer.batch_size", Field: &c.Batch.Size, Usage: "write at most `N` events in a transaction (default 500)"},
		{Key: "consumer.batch_wait", Field: &c.Batch.Wait, Usage: "wait `DURATION` for a batch to fill (default 5ms)"},
	}
}

// WithDefaults returns the configuration with the defaults of the daemon
// filled in. Those of the SDK are left to it.
func (c Config) WithDefaults() Config {
	if c.App == "" {
		c.App = "freshet"
	}
	if c.Consumer.Group == "" {
		c.Consumer.Group = c.App + "-copy"
	}
	if len(c.Consumer.Streams) == 0 {
		c.Consumer.Streams = events.Streams()
	}
	c.Consumer.StartNew = c.Start == StartNew
	return c
}

// Validate reports the first rule that the configuration breaks, with the
// file and line or the flag that set it.
func (c Config) Validate() error {
	switch {
	case c.Replica == "":
		return errors.New("nothing to keep up to date: say where the copy is with --replica sqlite://FILE, or replica: in the configuration file")
	case !strings.HasPrefix(c.Replica, "sqlite://"):
		return c.wrong("replica", "want sqlite://FILE")
	case c.Redis != "" && c.RedisFile != "":
		return c.wrong("redis_file", "give redis or redis_file, not both")
	case c.Start != "" && c.Start != StartBeginning && c.Start != StartNew:
		return c.wrong("consumer.start", "want beginning or new")
	case c.Batch.Size > 10_000:
		return c.wrong("consumer.batch_size", "from 1 to 10000")
	}
	if err := c.validateHTTP(); err != nil {
		return err
	}
	err := c.WithDefaults().Consumer.Validate()
	if broken := (*freshet.ConfigError)(nil); errors.As(err, &broken) {
		return c.wrong("consumer."+inKeys(broken.Field), inKeys(broken.Rule))
	}
	return err
}

// wrong says what is wrong with a setting, and where it was set.
func (c Config) wrong(key, problem string) error {
	if origin := c.origins[key]; origin != "" {
		return fmt.Errorf("%s: %s: %s", origin, key, problem)
	}
	return fmt.Errorf("--%s: %s", Setting{Key: key}.Flag(), problem)
}

var goName = regexp.MustCompile(`\b(?:[A-Z][a-z]+)+\b`)

// inKeys writes the names of the SDK's fields as keys: HandlerTimeout becomes
// handler_timeout. Other words, such as tenants, stay as they are.
func inKeys(s string) string {
	keys := map[string]bool{}
	for _, setting := range new(Config).Settings() {
		keys[setting.Key] = true
	}
	return goName.ReplaceAllStringFunc(s, func(name string) string {
		var key strings.Builder
		for i, r := range name {
			if i > 0 && r <= 'Z' {
				key.WriteByte('_')
			}
			key.WriteRune(unicode.ToLower(r))
		}
		if !keys["consumer."+key.String()] {
			return name
		}
		return key.String()
	})
}
