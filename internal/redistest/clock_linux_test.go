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
		const most = 10 * time.Millisecond // how far the two clocks may be apart
		asked := time.Now()
		reply := s.Do("TIME").([]any)
		answered := time.Now()
		seconds, _ := strconv.ParseInt(reply[0].(string), 10, 64)
		micros, _ := strconv.ParseInt(reply[1].(string), 10, 64)
		if at := time.Unix(seconds, micros*1000).Add(-d); at.Before(asked.Add(-most)) || at.After(answered.Add(most)) {
			t.Errorf("moved by %v: %v, asked at %v, answered at %v", d, at, asked, answered)
		}
	}
}
