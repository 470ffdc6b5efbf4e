package main

import (
	"testing"
)

func TestShorten(t *testing.T) {
	for _, test := range []struct {
		in    string
		width int
		want  string
	}{
		{"Zoë Łoś", 0, "Zoë Łoś"},
		{"Zoë Łoś", 7, "Zoë Łoś"},
		{"Zoë Łoś", 6, "Zoë Ł…"},
	} {
		if got := shorten(test.in, test.width); got != test.want {
			t.Errorf("shorten(%q, %d) = %q, want %q", test.in, test.width, got, test.want)
		}
	}
}
