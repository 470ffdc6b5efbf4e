package inspect

import (
	"context"
	"log/slog"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/internal/connection"
	"github.com/freshet/freshet/internal/redisstream"
)

// Inspector is a connection for looking. It is safe for concurrent use.
type Inspector struct {
	client *redisstream.Client
	log    *slog.Logger
}

// Open connects and makes sure that the server answers.
func Open(ctx context.Context, cfg freshet.Config) (*Inspector, error) {
	client, err := connection.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	log := cfg.Log
	if log == nil {
		log = slog.Default()
	}
	return &Inspector{client, log}, nil
}

// Close ends the connections.
func (i *Inspector) Close() { i.client.Close() }
