package replica_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/replica"
)

// Two processes may write to one file, by turns: neither goes by what it knew
// of a row before the other wrote it.
func TestTwoWritersOfOneFile(t *testing.T) {
	dsn := "sqlite://" + filepath.Join(t.TempDir(), "copy.db")
	var writers []*replica.Store
	for range 2 {
		s, err := replica.Open(t.Context(), dsn, replica.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		writers = append(writers, s)
	}
	alone := open(t)
	for i := range 12 {
		batch := []*events.Envelope{
			event(events.UserCreated{}, i, fmt.Sprintf(`{"userId":"u1","email":"e%d"}`, i)),
			event(events.CreditConsumed{}, i, `{"entityId":"o1","amount":0.1}`),
			onSync(100+i, "", "5"),
		}
		if i%3 == 1 {
			batch[0] = event(events.UserDeactivated{}, i, fmt.Sprintf(`{"userId":"u1","lastName":"l%d"}`, i))
			batch[2] = onLedger(100+i, fmt.Sprintf("x%d", i), "5")
		}
		apply(t, writers[i/2%2], batch...) // each twice in a row
		apply(t, alone, batch...)
	}
	if diff := cmp.Diff(dump(t, alone), dump(t, writers[0])); diff != "" {
		t.Error("-one writer +two\n" + diff)
	}
	checkLedger(t, writers[0])
}
