package inspect_test

import (
	"testing"

	"github.com/freshet/freshet/inspect"
)

func TestFingerprintOfOneCauseIsOne(t *testing.T) {
	for _, alike := range [][]string{
		{
			`user 17: duplicate key "ada@example.com"`,
			`user 4711: duplicate key "bob \"b\" <b@example.com>"`,
		},
		{
			"get 0a1b2c3d-0000-4000-8000-00000000000a: not found",
			"get DEADBEEF-1234-4000-8000-0123456789AB: not found",
		},
		{
			"dial tcp 10.0.0.1:5432: i/o timeout after 1.5s",
			"dial tcp 192.168.17.4:6543: i/o timeout after 20s",
		},
		{
			"commit deadbeef: rejected at 2025-12-04T10:00:00.000Z",
			"commit 0x1f: rejected at 2026-01-01T00:00:00Z",
		},
		{
			"row evt_1735987200000_a8f3k2 of 'it', `x`",
			"row 1735987200001-z9z9z9z of 'them', `y`",
		},
		{
			"attempt 8 of 8: can't reach it, won't try",
			"attempt 12 of 12: can't reach it, won't try",
		},
	} {
		if a, b := inspect.Fingerprint(alike[0]), inspect.Fingerprint(alike[1]); a != b {
			t.Errorf("%q\n%q", a, b)
		}
	}
	for _, unlike := range [][]string{
		{"data.userId: missing_field", "data.email: missing_field"},
		{"can't reach the table 'x', won't try", "can't reach the index 'x', won't try"},
		{"", "no"},
	} {
		if a, b := inspect.Fingerprint(unlike[0]), inspect.Fingerprint(unlike[1]); a == b {
			t.Errorf("both %q", a)
		}
	}
	if got, want := inspect.Fingerprint(`dial tcp 10.0.0.1:5432: no "x"`), `dial tcp <n>: no <text>`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
