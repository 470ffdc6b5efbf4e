package redisstream

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"strings"

	"github.com/redis/rueidis"
)

// Class says what kind of failure an error is, for those who decide by it.
type Class string

// The classes. Other is everything that fits none, context errors included.
const (
	Unreachable Class = "unreachable"   // network, loading, failover, cluster down: wait and try again
	OutOfMemory Class = "out_of_memory" // maxmemory reached: nothing can be added
	NoGroup     Class = "no_group"      // the group or its stream is gone
	WrongType   Class = "wrong_type"    // the key is no stream
	Auth        Class = "auth"          // bad or missing credentials
	NoPerm      Class = "no_permission" // the user may not do it
	NoReplicas  Class = "no_replicas"   // min-replicas-to-write is not met
	DiskFailed  Class = "disk_failed"   // the server cannot persist and refuses writes
	Other       Class = "other"
)

var (
	errNoAnswer = errors.New("no answer from the server")
	errOthers   = errors.New("the connection attempt was given up")
)

// dialError is the failure to reach a server: nothing was sent.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

// handshakeError is the failure to agree on encryption.
type handshakeError struct{ error }

func (e handshakeError) Unwrap() error { return e.error }

// HandshakeFailed tells whether a server was there and TLS was not.
func HandshakeFailed(err error) bool { return errors.As(err, new(handshakeError)) }

// notSentError is a command that was not handed to a connection.
type notSentError struct{ error }

func (e notSentError) Unwrap() error { return e.error }

// argsError is a reply that repeats a part of the command, which may be a
// password or an event, without that part. A gateway that does not know a
// command answers so.
type argsError struct{ error }

func (e argsError) Error() string {
	text, _, _ := strings.Cut(e.error.Error(), argsRepeated)
	return text
}

func (e argsError) Unwrap() error { return e.error }

const argsRepeated = ", with args beginning with"

func repeatsArgs(err error) bool {
	text, ok := replyError(err)
	return ok && strings.Contains(text, argsRepeated)
}

// ClassOf returns the class of an error of this package.
func ClassOf(err error) Class {
	if text, ok := replyError(err); ok {
		return replyClass(text)
	}
	var network net.Error
	switch {
	case errors.As(err, new(passwordError)):
		return Auth
	case errors.As(err, new(*fs.PathError)): // its system error looks like one of the network
		return Other
	case errors.As(err, new(dialError)), errors.Is(err, errNoAnswer), errors.Is(err, errOthers):
		return Unreachable
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Other
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return Unreachable
	}
	return Other
}

// NotSent tells whether a failed Add certainly had no effect: the server
// refused it in its reply, or it never got to a server. Otherwise the entry
// may be on the stream. One that was added and not confirmed is there.
func NotSent(err error) bool {
	if errors.As(err, new(*UnconfirmedError)) {
		return false
	}
	_, refused := replyError(err)
	return refused || errors.As(err, new(dialError)) || errors.As(err, new(notSentError)) || errors.As(err, new(passwordError))
}

// replyError returns the text of the server's error reply in err's chain.
func replyError(err error) (string, bool) {
	var reply *rueidis.RedisError
	if !errors.As(err, &reply) || reply.IsNil() {
		return "", false
	}
	return reply.Error(), true
}

func replyClass(text string) Class {
	// Before version 7 the error of a command within a script stood at the
	// end: "ERR Error running script (…): @user_script:3: -OOM command …". The
	// client leaves out "ERR ".
	if strings.HasPrefix(text, "Error running script") {
		if _, inner, found := strings.Cut(text, ": -"); found {
			text = inner
		}
	}
	word, _, _ := strings.Cut(text, " ")
	switch word {
	case "LOADING", "BUSY", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK":
		return Unreachable
	case "OOM":
		return OutOfMemory
	case "NOGROUP":
		return NoGroup
	case "WRONGTYPE":
		return WrongType
	case "NOAUTH", "WRONGPASS":
		return Auth
	case "NOPERM":
		return NoPerm
	case "NOREPLICAS":
		return NoReplicas
	case "MISCONF":
		return DiskFailed
	case "UNBLOCKED":
		if strings.Contains(text, "no longer exists") {
			return NoGroup
		}
		return Unreachable // the instance became a replica
	}
	switch {
	case strings.Contains(text, "no such key"), strings.Contains(text, "requires the key to exist"):
		return NoGroup
	case strings.Contains(text, "max number of clients"):
		return Unreachable
	case strings.Contains(text, "invalid password"), strings.Contains(text, "without any password configured"):
		return Auth
	}
	return Other
}
