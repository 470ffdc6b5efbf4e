package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/web"
)

const operate, look = "operate-token-0123456789", "view-token-0123456789"

func withTokens(cfg *web.Config) { cfg.OperateToken, cfg.ViewToken = operate, look }

func TestEveryAnswerHasTheHeadersThatGuardIt(t *testing.T) {
	s := open(t, nil)
	for _, path := range []string{"/", "/streams", "/nothing", "/assets/style.css", "/deadletter"} {
		reply, err := s.client.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		reply.Body.Close()
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
			"Referrer-Policy":         "no-referrer",
			"X-Content-Type-Options":  "nosniff",
		} {
			if got := reply.Header.Get(name); got != want {
				t.Errorf("%s: %s: %q, want %q", path, name, got, want)
			}
		}
	}
}

func TestPagesHaveNothingInline(t *testing.T) {
	s := open(t, nil)
	s.add(t, users, userFields("u-1", "ada@example.com")...)
	for _, path := range []string{"/", "/streams", "/groups", "/doctor", "/deadletters", "/entities", address("/stream", "key", users)} {
		page := s.get(t, http.StatusOK, path)
		lacks(t, page, " style=", " onclick=", "<style", "javascript:")
		if n := strings.Count(page, "<script"); n != 1 || !strings.Contains(page, `<script src="/assets/app.js" defer></script>`) {
			t.Errorf("%s has %d scripts", path, n)
		}
	}
}

func TestForeignNameIsRefusedWithoutToken(t *testing.T) {
	for _, test := range []struct {
		host   string
		change func(*web.Config)
		status int
	}{
		{"evil.example", nil, http.StatusMisdirectedRequest},
		{"127.0.0.1.evil.example", nil, http.StatusMisdirectedRequest},
		{"localhost:1", nil, http.StatusOK},
		{"[::1]:1", nil, http.StatusOK},
		{"dashboard.example", withTokens, http.StatusOK},
	} {
		s := open(t, test.change)
		request, _ := http.NewRequest(http.MethodGet, s.URL+"/login", nil)
		request.Host = test.host
		reply, err := s.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		reply.Body.Close()
		if reply.StatusCode != test.status {
			t.Errorf("%s: status %d, want %d", test.host, reply.StatusCode, test.status)
		}
	}
}

func TestFormOfAnotherSiteIsRefused(t *testing.T) {
	s := open(t, nil)
	id := s.bury(t, "1-0", "permanent", "no", userFields("u-1", "ada@example.com")...)
	for _, path := range []string{"/deadletters/redrive", "/deadletters/drop", "/deadletter/edit", "/deadletter", "/event", "/job/cancel"} {
		form := url.Values{"stream": {users}, "group": {group}, "id": {id}, "confirm": {"drop"}}
		request, _ := http.NewRequest(http.MethodPost, s.URL+path, strings.NewReader(form.Encode()))
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Origin", "https://evil.example")
		request.Header.Set("Sec-Fetch-Site", "cross-site")
		reply, err := s.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		reply.Body.Close()
		if reply.StatusCode != http.StatusForbidden {
			t.Errorf("%s: status %d", path, reply.StatusCode)
		}
	}
	if n := s.redis.Do("XLEN", "{"+users+"}:dlq:"+group); n != int64(1) {
		t.Errorf("%v dead letters are left", n)
	}
}

func TestLogin(t *testing.T) {
	s := open(t, withTokens)
	page := s.get(t, http.StatusOK, "/streams") // of the login, where one is sent to
	wants(t, page, `<form class="body stack" method="post" action="/login">`, `name="to" value="/streams"`)
	wants(t, s.post(t, http.StatusUnauthorized, "/login", "token", "wrong", "to", "/streams"), "none of the tokens")
	s.get(t, http.StatusUnauthorized, "/live?stream=x")
	s.post(t, http.StatusUnauthorized, "/deadletters/redrive", "stream", users, "group", group, "all", "1")

	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for to, want := range map[string]string{
		"/streams": "/streams", "//evil.example": "/", "https://evil.example": "/", `/\evil.example`: "/", "": "/",
	} {
		reply, err := s.client.PostForm(s.URL+"/login", url.Values{"token": {look}, "to": {to}})
		if err != nil {
			t.Fatal(err)
		}
		reply.Body.Close()
		if got := reply.Header.Get("Location"); reply.StatusCode != http.StatusSeeOther || got != want {
			t.Errorf("to %q: status %d, to %q", to, reply.StatusCode, got)
		}
		cookies := reply.Cookies()
		if len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteStrictMode || strings.Contains(cookies[0].Value, look) {
			t.Errorf("cookies %v", cookies)
		}
	}
	s.client.CheckRedirect = nil
	wants(t, s.get(t, http.StatusOK, "/streams"), "<h1>Streams</h1>", "Log out")
	s.post(t, http.StatusOK, "/logout")
	wants(t, s.get(t, http.StatusOK, "/streams"), "<h1>Log in</h1>")
	lacks(t, s.log.String(), look, operate)
}

func TestLoginsAreLimited(t *testing.T) {
	s := open(t, withTokens)
	for range 10 {
		s.post(t, http.StatusUnauthorized, "/login", "token", "wrong")
	}
	s.post(t, http.StatusTooManyRequests, "/login", "token", operate)
}

func TestRoles(t *testing.T) {
	s := open(t, withTokens)
	id := s.bury(t, "1-0", "permanent", "no", userFields("u-1", "ada@example.com")...)
	letter := []string{"stream", users, "group", group, "id", id}
	s.post(t, http.StatusOK, "/login", "token", look)
	lacks(t, s.get(t, http.StatusOK, address("/deadletter", letter...)), "Redrive", "Reveal", "ada@example.com")
	for _, path := range []string{"/deadletters/redrive", "/deadletters/drop", "/deadletter/edit", "/deadletter"} {
		lacks(t, s.post(t, http.StatusForbidden, path, letter...), "ada@example.com")
	}
	s.post(t, http.StatusOK, "/login", "token", operate)
	wants(t, s.get(t, http.StatusOK, address("/deadletter", letter...)), "Redrive", "Reveal")

	readOnly := open(t, func(cfg *web.Config) { cfg.Repairer = nil })
	readOnly.post(t, http.StatusForbidden, "/deadletters/redrive", letter...)
}
