package main

import (
	"time"

	"github.com/freshet/freshet/internal/daemon"
)

// durationFlag is a flag that takes what a duration in the configuration file
// may be, days included.
type durationFlag struct{ d *time.Duration }

func (f durationFlag) Set(s string) (err error) {
	*f.d, err = daemon.ParseDuration(s)
	return err
}

func (f durationFlag) String() string {
	if f.d == nil || *f.d == 0 {
		return ""
	}
	return f.d.String()
}

func (durationFlag) Type() string { return "duration" }
