package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// screen is what a terminal of a plain kind shows: it obeys what moves the
// cursor and clears, and reports what it does not know.
type screen struct {
	mu         sync.Mutex
	cells      [][]rune
	x, y       int
	rest       string // the beginning of a sequence
	raw        strings.Builder
	strange    []string
	drained    chan struct{} // closed when the terminal is
	wide, high int
	top, end   int // of the region that scrolls
	insert     bool
}

func newScreen(t *testing.T, pty *os.File, wide, high int) *screen {
	t.Helper()
	s := &screen{drained: make(chan struct{})}
	s.size(wide, high)
	go func() {
		defer close(s.drained)
		buffer := make([]byte, 4096)
		for {
			n, err := pty.Read(buffer)
			s.write(string(buffer[:n]))
			if err != nil { // the terminal was closed
				return
			}
		}
	}()
	return s
}

// size is what the user makes of the window; what is on it is lost.
func (s *screen) size(wide, high int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wide, s.high, s.x, s.y, s.top, s.end = wide, high, 0, 0, 0, high
	s.clear()
}

func (s *screen) clear() {
	s.cells = make([][]rune, s.high)
	for y := range s.cells {
		s.cells[y] = []rune(strings.Repeat(" ", s.wide))
	}
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, line := range s.cells {
		fmt.Fprintln(&b, strings.TrimRight(string(line), " "))
	}
	return b.String()
}

// written is all that the terminal was given.
func (s *screen) written() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.raw.String()
}

// unknown are the sequences that the terminal was given and does not know.
func (s *screen) unknown() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.strange)
}

func (s *screen) line(y int) string { return strings.Split(s.String(), "\n")[y] }

var (
	escapeSequence = regexp.MustCompile(`^\x1b(?:\[([0-?]*)[ -/]*([@-~])|[\]P_^X][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-Z\\^-~])`)
	halfSequence   = regexp.MustCompile(`^\x1b(?:\[[0-?]*[ -/]*|[\]P_^X][^\x07\x1b]*\x1b?|[ -/]*)$`)
)

func (s *screen) write(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw.WriteString(text)
	text, s.rest = s.rest+text, ""
	for text != "" {
		if text[0] == 0x1b {
			if halfSequence.MatchString(text) {
				s.rest = text
				return
			}
			found := escapeSequence.FindStringSubmatch(text)
			if found == nil {
				s.strange = append(s.strange, strconv.Quote(text[:min(len(text), 12)]))
				text = text[1:]
				continue
			}
			s.obey(found[0], found[1], found[2])
			text = text[len(found[0]):]
			continue
		}
		r, size := rune(text[0]), 1
		if r >= 0x80 {
			var err error
			if r, size, err = strings.NewReader(text).ReadRune(); err == nil && r == '\ufffd' && len(text) < 4 {
				s.rest = text // the rest of the character comes
				return
			}
		}
		s.put(r)
		text = text[size:]
	}
}

func (s *screen) put(r rune) {
	switch r {
	case '\r':
		s.x = 0
	case '\b':
		s.x = max(min(s.x, s.wide-1)-1, 0)
	case '\t':
		s.x = min(s.x/8*8+8, s.wide-1)
	case '\n':
		if s.y == s.end-1 {
			s.scroll(s.top, 1)
		} else {
			s.y = min(s.y+1, s.high-1)
		}
	case 0x0e, 0x0f, 0x07:
	default:
		if s.x >= s.wide {
			s.put('\r')
			s.put('\n')
		}
		if s.insert {
			s.cells[s.y] = slices.Insert(s.cells[s.y], s.x, r)[:s.wide]
		}
		s.cells[s.y][s.x] = r
		s.x++
	}
}

// scroll moves the lines from one on to the end of the region up, or down where
// by is negative.
func (s *screen) scroll(from, by int) {
	for range max(by, -by) {
		blank := []rune(strings.Repeat(" ", s.wide))
		if by > 0 {
			s.cells = slices.Insert(slices.Delete(s.cells, from, from+1), s.end-1, blank)
		} else {
			s.cells = slices.Insert(slices.Delete(s.cells, s.end-1, s.end), from, blank)
		}
	}
}

func (s *screen) obey(sequence, parameters, final string) {
	s.x = min(s.x, s.wide-1) // behind the last column the cursor is still on it
	if sequence == "\x1bM" && s.y == s.top {
		s.scroll(s.top, -1)
	} else if sequence == "\x1bM" {
		s.y = max(s.y-1, 0)
	}
	if final == "" || strings.HasPrefix(parameters, "?") || strings.HasPrefix(parameters, ">") || strings.HasPrefix(parameters, "=") || strings.HasPrefix(parameters, "<") {
		return // modes, and questions
	}
	number := func(n, without int) int {
		if fields := strings.Split(parameters, ";"); n < len(fields) && fields[n] != "" {
			without, _ = strconv.Atoi(fields[n])
		}
		return without
	}
	switch n := max(number(0, 1), 1); final {
	case "A":
		s.y = max(s.y-n, 0)
	case "B":
		s.y = min(s.y+n, s.high-1)
	case "C":
		s.x = min(s.x+n, s.wide-1)
	case "D":
		s.x = max(s.x-n, 0)
	case "G":
		s.x = min(n, s.wide) - 1
	case "d":
		s.y = min(n, s.high) - 1
	case "H", "f":
		s.y, s.x = min(n, s.high)-1, min(max(number(1, 1), 1), s.wide)-1
	case "L":
		s.scroll(s.y, -n)
	case "M":
		s.scroll(s.y, n)
	case "S":
		s.scroll(s.top, n)
	case "T":
		s.scroll(s.top, -n)
	case "r":
		s.top, s.end, s.x, s.y = n-1, min(number(1, s.high), s.high), 0, 0
	case "P":
		line := s.cells[s.y]
		line = append(line[:s.x], line[min(s.x+n, s.wide):]...)
		s.cells[s.y] = append(line, []rune(strings.Repeat(" ", s.wide-len(line)))...)
	case "@":
		s.cells[s.y] = slices.Insert(s.cells[s.y], s.x, []rune(strings.Repeat(" ", n))...)[:s.wide]
	case "J":
		s.erase(number(0, 0))
	case "K":
		s.eraseLine(number(0, 0))
	case "X":
		for x := s.x; x < min(s.x+n, s.wide); x++ {
			s.cells[s.y][x] = ' '
		}
	case "h", "l":
		s.insert = parameters == "4" && final == "h"
	case "m", "c", "n", "t", "u", "q":
	default:
		s.strange = append(s.strange, strconv.Quote(sequence))
	}
}

func (s *screen) erase(how int) {
	if how >= 2 {
		s.clear()
		return
	}
	s.eraseLine(how)
	for y := range s.cells {
		if how == 0 && y > s.y || how == 1 && y < s.y {
			s.cells[y] = []rune(strings.Repeat(" ", s.wide))
		}
	}
}

func (s *screen) eraseLine(how int) {
	for x := range s.cells[s.y] {
		if how == 2 || how == 0 && x >= s.x || how == 1 && x <= s.x {
			s.cells[s.y][x] = ' '
		}
	}
}
