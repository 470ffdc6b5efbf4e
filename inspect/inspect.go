package inspect

import (
	"context"
	"log/slog"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/internal/redisstream"
)

// Inspector is a connection for looking. It is safe for concurrent use.
type Inspector struct {
	client *redisstream.Client
	log    *slog.Logger
}

// Open connects and makes sure that the server answers.
func Open(ctx context.Context, cfg freshet.Config) (*Inspector, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.App == "" {
		cfg.App = "freshet"
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
		Log:          cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	return &Inspector{client, cfg.Log}, nil
}

// Close ends the connections.
func (i *Inspector) Close() { i.client.Close() }
