package redisstream

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	for url, want := range map[string]address{
		"redis://localhost":                   {hosts: []string{"localhost:6379"}},
		"redis://":                            {hosts: []string{"localhost:6379"}},
		"redis://h:7000/3":                    {hosts: []string{"h:7000"}, db: 3},
		"redis://:pw@h":                       {hosts: []string{"h:6379"}, pass: "pw"},
		"rediss://u:p%40%2F%25@h:1":           {hosts: []string{"h:1"}, user: "u", pass: "p@/%", tls: true},
		"redis://u:a@b@h":                     {hosts: []string{"h:6379"}, user: "u", pass: "a@b"},
		"redis://[::1]:7000":                  {hosts: []string{"[::1]:7000"}},
		"redis://[::1]":                       {hosts: []string{"[::1]:6379"}},
		"redis://a,b:7000":                    {hosts: []string{"a:6379", "b:7000"}, cluster: true},
		"redis://a?cluster=true":              {hosts: []string{"a:6379"}, cluster: true},
		"redis+sentinel://u:p@a,b:1/mymaster": {hosts: []string{"a:26379", "b:1"}, master: "mymaster", user: "u", pass: "p"},
		"rediss+sentinel://a/mymaster/2":      {hosts: []string{"a:26379"}, master: "mymaster", tls: true, db: 2},
		"unix:///run/redis.sock":              {hosts: []string{"/run/redis.sock"}, unix: true},
		"unix://u:p@/run/redis.sock?db=2":     {hosts: []string{"/run/redis.sock"}, unix: true, user: "u", pass: "p", db: 2},
	} {
		got, err := parseURL(url)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", url, got, err, want)
		}
	}
}

func TestURLErrorsNeverQuoteTheURL(t *testing.T) {
	const secret = "s3cret"
	for _, url := range []string{
		"",
		secret,
		"http://u:s3cret@h",
		"s3cret://h",
		"redis://u:s3cret@h:99999x/0",
		"redis://u:s3cret@h:0",
		"redis://u:s3cret@h:70000",
		"redis://u:%res3cret@h",
		"redis://%zzs3cret:p@h",
		"redis://u:s3cret@h/s3cret",
		"redis://u:s3cret@h/0/1",
		"redis://u:s3cret@h/-1",
		"redis://u:p/s3cret@h",
		"redis://u:p?s3cret@h",
		"redis://h?s3cret=1",
		"redis://h?skip_verify=true",
		"redis://h?cluster=s3cret",
		"redis://s3cret s3cret",
		"redis://s3cret::1",
		"redis://[s3cret]:1",
		"redis://a,b/1",
		"redis://a/1?cluster=true",
		"redis+sentinel://u:s3cret@h",
		"redis+sentinel://u:s3cret@h/m/s3cret",
		"unix://s3cret",
		"unix://s3cret/run/redis.sock",
		"unix:///run/redis.sock?db=s3cret",
	} {
		a, err := parseURL(url)
		if err == nil {
			t.Errorf("%s: accepted as %+v", url, a)
			continue
		}
		text := fmt.Sprintf("%v %+v %#v", err, err, err)
		if strings.Contains(text, secret) || !strings.HasPrefix(err.Error(), "redis URL: ") {
			t.Errorf("%s: %s", url, text)
		}
	}
}

func TestExposed(t *testing.T) {
	for url, want := range map[string]bool{
		"redis://localhost":            false,
		"redis://127.0.0.9":            false,
		"redis://[::1]":                false,
		"unix:///run/redis.sock":       false,
		"rediss://redis.example.com":   false,
		"redis://redis.example.com":    true,
		"redis://10.0.0.1":             true,
		"redis://localhost,10.0.0.1":   true,
		"redis+sentinel://10.0.0.1/m":  true,
		"rediss+sentinel://10.0.0.1/m": false,
	} {
		a, err := parseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.exposed(); got != want {
			t.Errorf("%s: exposed %t", url, got)
		}
	}
}

func TestScriptErrorsOfRedis6AreClassed(t *testing.T) {
	const prefix = "Error running script (call to f_0123): @user_script:4: -"
	for text, want := range map[string]Class{
		prefix + "OOM command not allowed when used memory > 'maxmemory'.":  OutOfMemory,
		prefix + "NOGROUP No such key 's' or consumer group 'g'":            NoGroup,
		prefix + "WRONGTYPE Operation against a key holding the wrong kind": WrongType,
	} {
		if got := replyClass(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestShorten(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"abc", "abc"},
		{"abcdef", "abcd"},
		{"abcé", "abc"},
		{"ab\xff", "ab"},
		{"a\xff", "a\uFFFD"},
	} {
		if got := shorten(tc.in, 4); got != tc.want {
			t.Errorf("shorten(%q, 4) = %q, want %q", tc.in, got, tc.want)
		}
	}
}
