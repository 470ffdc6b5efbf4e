package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestTriggerKeepsTheRate(t *testing.T) {
	for _, test := range []struct {
		rate  float64
		count int
		pause time.Duration // of each publish
		want  time.Duration // until the last one begins
	}{
		{rate: 50, count: 101, want: 2 * time.Second},
		{rate: 0.5, count: 4, want: 6 * time.Second},
		{rate: 50, count: 101, pause: 100 * time.Millisecond, want: 2 * time.Second}, // late ones go together
		{rate: 20_000, count: 100_001, want: 5 * time.Second},
		{rate: 0, count: 10_000, want: 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			trigger := &triggering{rate: test.rate, count: test.count}
			begin := time.Now()
			var last time.Duration
			for sent := 0; sent < test.count; {
				if !trigger.wait(t.Context(), begin, sent) {
					t.Fatal("not waited for")
				}
				last = time.Since(begin)
				sent += trigger.due(begin, sent)
				time.Sleep(test.pause)
			}
			if late := last - test.want; late < 0 || late > 2*test.pause {
				t.Errorf("rate %v: the last of %d is due after %v, want %v", test.rate, test.count, last, test.want)
			}
		})
	}
}

func TestTriggerStopsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if (&triggering{rate: 0.001}).wait(ctx, begin, 1) || time.Since(begin) != time.Second {
			t.Errorf("waited for %v", time.Since(begin))
		}
	})
}
