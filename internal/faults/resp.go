package faults

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
)

// readValue reads one value of the Redis protocol, version 2 or 3, and
// returns its bytes.
func readValue(r *bufio.Reader) ([]byte, error) {
	var raw bytes.Buffer
	if err := copyValue(&raw, r); err != nil {
		return nil, err
	}
	return raw.Bytes(), nil
}

func copyValue(raw *bytes.Buffer, r *bufio.Reader) error {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return err
	}
	raw.Write(line)
	if len(line) < 3 {
		return fmt.Errorf("protocol: line %q", line)
	}
	parts := 0
	switch line[0] {
	case '+', '-', ':', '_', ',', '#', '(':
		return nil
	case '$', '=', '!', '*', '~', '>', '%', '|':
		if parts, err = strconv.Atoi(string(line[1 : len(line)-2])); err != nil {
			return fmt.Errorf("protocol: line %q", line)
		}
	default:
		return fmt.Errorf("protocol: line %q", line)
	}
	switch line[0] {
	case '$', '=', '!':
		if parts >= 0 {
			_, err = io.CopyN(raw, r, int64(parts)+2)
		}
		return err
	case '%':
		parts *= 2
	case '|': // attributes come before the value that they belong to
		parts = 2*parts + 1
	}
	for range parts {
		if err := copyValue(raw, r); err != nil {
			return err
		}
	}
	return nil
}

// words splits a command into its arguments.
func words(command []byte) []string {
	r := bufio.NewReader(bytes.NewReader(command))
	if _, err := r.ReadBytes('\n'); err != nil {
		return nil
	}
	var words []string
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return words
		}
		n, err := strconv.Atoi(string(bytes.TrimSpace(line[1:])))
		if err != nil {
			return words
		}
		word := make([]byte, n+2)
		if _, err := io.ReadFull(r, word); err != nil {
			return words
		}
		words = append(words, string(word[:n]))
	}
}
