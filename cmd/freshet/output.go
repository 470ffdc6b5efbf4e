package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// listing writes results to stdout as they come, in the format asked for:
// rows of a table, one JSON object a line (jsonl), or one document (json,
// yaml), which is an array unless the listing is of a single result.
type listing struct {
	c      *cli
	single bool
	header []string
	lesser []string // columns that are the first to be left out
	widths []int
	fitted bool   // no cell is wider than its column
	hidden []bool // columns for which the terminal is too narrow
	count  int
}

func (c *cli) list(single bool, header ...string) *listing {
	l := &listing{c: c, single: single, header: header, hidden: make([]bool, len(header))}
	for _, name := range header {
		l.widths = append(l.widths, len(name))
	}
	return l
}

// ANSI styles of a line.
const (
	plain = ""
	bold  = "1"
	red   = "31"
)

// add writes one result: value in the JSON formats, cells in a table.
func (l *listing) add(value any, style string, cells ...string) error {
	l.count++
	if l.c.tabular() {
		for i := range cells {
			cells[i] = escape(cells[i])
			if !l.fitted {
				l.widths[i] = max(l.widths[i], utf8.RuneCountInString(cells[i]))
			}
		}
		if l.count == 1 {
			if err := l.row(bold, l.header); err != nil {
				return err
			}
		}
		return l.row(style, cells)
	}
	text, err := encodeJSON(value)
	if err != nil {
		return err
	}
	if l.c.output == "yaml" {
		document, err := toYAML(text, !l.single)
		if err != nil {
			return err
		}
		return l.write(document)
	}
	before := ""
	switch {
	case l.c.output != "json" || l.single:
	case l.count == 1:
		before = "["
	default:
		before = ","
	}
	return l.write(before + string(text) + "\n")
}

// close ends the document, also one that was interrupted.
func (l *listing) close() error {
	switch {
	case l.single, l.c.output != "json" && l.c.output != "yaml":
		return nil
	case l.count == 0:
		return l.write("[]\n")
	case l.c.output == "yaml":
		return nil
	}
	return l.write("]\n")
}

// row is a result of which all are known before the first is written.
type row struct {
	value any    // for the JSON formats
	name  string // for -o name
	style string
	cells []string
}

// show writes all results, in columns that are as wide as they need.
func (c *cli) show(header []string, rows []row) error {
	l := c.list(false, header...)
	for _, r := range rows {
		for k, cell := range r.cells {
			l.widths[k] = max(l.widths[k], utf8.RuneCountInString(escape(cell)))
		}
	}
	if len(rows) > 0 {
		l.fit()
	}
	for _, r := range rows {
		var err error
		if c.output == "name" {
			err = l.write(escape(r.name) + "\n")
		} else {
			err = l.add(r.value, r.style, r.cells...)
		}
		if err != nil {
			return err
		}
	}
	return l.close()
}

// tabular tells whether people are to read the output.
func (c *cli) tabular() bool { return c.output == "table" || c.output == "wide" }

// row writes cells in columns as wide as what they have had. A terminal's
// line is not exceeded, unless -o wide asks for it.
func (l *listing) row(style string, cells []string) error {
	var b strings.Builder
	for i, cell := range cells {
		if l.hidden[i] {
			continue
		}
		if l.fitted {
			cell = shortenCell(l.header[i], cell, l.widths[i])
		}
		b.WriteString(cell)
		b.WriteString(strings.Repeat(" ", max(l.widths[i]-utf8.RuneCountInString(cell), 0)+gap))
	}
	line := strings.TrimRight(b.String(), " ")
	if l.c.output != "wide" {
		line = shorten(line, terminalWidth(l.c.stdout))
	}
	return l.line(style, line)
}

// line writes a line of text, which has nothing in it that a terminal obeys.
func (l *listing) line(style, text string) error {
	if style != plain && colored(l.c.stdout) {
		text = "\x1b[" + style + "m" + text + "\x1b[0m"
	}
	return l.write(text + "\n")
}

func (l *listing) write(s string) error {
	_, err := io.WriteString(l.c.stdout, s)
	return err
}

// checkOutput refuses a format that there is not, or not of the command.
func (c *cli) checkOutput(cmd *cobra.Command) error {
	switch {
	case !slices.Contains(outputFormats, c.output):
		return usageError("-o %q: must be table, wide, json, jsonl, yaml or name", c.output)
	case c.output == "name" && cmd.Annotations[printsNames] == "":
		return usageError("-o name: %s prints nothing that has a name", cmd.CommandPath())
	}
	return nil
}

var outputFormats = []string{"table", "wide", "json", "jsonl", "yaml", "name"}

// printsNames is the annotation of a command that can print names alone.
const printsNames = "prints-names"

var namesPrinted = map[string]string{printsNames: "yes"}

// encodeJSON is JSON on one line in which what a terminal might obey is
// escaped; the value is the same.
func encodeJSON(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return nil, err
	}
	text := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if !bytes.ContainsFunc(text, unprintable) {
		return text, nil
	}
	var safe []byte
	for _, r := range string(text) {
		switch {
		case !unprintable(r):
			safe = utf8.AppendRune(safe, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			safe = fmt.Appendf(safe, `\u%04x\u%04x`, high, low)
		default:
			safe = fmt.Appendf(safe, `\u%04x`, r)
		}
	}
	return safe, nil
}

// escape makes text from events harmless in a table: control characters, line
// ends, direction overrides and what is not UTF-8 are written out.
func escape(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, unprintable) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1, unprintable(r) && r <= 0x7f:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case unprintable(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
		s = s[size:]
	}
	return b.String()
}

// escapeLines is escape for text whose line ends are ours.
func escapeLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = escape(lines[i])
	}
	return strings.Join(lines, "\n")
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// shorten cuts text to a width; 0 is no limit.
func shorten(s string, width int) string {
	if width == 0 || utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// terminalWidth returns 0 for what is no terminal.
func terminalWidth(stream any) int {
	if !isTerminal(stream) {
		return 0
	}
	width, _, err := term.GetSize(int(stream.(*os.File).Fd()))
	if err != nil || width <= 0 {
		return 0
	}
	return width
}

// colored follows https://no-color.org.
func colored(stream any) bool {
	return isTerminal(stream) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
