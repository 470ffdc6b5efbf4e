package delivery

import (
	"errors"
	"time"
)

// The kinds of handler errors are recognized by method, anywhere in the
// chain, so that a package can say what its errors mean without importing
// this one: Permanent() bool, Unavailable() bool, RetryAfter() time.Duration.

// Permanent marks an error that no retry can mend: the event is dead-lettered
// at once. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

// RetryAfter marks an error whose next attempt should wait d instead of the
// backoff. RetryAfter(nil, d) is nil.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return retryAfterError{err, d}
}

// Unavailable marks the failure of a dependency that all events share. It
// pauses the engine and counts no attempt. Unavailable(nil) is nil.
func Unavailable(err error) error {
	if err == nil {
		return nil
	}
	return unavailableError{err}
}

type permanentError struct{ err error }

func (e permanentError) Error() string   { return e.err.Error() }
func (e permanentError) Unwrap() error   { return e.err }
func (e permanentError) Permanent() bool { return true }

type retryAfterError struct {
	err  error
	wait time.Duration
}

func (e retryAfterError) Error() string             { return e.err.Error() }
func (e retryAfterError) Unwrap() error             { return e.err }
func (e retryAfterError) RetryAfter() time.Duration { return e.wait }

type unavailableError struct{ err error }

func (e unavailableError) Error() string     { return e.err.Error() }
func (e unavailableError) Unwrap() error     { return e.err }
func (e unavailableError) Unavailable() bool { return true }

func isPermanent(err error) bool {
	var e interface{ Permanent() bool }
	return errors.As(err, &e) && e.Permanent()
}

func isUnavailable(err error) bool {
	var e interface{ Unavailable() bool }
	return errors.As(err, &e) && e.Unavailable()
}

// askAll asks an error of a handler all that it will be asked later. An answer
// may panic, such as that of a nil pointer in disguise.
func askAll(err error) {
	_ = err.Error()
	isPermanent(err)
	isUnavailable(err)
	retryAfter(err)
}

// retryAfter returns the wait that the error asks for, if it does.
func retryAfter(err error) (time.Duration, bool) {
	var e interface{ RetryAfter() time.Duration }
	if !errors.As(err, &e) {
		return 0, false
	}
	return max(0, e.RetryAfter()), true
}
