// Package connection opens the client of those who look at the server, or change
// it, beside the bus.
package connection

import (
	"cmp"
	"context"
	"log/slog"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/internal/redisstream"
)

// Open connects as a bus of the configuration would, and makes sure that the
// server answers.
func Open(ctx context.Context, cfg freshet.Config) (*redisstream.Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return redisstream.Open(ctx, Config(cfg))
}

// Config is what Open connects by.
func Config(cfg freshet.Config) redisstream.Config {
	log := cfg.Log
	if log == nil {
		log = slog.Default()
	}
	return redisstream.Config{
		URL:          cfg.URL,
		PasswordFile: cfg.PasswordFile,
		CAFile:       cfg.TLSCA,
		CertFile:     cfg.TLSCert,
		KeyFile:      cfg.TLSKey,
		ClientName:   cmp.Or(cfg.App, "freshet"),
		Log:          log,
	}
}
