package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/freshet/freshet/internal/redistest"
)

// update rewrites the expectations of the scripts and the golden files with
// what is printed now.
var update = flag.Bool("update", false, "rewrite expectations")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"freshet": main})
}

// TestScript runs testdata/script/*.txtar, each with a server of its own that
// REDIS_URL names.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		UpdateScripts:       *update,
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			server, err := redistest.New("--appendonly", "yes")
			if err != nil {
				return err
			}
			env.Defer(server.Close)
			env.Values[serverKey{}] = server
			env.Setenv("REDIS_URL", server.URL())
			env.Setenv("AS_APP", strings.Replace(server.URL(), "://", "://app@", 1))
			env.Setenv("ADA", `{"userId":"u-1","email":"ada@example.com","firstName":"Ada","createdAt":"2025-12-04T10:00:00Z"}`)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":  exits,
			"redis":  redis,
			"length": length,
			"field":  field,
		},
	})
}

type serverKey struct{}

// exits CODE PROGRAM ARG... runs the program, which must exit with the code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	code := 0
	exit := (*exec.ExitError)(nil)
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// redis ARG... sends one command to the server and prints the reply, one
// element a line.
func redis(ts *testscript.TestScript, _ bool, args []string) {
	reply := ts.Value(serverKey{}).(*redistest.Server).Do(args...)
	if err, failed := reply.(redistest.Error); failed {
		ts.Fatalf("redis: %v", err)
	}
	printReply(ts, reply)
}

func printReply(ts *testscript.TestScript, reply any) {
	if list, ok := reply.([]any); ok {
		for _, element := range list {
			printReply(ts, element)
		}
		return
	}
	fmt.Fprintln(ts.Stdout(), reply)
}

// length STREAM N waits until the stream has at least N entries.
func length(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	server := ts.Value(serverKey{}).(*redistest.Server)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		got := server.Do("XLEN", args[0])
		if n, ok := got.(int64); ok && n >= want {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s has %v entries after 20 s, want %d", args[0], got, want)
		}
	}
}

// field PATH... prints these fields of each line of the JSON lines that the
// last command has printed, one result a line.
func field(ts *testscript.TestScript, _ bool, args []string) {
	for text := range strings.Lines(ts.ReadFile("stdout")) {
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		var value any
		ts.Check(d.Decode(&value))
		var values []string
		for _, path := range args {
			at := value
			for _, name := range strings.Split(path, ".") {
				object, _ := at.(map[string]any)
				member, ok := object[name]
				if !ok {
					ts.Fatalf("no %s in %s", path, text)
				}
				at = member
			}
			values = append(values, plainJSON(at))
		}
		fmt.Fprintln(ts.Stdout(), strings.Join(values, " "))
	}
}

// plainJSON is JSON, but for strings, which stand as they are.
func plainJSON(value any) string {
	if s, ok := value.(string); ok {
		return s
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(b.String())
}
