package daemon

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// errNoDuration, unlike the error of the standard library, does not quote.
var errNoDuration = errors.New("want a duration such as 30s, 500ms, 1m30s or 30d")

// ParseDuration is [time.ParseDuration] that knows whole days of 24 hours, as
// the first part: 30d, 1d12h. Its error has nothing of s.
func ParseDuration(s string) (time.Duration, error) {
	var days uint64
	var err error
	if count, rest, found := strings.Cut(s, "d"); found {
		if days, err = strconv.ParseUint(count, 10, 64); err != nil || days > uint64(math.MaxInt64/day) {
			return 0, errNoDuration
		}
		if s = rest; s == "" {
			s = "0"
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || days > 0 && d < 0 || d > math.MaxInt64-time.Duration(days)*day {
		return 0, errNoDuration
	}
	return time.Duration(days)*day + d, nil
}
