package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"slices"
	"sync"
	"syscall"
	"time"
)

// sample is what one run took.
type sample struct {
	messages  int
	elapsed   time.Duration
	clientCPU time.Duration // this process
	serverCPU time.Duration
	allocs    uint64
}

// rate is in messages a second.
func (s sample) rate() float64 { return float64(s.messages) / s.elapsed.Seconds() }

func (s sample) clientMicros() float64 { return s.per(s.clientCPU) }

func (s sample) serverMicros() float64 { return s.per(s.serverCPU) }

func (s sample) allocsPer() float64 { return float64(s.allocs) / float64(s.messages) }

func (s sample) per(d time.Duration) float64 {
	return float64(d.Nanoseconds()) / 1000 / float64(s.messages)
}

// measure runs work, which handles or publishes so many messages.
func (s *server) measure(messages int, work func() error) (sample, error) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	server, client, start := s.cpu(), processCPU(), time.Now()
	err := work()
	r := sample{messages: messages, elapsed: time.Since(start), clientCPU: processCPU() - client, serverCPU: s.cpu() - server}
	runtime.ReadMemStats(&after)
	r.allocs = after.Mallocs - before.Mallocs
	return r, err
}

// processCPU is the processor time that this process has used.
func processCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // impossible: the arguments are constants
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakMemory runs work and returns the most memory that the Go runtime held
// of the system meanwhile, in bytes.
func peakMemory(work func() error) (peak uint64, err error) {
	runtime.GC()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		held := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			metrics.Read(held)
			peak = max(peak, held[0].Value.Uint64()-held[1].Value.Uint64())
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	err = work()
	cancel()
	wg.Wait()
	return peak, err
}

// spread is a number measured several times.
type spread struct{ median, low, high float64 }

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	v := slices.Sorted(slices.Values(values))
	median := v[len(v)/2]
	if len(v)%2 == 0 {
		median = (v[len(v)/2-1] + v[len(v)/2]) / 2
	}
	return spread{median: median, low: v[0], high: v[len(v)-1]}
}

// of collects one number of each sample.
func of(samples []sample, number func(sample) float64) spread {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = number(s)
	}
	return spreadOf(values)
}

// profiles begins the names of profiles to write; "" for none.
var profiles string

// profiled runs work under the profiler, where profiles are asked for. The
// files are named after it; each run replaces the one before.
func profiled(name string, work func() error) error {
	if profiles == "" {
		return work()
	}
	cpu, err := os.Create(profiles + name + ".cpu.pprof")
	if err != nil {
		return err
	}
	defer cpu.Close()
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return err
	}
	err = work()
	pprof.StopCPUProfile()
	if err != nil {
		return err
	}
	allocs, err := os.Create(profiles + name + ".allocs.pprof")
	if err != nil {
		return err
	}
	defer allocs.Close()
	if err := pprof.Lookup("allocs").WriteTo(allocs, 0); err != nil {
		return fmt.Errorf("profile of allocations: %w", err)
	}
	return nil
}
