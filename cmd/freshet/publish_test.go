package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/redistest"
)

// A slow input is published as it comes, and a server that stops answering
// leaves an outcome that is called unknown.
func TestPublishLinesOfASlowInput(t *testing.T) {
	server := redistest.Start(t)
	input, feed := io.Pipe()
	receipts, stdout := io.Pipe()
	var stderr output
	code := make(chan int, 1)
	go func() {
		defer stdout.Close()
		code <- run(t.Context(), []string{"publish", "user_created", "--tenant", "acme", "--data", "-", "--id", "import",
			"-o", "jsonl", "--redis", server.URL()}, input, stdout, &stderr)
	}()
	printed := bufio.NewReader(receipts)
	for n := range 3 {
		fmt.Fprintf(feed, `{"userId":"u-%d","email":"ada@example.com","createdAt":"2025-12-04T10:00:00Z"}`+"\n", n)
		if line, err := printed.ReadString('\n'); err != nil || !strings.Contains(line, `"stream":"crm:sync:user:user_created"`) {
			t.Fatalf("%q, %v", line, err)
		}
	}
	server.Stop()
	defer server.Cont()
	fmt.Fprintln(feed, `{"userId":"u-4","email":"ada@example.com","createdAt":"2025-12-04T10:00:00Z"}`)
	if c := <-code; c != exitFailure {
		t.Errorf("exit code %d, want %d", c, exitFailure)
	}
	for _, want := range []string{
		"line 4: publish outcome unknown: add to crm:sync:user:user_created: ",
		"published 3 of 4 events\n",
		"1 with an unknown outcome, may be on the stream; stopped after line 4. Repeat it with the same --id\n",
	} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("no %q in\n%s", want, stderr.String())
		}
	}
	feed.Close()
}
