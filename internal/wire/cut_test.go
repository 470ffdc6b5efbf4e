package wire

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// What is cut from an object of scalars is what scanning it finds.
func TestCutAgreesWithScan(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`["\\{},:a]*`))
	number := rapid.StringMatching(`-?[1-9][0-9]{0,150}(\.[0-9]{1,20})?`)
	rapid.Check(t, func(t *rapid.T) {
		b := []byte{'{'}
		long := false
		for _, name := range rapid.SliceOfDistinct(rapid.StringMatching(`[a-z]{1,8}`), rapid.ID).Draw(t, "names") {
			value := rapid.SampledFrom([]string{"null", "true", "false", "0"}).Draw(t, "literal")
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				value = string(appendQuoted(nil, strings.ToValidUTF8(text.Draw(t, "text"), "")))
			case 1:
				value = number.Draw(t, "number")
				long = long || len(value) > 100
			}
			b = appendMember(b, member{name, value})
		}
		w := writing{workspace: new(workspace), object: string(append(b, '}'))}
		if !w.cut() {
			if !long {
				t.Fatalf("%s: not cut", w.object)
			}
			return
		}
		if _, refusal := w.json.scan("data", w.object); refusal != nil || !slices.Equal(w.data, w.json.members) {
			t.Fatalf("%s\ncut  %v\nscan %v, %v", w.object, w.data, w.json.members, refusal)
		}
	})
}
