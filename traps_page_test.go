package freshet_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTrapsPageNamesTestsThatExist keeps docs/traps.md from going stale: the
// tests and faults that it names exist.
func TestTrapsPageNamesTestsThatExist(t *testing.T) {
	page, err := os.ReadFile("docs/traps.md")
	if err != nil {
		t.Fatal(err)
	}
	reliability, err := os.ReadFile("docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	exists := testNames(t)
	named := regexp.MustCompile("`([a-z]+\\.Test\\w+)`").FindAllStringSubmatch(string(page), -1)
	if len(named) < 50 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, m := range named {
		if !exists[m[1]] {
			t.Errorf("no test %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`\bF\d+\b`).FindAllString(string(page), -1) {
		if !strings.Contains(string(reliability), "\n| "+m+" |") {
			t.Errorf("docs/reliability.md has no row %s", m)
		}
	}
	for _, f := range []string{"traps_test.go", "internal/redisstream/traps_test.go", "internal/delivery/traps_test.go"} {
		for name := range namesIn(t, f) {
			if !strings.Contains(string(page), "."+name+"`") {
				t.Errorf("the page does not name %s of %s", name, f)
			}
		}
	}
}

// testNames returns all tests of the module, as package.Name with the last
// part of the package's path; those of commands as cmd.Name.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		dir := filepath.Base(filepath.Dir(path))
		switch {
		case dir == ".":
			dir = "freshet"
		case strings.HasPrefix(path, "cmd"+string(filepath.Separator)):
			dir = "cmd"
		}
		for name := range namesIn(t, path) {
			names[dir+"."+name] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func namesIn(t *testing.T, path string) map[string]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, decl := range file.Decls {
		if f, is := decl.(*ast.FuncDecl); is && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
			names[f.Name.Name] = true
		}
	}
	return names
}
