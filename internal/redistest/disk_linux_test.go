package redistest

import (
	"strings"
	"testing"
	"time"
)

// TestFullDisk: a server with an append-only file refuses writes while its
// disk is full, and takes them again when it is not.
func TestFullDisk(t *testing.T) {
	s := StartOnDisk(t, 1<<20, "--appendonly", "yes", "--appendfsync", "everysec")
	takes := func(writes bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			reply := s.Do("SET", "k", "v")
			refusal, _ := reply.(Error)
			if writes && reply == "OK" || !writes && strings.HasPrefix(string(refusal), "MISCONF") {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("SET: %v", reply)
			}
		}
	}
	takes(true)
	s.FillDisk()
	takes(false)
	s.FreeDisk()
	takes(true)
}
