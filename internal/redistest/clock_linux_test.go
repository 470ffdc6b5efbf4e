package redistest_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/redistest"
)

func TestClockMovesWhileTheServerRuns(t *testing.T) {
	s := redistest.StartWithClock(t)
	for _, d := range []time.Duration{0, time.Hour, -time.Hour, 1500 * time.Millisecond, -1500 * time.Millisecond} {
		s.MoveClock(d)
		before := time.Now()
		reply := s.Do("TIME").([]any)
		after := time.Now()
		seconds, _ := strconv.ParseInt(reply[0].(string), 10, 64)
		micros, _ := strconv.ParseInt(reply[1].(string), 10, 64)
		got := time.Unix(seconds, micros*1000).Add(-d)
		if early, late := before.Sub(got), got.Sub(after); max(early, late) > time.Second/4 {
			t.Errorf("moved by %v: off by %v", d, max(early, late))
		}
	}
}
