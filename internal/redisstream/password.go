package redisstream

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/redis/rueidis"
)

// passwordFrom has a file read for every new connection, so that a password
// can be replaced while the process runs.
func passwordFrom(file, user string) func(rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) {
	return func(c rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) {
		if c.Address == sentinelAddr {
			return rueidis.AuthCredentials{}, nil
		}
		password, err := readPassword(file)
		if err != nil {
			return rueidis.AuthCredentials{}, passwordError{err}
		}
		return rueidis.AuthCredentials{Username: user, Password: password}, nil
	}
}

// passwordError is a password that is not to be had: nothing was sent.
type passwordError struct{ error }

func (e passwordError) Unwrap() error { return e.error }

const maxPassword = 4096

// readPassword returns what a file holds, without the newline at its end.
func readPassword(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("password file: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxPassword+1))
	if err != nil {
		return "", fmt.Errorf("password file: %w", err)
	}
	password := strings.TrimSuffix(string(bytes.TrimSuffix(text, []byte("\n"))), "\r")
	switch {
	case password == "":
		return "", fmt.Errorf("password file: %s is empty", name)
	case len(text) > maxPassword:
		return "", fmt.Errorf("password file: %s has more than %d bytes", name, maxPassword)
	case strings.ContainsAny(password, "\r\n"):
		return "", fmt.Errorf("password file: %s has more than one line", name)
	}
	return password, nil
}

// The password is the server's, not that of the Sentinels, and a Sentinel
// refuses users that it does not know. The client library asks for both with
// one function, which tells them apart by the address of the connection; the
// dialer of the Sentinels is known by its Control.
var sentinelAddr net.Addr = &net.UnixAddr{Name: "sentinel", Net: "sentinel"}

type sentinelConn struct{ net.Conn }

func (sentinelConn) RemoteAddr() net.Addr { return sentinelAddr }

func toSentinel(string, string, syscall.RawConn) error { return nil }
