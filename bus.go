package freshet

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/freshet/freshet/internal/redisstream"
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

	// PublishTimeout bounds a publish whose context has no deadline. Default 5 s.
	PublishTimeout time.Duration

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
	return nil
}

// Bus is a connection to the suite's streams. It is safe for concurrent use;
// one is enough for a process.
type Bus struct {
	cfg    Config
	client *redisstream.Client
}

// Open connects and makes sure that the server answers.
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
		URL:        cfg.URL,
		CAFile:     cfg.TLSCA,
		CertFile:   cfg.TLSCert,
		KeyFile:    cfg.TLSKey,
		ClientName: cfg.App,
		Log:        cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	return &Bus{cfg: cfg, client: client}, nil
}

// Close ends the connections. Consumers must have returned before.
func (b *Bus) Close() { b.client.Close() }
