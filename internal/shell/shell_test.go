package shell_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/shell"
)

func TestWord(t *testing.T) {
	for s, want := range map[string]string{
		"crm:sync:user:user_created": "crm:sync:user:user_created",
		"":                           "''",
		"old crm":                    "'old crm'",
		"it's $(x) `y` !":            `'it'\''s $(x) ` + "`y` !'",
		"a\x1b[2J'\\\n":              `$'a\033[2J\'\\\012'`,
		"\xff\u202e":                 `$'\377\342\200\256'`,
		"7\x017":                     `$'7\0017'`,
	} {
		if got := shell.Word(s); got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
}

// What bash makes of a command are the words that it was made of.
func TestCommandIsReadBack(t *testing.T) {
	for _, s := range []string{"plain", "", "two words", `"'\$` + "`", "a\nb\tc", "é\u202e\x1b]0;x\a", "\xff\xfe", "*", "~", "-n", "#x", "a;b|c&d", "{a,b}", "!!"} {
		out, err := exec.Command("bash", "-c", shell.Command("printf", "%s|", s, s)).Output()
		if want := strings.Repeat(s+"|", 2); err != nil || string(out) != want {
			t.Errorf("%q: %q, %v", s, out, err)
		}
	}
}
