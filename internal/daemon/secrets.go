package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
)

var (
	reference = regexp.MustCompile(`\$\{([^}]*)\}`)
	password  = regexp.MustCompile(`://[^/@]*:([^/@]+)@`)
)

// expand replaces ${NAME} by the environment's variable, and refuses a
// password that stands in the file itself.
func expand(url *string) error {
	if m := password.FindStringSubmatch(*url); m != nil && reference.FindString(m[1]) != m[1] {
		return errors.New("a password must not stand in the file: refer to a variable of the environment, ${NAME}")
	}
	var unset error
	*url = reference.ReplaceAllStringFunc(*url, func(ref string) string {
		name := strings.Trim(ref, "${}")
		value := os.Getenv(name)
		if value == "" {
			unset = fmt.Errorf("the environment has no %s", name)
		}
		return value
	})
	return unset
}

// RedisURL returns the server's URL, read from its file where there is one,
// and "" when the configuration does not name a server.
func (c Config) RedisURL() (string, error) {
	if c.RedisFile == "" {
		return c.Redis, nil
	}
	if err := c.checkMode("redis_file", c.RedisFile); err != nil {
		return "", err
	}
	text, err := readBounded(c.RedisFile)
	if err != nil {
		return "", c.wrong("redis_file", reason(err))
	}
	url := strings.TrimSpace(string(text))
	if url == "" {
		return "", c.wrong("redis_file", c.RedisFile+" is empty")
	}
	return url, nil
}

// CheckPasswordFile reports a password file, where one is given, that is not
// there or that others can use.
func (c Config) CheckPasswordFile() error {
	if c.PasswordFile == "" {
		return nil
	}
	return c.checkMode("redis_password_file", c.PasswordFile)
}

func (c Config) checkMode(key, file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return c.wrong(key, reason(err))
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return c.wrong(key, fmt.Sprintf("%s has mode %04o, others can use it: chmod 600", file, mode))
	}
	return nil
}

// reason is an error's text without the path's system call.
func reason(err error) string {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return e.Path + ": " + e.Err.Error()
	}
	return err.Error()
}

// Redact returns a URL without what may be secret in it: user, password and
// parameters.
func Redact(url string) string {
	scheme, rest, found := strings.Cut(url, "://")
	if !found || scheme == "sqlite" {
		return url
	}
	rest, _, _ = strings.Cut(rest, "?")
	return scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
}
