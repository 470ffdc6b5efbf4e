package replica

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"

	"github.com/pressly/goose/v3"

	"github.com/freshet/freshet/events"
)

// Options of a Store.
type Options struct {
	Log *slog.Logger // told of the migrations that were run; nil: nobody is
}

// Store is a copy in a database. Its methods may be called from several
// goroutines; batches are applied one after the other. Several processes may
// open one SQLite file.
type Store struct {
	db      *sql.DB
	dialect dialect

	mu     sync.Mutex
	writer *writer // nil until needed, and after a failure
}

// Open opens the copy that dsn names, sqlite://FILE, and creates or upgrades
// its tables. FILE is taken as it stands: sqlite://suite.db is in the current
// directory, sqlite:///var/lib/suite.db is not.
func Open(ctx context.Context, dsn string, o Options) (*Store, error) {
	db, dialect, err := open(dsn)
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, dialect: dialect}
	if err := s.migrate(ctx, o.Log); err != nil {
		db.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) migrate(ctx context.Context, log *slog.Logger) error {
	files, err := fs.Sub(migrations, s.dialect.migrations)
	if err != nil {
		return fmt.Errorf("replica: migrations: %w", err)
	}
	if err := s.db.PingContext(ctx); err != nil {
		return &UnavailableError{"open", err}
	}
	provider, err := goose.NewProvider(s.dialect.name, s.db, files)
	if err != nil {
		return fmt.Errorf("replica: migrations: %w", err)
	}
	results, err := provider.Up(ctx)
	if err != nil {
		// Another process may have run them at the same moment.
		results, err = provider.Up(ctx)
	}
	if err != nil {
		return &UnavailableError{"migrations", err}
	}
	if log != nil {
		for _, r := range results {
			log.InfoContext(ctx, "replica migrated", "version", r.Source.Version, "duration", r.Duration)
		}
	}
	return nil
}

// DB returns the database, to query the copy with. Only Apply writes to it.
func (s *Store) DB() *sql.DB { return s.db }

// Close closes the database. A batch that is being applied is finished first.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.discard()
	return s.db.Close()
}

// Types returns the event types that the copy takes.
func (s *Store) Types() []*events.Type {
	var types []*events.Type
	for _, t := range events.Catalogue() {
		if takes(t) {
			types = append(types, t)
		}
	}
	return types
}

func takes(t *events.Type) bool { return stateOf[t] != nil || isCredit(t) }

// Apply writes a batch of events to the copy in one transaction: all of it, or
// nothing when it returns an error. Applying an event again changes nothing.
//
// The error is a *[RejectedError] when an event of the batch can never be
// applied, and an *[UnavailableError] when the database failed.
func (s *Store) Apply(ctx context.Context, batch []*events.Envelope) error {
	state, credits := stateBatch{}, []telling{}
	var r record
	for _, env := range batch {
		if err := r.read(env); err != nil {
			return err
		}
		if say := stateOf[env.Type]; say != nil {
			say(&r)
			state[r.patch.table] = append(state[r.patch.table], r.patch)
		} else {
			credits = append(credits, r.telling())
		}
		if r.err != nil {
			return r.err
		}
	}
	return s.transact(ctx, func(w *writer) error {
		if err := state.write(w); err != nil {
			return err
		}
		return writeLedger(w, credits)
	})
}

// transact runs f in a transaction. When anything fails the connection is
// dropped, and the transaction with it.
func (s *Store) transact(ctx context.Context, f func(*writer) error) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	done := false
	defer func() {
		if !done { // an error, or a panic
			s.discard()
		}
	}()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	if s.writer == nil {
		conn, err := s.db.Conn(ctx)
		if err != nil {
			return unavailable(ctx, "connect", err)
		}
		s.writer = newWriter(conn, s.dialect)
	}
	// One batch takes little time; a context that ends in the middle of it
	// does not interrupt it.
	return s.writer.use(func() error {
		if err := s.writer.begin(); err != nil {
			return unavailable(ctx, "begin", err)
		}
		if err := f(s.writer); err != nil {
			return unavailable(ctx, "apply", err)
		}
		if err := s.writer.exec("COMMIT"); err != nil {
			return unavailable(ctx, "commit", err)
		}
		done = true
		return nil
	})
}

func unavailable(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return fmt.Errorf("replica: %s: %w", op, err)
	}
	return &UnavailableError{op, err}
}

func (s *Store) discard() {
	if s.writer != nil {
		s.writer.discard()
		s.writer = nil
	}
}
