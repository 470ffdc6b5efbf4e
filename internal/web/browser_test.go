package web_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/freshet/freshet/internal/redistest"
)

// startBrowser starts a Chromium that lives as long as the test.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.DisableGPU, chromedp.WSURLReadTimeout(time.Minute))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // which root cannot have
	}
	ctx, expire := context.WithTimeout(context.Background(), 4*time.Minute)
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(func() { _ = chromedp.Cancel(ctx); cancel(); stop(); expire() })
	do(t, ctx)
	return ctx
}

// tab opens a tab. What scripts of a page throw, and dialogs that open, fail
// the test.
func tab(t *testing.T, browser context.Context) context.Context {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("a script failed: %+v", e.ExceptionDetails)
		case *page.EventJavascriptDialogOpening:
			t.Errorf("a dialog opened: %s", e.Message)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

func do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

func evaluate[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// see waits until an element has this text, across pages.
func see(t *testing.T, ctx context.Context, selector, text string) {
	t.Helper()
	expression := fmt.Sprintf(`[...document.querySelectorAll(%q)].some(e => e.textContent.includes(%q))`, selector, text)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		found, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression)) // fails while a page changes
		if err == nil && found {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q has no %q (%v) in\n%s", selector, text, err, evaluate[string](t, ctx, `document.body.innerText`))
		}
	}
}

func TestInABrowser(t *testing.T) {
	chromium := startBrowser(t)
	for name, test := range map[string]func(*testing.T, context.Context){
		"pages load": pagesLoad, "live tail moves": liveTailMoves,
		"dead letter is redriven by clicking": redrivenByClicking, "nothing is cut off on a phone": nothingCutOff,
		"an event is found from the keyboard": foundFromKeyboard, "a consumer and a group are removed by clicking": removedByClicking,
	} {
		t.Run(name, func(t *testing.T) { test(t, tab(t, chromium)) })
	}
}

func pagesLoad(t *testing.T, ctx context.Context) {
	s := open(t, nil)
	s.consume(t)
	s.add(t, users, userFields("u-1", "ada@example.com")...)
	hostile := s.add(t, users, "eventType", script, "tenantId", breakr, "data", `{"userId":"`+script+`"}`, breakr, script)
	letter := s.bury(t, "1-0", "permanent", "no: "+script+breakr, userFields(script, breakr)...)
	eventually(t, "the row is in the copy", func() bool {
		return strings.Contains(s.get(t, http.StatusOK, address("/entities", "tenant", "acme")), "u-1")
	})
	eventually(t, "the stream was looked at", func() bool { return strings.Contains(s.get(t, http.StatusOK, "/streams"), users) })
	for _, test := range []struct{ path, selector, text string }{
		{"/", ".verdict", "."},
		{"/", ".card", "Events in"},
		{"/streams", "tbody", users},
		{address("/stream", "key", users), "tbody", script},
		{address("/event", "stream", users, "id", hostile), "main", script},
		{"/groups", "tbody", group},
		{address("/group", "name", group), "tbody", users},
		{address("/group", "name", group, "stream", users), "main", "Consumers"},
		{"/deadletters", "tbody", "<script>alert("}, // numbers are particulars
		{address("/deadletter", "stream", users, "group", group, "id", letter), "main", breakr},
		{address("/entity", "tenant", "acme", "table", "users", "key", "u-1"), "tbody", "user_created"},
		{"/doctor", "main", "What is looked at"},
	} {
		do(t, ctx, chromedp.Navigate(s.URL+test.path))
		see(t, ctx, test.selector, test.text)
		if bad := evaluate[int](t, ctx, `document.querySelectorAll("main img, main script, [onerror]").length`); bad > 0 {
			t.Errorf("%s: %d elements are an event's", test.path, bad)
		}
	}
}

func liveTailMoves(t *testing.T, ctx context.Context) {
	s := open(t, nil)
	s.add(t, users, userFields("u-1", "ada@example.com")...)
	do(t, ctx, chromedp.Navigate(s.URL+address("/stream", "key", users, "tenant", "acme")))
	see(t, ctx, "#live-state.on", "live")
	s.add(t, users, "eventType", "user_created", "tenantId", "globex", "data", `{"userId":"other"}`)
	id := s.add(t, users, append(userFields("u-2", "bob@example.com"), "x", script)...)
	see(t, ctx, "tbody tr:first-child", id)
	see(t, ctx, "tbody tr:first-child .data", "b***@example.com")
	see(t, ctx, "#live-state", "1 new")
	do(t, ctx, chromedp.Click("#live-toggle"))
	see(t, ctx, "#live-state", "paused")
	do(t, ctx, chromedp.KeyEvent("j"), chromedp.KeyEvent("j"))
	see(t, ctx, "tr.current", "u-1")
}

func redrivenByClicking(t *testing.T, ctx context.Context) {
	s := open(t, nil)
	entry := s.add(t, users, userFields("u-7", "ada@example.com")...)
	s.redis.Do("XGROUP", "CREATE", users, group, "$")
	s.bury(t, entry, "max_attempts", "down: 7", userFields("u-7", "ada@example.com")...)
	s.consume(t)
	do(t, ctx, chromedp.Navigate(s.URL+"/deadletters"), chromedp.Click(`a[href*="cluster="]`, chromedp.NodeVisible))
	see(t, ctx, "h1", "down")
	do(t, ctx, chromedp.Click(`button[name=all].primary`, chromedp.NodeVisible))
	see(t, ctx, ".tag", "done")
	do(t, ctx, chromedp.Navigate(s.URL+address("/entities", "tenant", "acme")))
	eventually(t, "the row is in the copy", func() bool {
		return strings.Contains(s.get(t, http.StatusOK, address("/entities", "tenant", "acme")), "u-7")
	})
	do(t, ctx, chromedp.Reload())
	see(t, ctx, "tbody", "u-7")
}

// nothingCutOff makes sure that no page is wider than a narrow
// screen: tables scroll within.
func nothingCutOff(t *testing.T, ctx context.Context) {
	s := open(t, nil)
	id := s.add(t, users, append(userFields(strings.Repeat("long", 200), "ada@example.com"), strings.Repeat("f", 400), strings.Repeat("v", 4000))...)
	letter := s.bury(t, "1-0", "permanent", strings.Repeat("e", 3000), userFields("u-1", "ada@example.com")...)
	do(t, ctx, chromedp.EmulateViewport(400, 800, chromedp.EmulateMobile))
	for _, path := range []string{"/", "/streams", "/groups", "/deadletters", "/doctor", address("/stream", "key", users), address("/event", "stream", users, "id", id),
		address("/deadletter", "stream", users, "group", group, "id", letter), address("/find", "q", strings.Repeat("q", 500)), address("/find", "q", "m-"+strings.Repeat("long", 100), "list", "1"), "/find", address("/deadletters/cluster", "stream", users, "group", group)} {
		do(t, ctx, chromedp.Navigate(s.URL+path))
		if width := evaluate[int](t, ctx, `document.documentElement.scrollWidth`); width > 400 {
			t.Errorf("%s is %d wide", path, width)
		}
	}
}

func foundFromKeyboard(t *testing.T, ctx context.Context) {
	s := open(t, nil)
	s.add(t, users, userFields("u-1", "ada@example.com")...)
	id := s.add(t, orgs, orgFields("m-2", "req-1")...)
	s.add(t, orgs, orgFields("m-3", "req-1")...)
	do(t, ctx, chromedp.Navigate(s.URL+"/groups"))
	see(t, ctx, ".side footer", "find")
	slash(t, ctx)
	do(t, ctx, chromedp.KeyEvent("m-2\r"))
	see(t, ctx, ".head", id)
	slash(t, ctx)
	do(t, ctx, chromedp.KeyEvent("req-1\r"))
	see(t, ctx, ".head", "2 events")
	loaded(t, ctx)
	do(t, ctx, chromedp.KeyEvent("j"), chromedp.KeyEvent("\r"))
	see(t, ctx, ".head .mono", id)
}

// loaded waits until the page's script listens to the keyboard.
func loaded(t *testing.T, ctx context.Context) {
	t.Helper()
	eventually(t, "the page is loaded", func() bool {
		state, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.readyState`)) // fails while a page changes
		return err == nil && state == "complete"
	})
}

// slash goes to the search box. It presses a key as a keyboard does: what a page
// does with it keeps its text from being typed.
func slash(t *testing.T, ctx context.Context) {
	t.Helper()
	loaded(t, ctx)
	_, err := chromedp.Call(ctx, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: "keyDown", Key: "/", Code: "Slash", Text: "/", WindowsVirtualKeyCode: 191})
	if err != nil {
		t.Fatal(err)
	}
	if at := evaluate[string](t, ctx, `document.activeElement.id`); at != "find" {
		t.Fatalf("/ goes to %q", at)
	}
}

func removedByClicking(t *testing.T, ctx context.Context) {
	s := openOn(t, redistest.StartWithClock(t), nil)
	s.add(t, users, userFields("u-1", "ada@example.com")...)
	s.leave(t, "old group", "", "c-gone")
	do(t, ctx, chromedp.Navigate(s.URL+address("/group", "name", "old group", "stream", users)), chromedp.Click(`button[aria-label^="Remove c-gone"]`, chromedp.NodeVisible))
	see(t, ctx, "h1", "Remove c-gone?")
	do(t, ctx, chromedp.Click("main button.danger", chromedp.NodeVisible))
	see(t, ctx, "[role=status]", "The consumer was removed.")
	see(t, ctx, "main", "No consumers")
	do(t, ctx, chromedp.Click("section[aria-labelledby=delete] button", chromedp.NodeVisible))
	see(t, ctx, "h1", "Delete old group?")
	do(t, ctx, chromedp.SendKeys("input[name=typed]", "old group\r", chromedp.NodeVisible))
	see(t, ctx, "[role=status]", "The group was deleted.")
	if got := s.redis.Do("XINFO", "GROUPS", users).([]any); len(got) != 0 {
		t.Errorf("%d groups are left", len(got))
	}
}
