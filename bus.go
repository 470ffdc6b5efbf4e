package freshet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

// Config says where the bus is and who speaks on it. URL is required.
type Config struct {
	// URL of the server: redis://, rediss:// or unix://, with user, password
	// and database where needed; several hosts for a cluster; docs/operations.md
	// has the forms for Sentinel. It is never printed.
	URL string

	// App is the publishing application: the source of its events and the
	// first part of its consumers' names. Default "freshet".
	App string

	// PEM files for rediss://: the authority to trust besides the system's,
	// and the client's certificate and key.
	TLSCA, TLSCert, TLSKey string

	// PasswordFile holds the password instead of the URL; a newline at its
	// end does not count. It is read for every new connection, so that a new
	// password is taken up without a restart.
	PasswordFile string

	// Durability is what must have happened to an event before its publish
	// is acknowledged. Default [Memory].
	Durability Durability

	// PublishTimeout bounds a publish whose context has no deadline. Default 5 s.
	PublishTimeout time.Duration

	// Tracer makes a span of each publish, and of each call of a handler, which
	// links to the span that published the event. Default: none, but an event
	// carries the span of its publish's context all the same.
	Tracer trace.Tracer

	// Log receives what the bus does on its own: reconnects, recreated
	// groups, dead letters. Never payloads or secrets. Default slog.Default().
	Log *slog.Logger
}

// Validate reports the first rule that the configuration breaks.
func (c Config) Validate() error {
	switch {
	case c.URL == "":
		return errors.New("freshet: Config.URL: required, e.g. redis://localhost:6379")
	case c.PublishTimeout < 0:
		return errors.New("freshet: Config.PublishTimeout: must not be negative")
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return errors.New("freshet: Config.TLSCert and TLSKey: both or neither")
	}
	if err := c.Durability.validate(); err != nil {
		return fmt.Errorf("freshet: Config.Durability: %w", err)
	}
	return nil
}

// Bus is a connection to the suite's streams. It is safe for concurrent use;
// one is enough for a process.
type Bus struct {
	cfg    Config
	client *redisstream.Client
	adder  adder // as durable as cfg asks for
}

// adder appends to streams.
type adder interface {
	Add(ctx context.Context, stream string, fields []events.Field) (wire.ID, error)
	AddBatch(ctx context.Context, batch []redisstream.Addition) []redisstream.AddResult
}

// Open connects, and makes sure that the server answers and can do what
// [Config.Durability] asks for.
func Open(ctx context.Context, cfg Config) (*Bus, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.App == "" {
		cfg.App = "freshet"
	}
	if cfg.PublishTimeout == 0 {
		cfg.PublishTimeout = 5 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	client, err := redisstream.Open(ctx, redisstream.Config{
		URL:          cfg.URL,
		PasswordFile: cfg.PasswordFile,
		CAFile:       cfg.TLSCA,
		CertFile:     cfg.TLSCert,
		KeyFile:      cfg.TLSKey,
		ClientName:   cfg.App,
		AddTimeout:   cfg.PublishTimeout,
		Log:          cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	bus := &Bus{cfg: cfg, client: client, adder: client}
	if d := cfg.Durability; d != Memory {
		bus.adder, err = redisstream.NewCommitter(ctx, client, redisstream.Level{Disk: d.level == onDisk, Replicas: d.replicas})
		if err != nil {
			client.Close()
			return nil, err
		}
	}
	return bus, nil
}

// Close ends the connections. Consumers must have returned before.
func (b *Bus) Close() { b.client.Close() }
