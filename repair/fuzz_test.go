package repair_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/repair"
)

// FuzzRecord takes a line of an export. What is read is written again as it
// was read, and can be imported, found, redriven and decoded.
func FuzzRecord(f *testing.F) {
	const note = `["freshet-stream","s"],["freshet-id","1-1"],["freshet-group","g"],["freshet-consumer","c"],["freshet-attempts","8"],` +
		`["freshet-reason","max_attempts"],["freshet-error","no"],["freshet-first-failed",""],["freshet-last-failed","2025-12-04T10:00:00Z"]`
	record := func(fields string) string { return `{"stream":"s","group":"g","fields":[` + fields + note + `]}` }
	for _, line := range []string{
		record(``),
		record(`["eventType","user_created"],["tenantId","acme"],["data","{\"userId\":\"u-1\"}"],`),
		record(`["a","1"],["a","2"],["","\u0000"],[{"base64":"/w=="},{"base64":""}],["freshet-id","9-9"],`),
		record(`["\ufffd","\ud800"],`),
		record(`["<b>&\u2028","` + "\xff" + `"],`),
		record(strings.Repeat(`["n","v"],`, 5000)),
		record(``) + ` {}`,
		strings.Replace(record(``), `"1-1"`, `"18446744073709551615-18446744073709551615"`, 1),
		strings.Replace(record(``), `"8"`, `"99999999999999999999"`, 1),
		strings.Replace(record(``), `"stream":"s"`, `"stream":"a}:dlq:b"`, 1),
		strings.Replace(record(``), `"stream":"s"`, `"stream":"s","stream":"t","x":1`, 1),
		strings.Replace(record(``), `["freshet-group","g"]`, `["freshet-group","g","h"]`, 1),
		`{"stream":"s","group":"g","fields":[[["a"]]]}`,
		`[` + strings.Repeat(`[`, 10_001),
		`null`,
	} {
		f.Add([]byte(line))
	}
	server := redistest.Start(f)
	f.Fuzz(func(t *testing.T, line []byte) {
		record, err := repair.ParseRecord(line)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x00") || len(err.Error()) > 200+len(line) {
				t.Errorf("the error has what stands in the line: %q", err)
			}
			return
		}
		again, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := repair.ParseRecord(again); err != nil || !reflect.DeepEqual(same, record) {
			t.Fatalf("written as %s, which is read as %+v, %v", again, same, err)
		}
		server.Do("FLUSHALL")
		x := openOn(t, server)
		for _, want := range []repair.ImportResult{{Imported: 1}, {Present: 1}} {
			if got, err := x.Importer().Import(t.Context(), []repair.Record{record}); err != nil || got != want {
				t.Fatalf("%s imported: %+v, %v", again, got, err)
			}
		}
		letters := x.letters(t)
		if len(letters) != 1 || !slices.Equal(letters[0].Record, record.Fields) || letters[0].Stream != record.Stream || letters[0].Group != record.Group {
			t.Fatalf("%s is found as %+v", again, letters)
		}
		if got := x.redrive(t); got != (repair.RedriveResult{Redriven: 1}) {
			t.Errorf("%s redriven: %+v", again, got)
		}
	})
}
