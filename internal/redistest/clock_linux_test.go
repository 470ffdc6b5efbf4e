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
		reply := s.Do("TIME").([]any)
		seconds, _ := strconv.ParseInt(reply[0].(string), 10, 64)
		micros, _ := strconv.ParseInt(reply[1].(string), 10, 64)
		if off := time.Until(time.Unix(seconds, micros*1000)) - d; off.Abs() > time.Second/4 {
			t.Errorf("moved by %v: off by %v", d, off)
		}
	}
}
