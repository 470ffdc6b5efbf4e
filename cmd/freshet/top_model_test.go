package main

import (
	"errors"
	"testing"
)

// What is asked for while a look is under way is looked for after it: the look
// may have been made before what the user wants to see.
func TestTopLooksAgain(t *testing.T) {
	m := &top{looking: true, diagnosing: true, paused: true, path: []*topPlace{{}}}
	if m.refresh(); !m.again {
		t.Fatal("forgotten")
	}
	for range 2 { // and then no more
		again := m.again
		m.Update(snapshotMsg{nil, errors.New("no answer")})
		if m.looking != again || m.again || !m.paused {
			t.Errorf("asked again %t: looking %t, to look again %t, paused %t", again, m.looking, m.again, m.paused)
		}
	}
}
