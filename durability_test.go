package freshet_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redistest"
)

func TestDurabilityIsWhatItsTextSays(t *testing.T) {
	for text, want := range map[string]freshet.Durability{
		"memory":      {},
		"replicas(1)": freshet.Replicas(1),
		"replicas(2)": freshet.Replicas(2),
		"disk":        freshet.Disk(0),
		"disk(1)":     freshet.Disk(1),
	} {
		if got, err := freshet.ParseDurability(text); got != want || err != nil || want.String() != text {
			t.Errorf("%s: parsed %s, printed %s, %v", text, got, want, err)
		}
	}
	if got, err := freshet.ParseDurability("disk(0)"); got != freshet.Disk(0) || err != nil {
		t.Errorf("disk(0): %s, %v", got, err)
	}
	for _, text := range []string{"", "Memory", "memory(1)", "memory(0)", "replicas", "replicas()", "replicas(0)", "replicas(-1)", "replicas(1", "replicas(1))", "replicas(1)x", "replicas( 1)", "disk(x)", "disk(99999)", "tape"} {
		if got, err := freshet.ParseDurability(text); err == nil {
			t.Errorf("%q: parsed %s", text, got)
		}
	}
}

func TestOpenRefusesADurabilityThatIsNone(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes")
	for _, tt := range []struct {
		durability freshet.Durability
		want       string
	}{
		{freshet.Replicas(0), "freshet: Config.Durability: durability replicas(0): want at least 1 replica"},
		{freshet.Disk(-1), "must not be negative"},
		{freshet.Disk(0), "use replicas(n), or memory with appendfsync always"}, // before Redis 7.2
	} {
		if _, err := freshet.Open(t.Context(), freshet.Config{URL: server.URL(), Durability: tt.durability}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.durability, err, tt.want)
		}
	}
}

func TestPublishThatTooFewReplicasHaveIsUnknown(t *testing.T) {
	server := redistest.Start(t)
	bus, err := freshet.Open(t.Context(), freshet.Config{URL: server.URL(), Durability: freshet.Replicas(1), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	// The server says how far it got in the last half second; a machine that is
	// busy may need another try to hear that in time.
	for told, try := 0, 1; told < 2; try++ {
		if try > 10 {
			t.Fatal("the server never says in time how far it got")
		}
		told = 0
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		for _, r := range bus.PublishBatch(ctx, []freshet.Message{{Tenant: tenant, Payload: user(1)}, {Tenant: tenant, Payload: user(2)}}) {
			var publish *freshet.PublishError
			var short *freshet.DurabilityError
			switch {
			case !errors.Is(r.Err, freshet.ErrUnknown) || errors.Is(r.Err, freshet.ErrFailed):
				t.Errorf("got %v, want unknown", r.Err)
			case !errors.As(r.Err, &publish) || publish.EventID == "":
				t.Errorf("no event id: %v", r.Err)
			case errors.Is(r.Err, context.DeadlineExceeded):
				continue
			case !errors.As(r.Err, &short) || short.Want != freshet.Replicas(1) || short.Replicas != 0 || !strings.Contains(r.Err.Error(), "0 of 1 replicas have it"):
				t.Errorf("how far it got: %v", r.Err)
			}
			told++
		}
		cancel()
	}
	server.Do("CONFIG", "SET", "maxmemory", "1")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := bus.Publish(ctx, tenant, user(3)); !errors.Is(err, freshet.ErrFailed) {
		t.Errorf("refused: %v, want failed", err)
	}
}

// An acknowledgment of an event waits for no replica.
func TestAcknowledgmentsNeedNoDurability(t *testing.T) {
	server := redistest.Start(t)
	bus, err := freshet.Open(t.Context(), freshet.Config{
		URL: server.URL(), Durability: freshet.Replicas(1), PublishTimeout: time.Minute, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, _ = bus.Publish(ctx, tenant, user(1)) // on the stream, not on a replica
	c := bus.Consumer(freshet.ConsumerConfig{Group: "g", Acknowledge: true})
	freshet.On(c, func(context.Context, *freshet.Event[events.UserCreated]) error { return nil })
	drain(t, c)
	if n := server.Do("XLEN", "acknowledgments"); n != int64(1) {
		t.Errorf("%v acknowledgments", n)
	}
}

func ExampleReplicas() {
	server, err := redistest.New()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	bus, err := freshet.Open(ctx, freshet.Config{
		URL:        server.URL(),
		Durability: freshet.Replicas(1),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err = bus.Publish(ctx, "acme", events.UserDeleted{UserID: "u1", DeletedAt: time.Now()})
	var short *freshet.DurabilityError
	if errors.Is(err, freshet.ErrUnknown) && errors.As(err, &short) {
		fmt.Println(short) // this server has no replica
	}
	// Output: replicas(1): 0 of 1 replicas have it
}

func ExampleParseDurability() {
	d, err := freshet.ParseDurability("disk(1)") // such as from a flag
	fmt.Println(d == freshet.Disk(1), err)
	// Output: true <nil>
}

func ExampleConfig_passwordFile() {
	server, err := redistest.New()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	server.Do("ACL", "SETUSER", "crm", "on", ">first", "~*", "+@all")
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "password") // such as a mounted secret
	if err := os.WriteFile(file, []byte("first\n"), 0o600); err != nil {
		log.Fatal(err)
	}

	url := strings.Replace(server.URL(), "redis://", "redis://crm@", 1)
	bus, err := freshet.Open(context.Background(), freshet.Config{URL: url, PasswordFile: file})
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()
	fmt.Println("connected")
	// Output: connected
}
