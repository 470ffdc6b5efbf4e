package inspect

import "time"

// Check is one thing that the doctor looks at.
type Check struct {
	Name  string
	Means string // what a finding of it means
}

// Checks returns all checks, in the order of their findings: of those that
// matter as much, first what keeps the bus from working now, then what is lost
// or held up, then what may be, by how things are set up.
func Checks() []Check {
	return []Check{
		{"reachable", "the server does not answer, or ceased to while it was looked at"},
		{"authentication", "user or password are wrong"},
		{"tls", "the connection is not encrypted and leaves this machine, or cannot be"},
		{"role", "the server is a replica, which takes no writes"},
		{"cluster", "the cluster does not serve all of its slots"},
		{"disk", "the server could not write to its disk"},
		{"replicas", "a replica is missing, or fewer keep up than writes need"},
		{"no_consumer", "nobody works for a group"},
		{"dead_consumer", "a consumer is gone and holds entries"},
		{"trimmed_unread", "entries were removed that the group had not read: it has lost them"},
		{"group_missing", "a group that had read a stream, or has to, is not there"},
		{"settings_conflict", "consumers of a group do not agree on how it works"},
		{"lag", "a group is behind"},
		{"pending", "much has been delivered and is not settled"},
		{"retention", "what a group has not settled is about to be removed, or keeps all behind it from being removed"},
		{"poison", "an entry is tried again and again"},
		{"dead_letters", "a group could not handle events"},
		{"unread_stream", "no group reads a stream that has entries"},
		{"not_a_stream", "a key of the catalogue's name holds something else"},
		{"refused", "recent entries do not decode: every group dead-letters them"},
		{"unknown_type", "recent entries have types that no handler can be for"},
		{"name_drift", "a stream's name is nearly one of the catalogue's"},
		{"acl", "the user may not do all that a consumer, or a look, needs"},
		{"default_user", "whoever reaches the server may use it without a password"},
		{"eviction", "the server may delete streams or leases when its memory is full"},
		{"persistence", "what is published does not survive the server's end, or only its last snapshot does"},
		{"memory", "the server is near the memory that it may use"},
		{"stream_length", "a stream is long"},
		{"clock", "the server's clock and this machine's differ"},
		{"version", "the server lacks what consumers or the counts of losses need"},
		{"unknown_lag", "it is not known how far a group is behind"},
		{"idle_consumers", "consumers that are gone and hold nothing have piled up"},
		{"incomplete", "a part could not be looked at"},
	}
}

// Levels are the values from which on a finding is a warning, or critical.
type Levels[T int64 | time.Duration] struct{ Warning, Critical T }

// of returns the severity of a value, "" when it is below both.
func (l Levels[T]) of(value T) Severity {
	switch {
	case value >= l.Critical:
		return Critical
	case value >= l.Warning:
		return Warning
	}
	return ""
}

// Thresholds are the levels of the checks that have some.
type Thresholds struct {
	StreamLength    Levels[int64] // entries of a stream
	StreamPending   Levels[int64] // of all its groups
	GroupPending    Levels[int64] // of a group on a stream
	ConsumerPending Levels[int64] // of a consumer that is gone
	Attempts        Levels[int64] // of a pending entry
	DeadLetters     Levels[int64] // of a group on a stream, within the last hour
	Memory          Levels[int64] // percent of maxmemory
	ConsumerIdle    Levels[time.Duration]
	LagAge          Levels[time.Duration] // of the oldest event that a group has not settled
	Retention       Levels[time.Duration] // the same, where it nears the age at which events are removed
	Clock           Levels[time.Duration] // the server's and ours differ by
}

// DefaultThresholds returns those that apply where none are given.
func DefaultThresholds() Thresholds {
	const day = 24 * time.Hour
	return Thresholds{
		StreamLength:    Levels[int64]{50_000, 100_000},
		StreamPending:   Levels[int64]{1_000, 10_000},
		GroupPending:    Levels[int64]{500, 5_000},
		ConsumerPending: Levels[int64]{100, 1_000},
		Attempts:        Levels[int64]{5, 16},
		DeadLetters:     Levels[int64]{1, 100},
		Memory:          Levels[int64]{80, 95},
		ConsumerIdle:    Levels[time.Duration]{30 * time.Minute, 2 * time.Hour},
		LagAge:          Levels[time.Duration]{5 * time.Minute, time.Hour},
		Retention:       Levels[time.Duration]{24 * day, 30 * day},
		Clock:           Levels[time.Duration]{time.Second, 30 * time.Second},
	}
}

// Threshold is one of [Thresholds] by name. One of its pointers is set.
type Threshold struct {
	Name   string
	Counts *Levels[int64]
	Ages   *Levels[time.Duration]
}

// All returns every threshold by name, to be read and changed.
func (t *Thresholds) All() []Threshold {
	return []Threshold{
		{Name: "stream-length", Counts: &t.StreamLength},
		{Name: "stream-pending", Counts: &t.StreamPending},
		{Name: "group-pending", Counts: &t.GroupPending},
		{Name: "consumer-pending", Counts: &t.ConsumerPending},
		{Name: "consumer-idle", Ages: &t.ConsumerIdle},
		{Name: "lag-age", Ages: &t.LagAge},
		{Name: "retention", Ages: &t.Retention},
		{Name: "attempts", Counts: &t.Attempts},
		{Name: "dead-letters", Counts: &t.DeadLetters},
		{Name: "memory", Counts: &t.Memory},
		{Name: "clock", Ages: &t.Clock},
	}
}
