package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a configuration file.
const (
	maxFileBytes = 1 << 18
	maxFileDepth = 16
)

// ReadFile reads a YAML file into c, but for the keys that keep names: the
// command line has set those. The error has a line for everything that is
// wrong with the file, with its position and key, and never has a value.
func (c *Config) ReadFile(path string, keep func(key string) bool) error {
	text, err := readBounded(path)
	if err != nil {
		return err
	}
	name := filepath.Base(path)
	tokens := lexer.Tokenize(string(text))
	if line := tooDeep(tokens); line > 0 {
		return fmt.Errorf("%s:%d: nested too deep", name, line)
	}
	tree, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if syntax := (*yaml.SyntaxError)(nil); errors.As(err, &syntax) {
		what, _, _ := strings.Cut(syntax.Message, `"`) // text of the file, which may be a secret
		return fmt.Errorf("%s:%d: %s", name, syntax.Token.Position.Line, cmp.Or(strings.TrimRight(what, " :"), "not YAML"))
	} else if err != nil {
		return fmt.Errorf("%s: not YAML", name)
	}
	if len(tree.Docs) > 1 {
		return fmt.Errorf("%s: more than one document", name)
	}
	d := decoder{name: name, keep: keep, settings: map[string]Setting{}, seen: map[string]int{}}
	for _, s := range c.Settings() {
		d.settings[s.Key] = s
	}
	if len(tree.Docs) == 1 && tree.Docs[0].Body != nil {
		d.mapping("", tree.Docs[0].Body)
	}
	c.origins = map[string]string{}
	for key, line := range d.seen {
		if !keep(key) {
			c.origins[key] = fmt.Sprintf("%s:%d", name, line)
		}
	}
	return errors.Join(d.problems...)
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFileBytes {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, maxFileBytes)
	}
	return text, nil
}

// tooDeep returns the line on which a file nests deeper than a configuration
// does, or 0. It guards the parser, whose cost grows with the square of the
// depth.
func tooDeep(tokens token.Tokens) int {
	var open, line, onLine int
	for _, t := range tokens {
		if t.Position.Line != line {
			line, onLine = t.Position.Line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			open++
		case token.SequenceEndType, token.MappingEndType:
			open--
		case token.SequenceEntryType, token.MappingKeyType:
			onLine++
		}
		if open > maxFileDepth || onLine > maxFileDepth {
			return line
		}
	}
	return 0
}

// decoder puts the values of a file into the fields of settings.
type decoder struct {
	name     string
	keep     func(key string) bool
	settings map[string]Setting
	seen     map[string]int // key → line
	problems []error
}

func (d *decoder) problem(line int, key, what string) {
	if key != "" {
		key += ": "
	}
	d.problems = append(d.problems, fmt.Errorf("%s:%d: %s%s", d.name, line, key, what))
}

// mapping reads the keys below prefix, which is "" or ends with a dot.
func (d *decoder) mapping(prefix string, node ast.Node) {
	m, ok := node.(*ast.MappingNode)
	if !ok {
		d.problem(node.GetToken().Position.Line, strings.TrimSuffix(prefix, "."), "want keys and values")
		return
	}
	for _, entry := range m.Values {
		at := entry.Key.GetToken()
		line, key := at.Position.Line, prefix+at.Value
		setting, known := d.settings[key]
		known = known && !strings.Contains(at.Value, ".") // sections are written as sections
		switch first := d.seen[key]; {
		case first > 0:
			d.problem(line, key, fmt.Sprintf("stands twice, first on line %d", first))
			continue
		case !known && !d.isSection(key):
			d.problem(line, key, "unknown key"+d.suggestion(key))
			continue
		}
		d.seen[key] = line
		if !known {
			d.mapping(key+".", entry.Value)
			continue
		}
		if d.keep(key) {
			continue
		}
		err := decode(setting.Field, entry.Value)
		if err == nil {
			err = setting.Check()
		}
		if url, ok := setting.Field.(*string); ok && err == nil && setting.Secret {
			err = expand(url)
		}
		if err != nil {
			d.problem(line, key, err.Error())
		}
	}
}

// isSection tells whether settings stand below the key.
func (d *decoder) isSection(key string) bool {
	for k := range d.settings {
		if strings.HasPrefix(k, key+".") {
			return true
		}
	}
	return false
}

// suggestion names the known key that is most like an unknown one.
func (d *decoder) suggestion(unknown string) string {
	best, distance := "", 4
	for key := range d.settings {
		for _, candidate := range []string{key, key[strings.LastIndexByte(key, '.')+1:]} {
			n := levenshtein.ComputeDistance(unknown[strings.LastIndexByte(unknown, '.')+1:], candidate)
			if n < distance || n == distance && key < best {
				best, distance = key, n
			}
		}
	}
	if best == "" {
		return ""
	}
	return ", did you mean " + best + "?"
}

// decode puts one value into a setting's field. Its errors say what is
// wanted, never what stands there.
func decode(field any, node ast.Node) error {
	switch node.(type) {
	case *ast.NullNode:
		return errors.New("has no value")
	case *ast.AliasNode, *ast.AnchorNode, *ast.TagNode, *ast.MergeKeyNode:
		return errors.New("anchors, aliases and tags are not supported; quote a pattern that begins with *")
	}
	switch f := field.(type) {
	case *string:
		s, ok := node.(*ast.StringNode)
		if !ok {
			return errors.New("want text, in quotes if need be")
		}
		*f = s.Value
	case *bool:
		b, ok := node.(*ast.BoolNode)
		if !ok {
			return errors.New("want true or false")
		}
		*f = b.Value
	case *int:
		i, ok := node.(*ast.IntegerNode)
		if !ok {
			return errors.New("want a whole number")
		}
		n, err := strconv.Atoi(i.Token.Value)
		if err != nil {
			return errors.New("want a whole number in decimal digits, not too large")
		}
		*f = n
	case *time.Duration:
		s, ok := node.(*ast.StringNode)
		if !ok {
			return errors.New("want a duration with its unit, such as 30s")
		}
		d, err := ParseDuration(s.Value)
		if err != nil {
			return err
		}
		*f = d
	case *[]string:
		list, ok := node.(*ast.SequenceNode)
		if !ok {
			return errors.New("want a list, such as [a, b]")
		}
		*f = make([]string, len(list.Values))
		for i, item := range list.Values {
			if err := decode(&(*f)[i], item); err != nil {
				return fmt.Errorf("item %d: %w", i+1, err)
			}
		}
	default:
		panic(fmt.Sprintf("setting of type %T", field))
	}
	return nil
}
