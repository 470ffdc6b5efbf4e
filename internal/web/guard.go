package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// role is what somebody may do.
type role int

const (
	nobody role = iota
	viewer
	operator
)

func (r role) String() string { return [...]string{"nobody", "view", "operate"}[r] }

const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// maxForm bounds what a form may send.
const maxForm = 2 << 20

// transferTimeout bounds how long a form may come, and a page may go.
const transferTimeout = 15 * time.Second

// guard stands before every page.
func (d *Dashboard) guard(next http.Handler) http.Handler {
	var crossOrigin http.CrossOriginProtection
	next = crossOrigin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !d.hasTokens() && !isLoopback(r.Host) {
			// A foreign name that resolves to this machine: the page that asks
			// is somebody else's.
			http.Error(w, "This dashboard answers only to localhost.", http.StatusMisdirectedRequest)
			return
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(transferTimeout)) // else a slow reader keeps its connection
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		next.ServeHTTP(w, r)
	})
}

func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

func (d *Dashboard) hasTokens() bool { return d.cfg.OperateToken != "" || d.cfg.ViewToken != "" }

// requires lets those through who may do it, and sends to the login page who
// might.
func (d *Dashboard) requires(least role, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		has := d.roleOf(r)
		switch {
		case has >= least:
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), roleKey{}, has)))
		case has != nobody:
			d.fail(w, r, &pageError{http.StatusForbidden, "You may look, but not change or reveal anything. Log in with the token that may operate."})
		case r.Method == http.MethodGet && r.URL.Path != "/live":
			http.Redirect(w, r, "/login?"+url.Values{"to": {r.URL.RequestURI()}}.Encode(), http.StatusSeeOther)
		default:
			d.fail(w, r, &pageError{http.StatusUnauthorized, "You are not logged in, or not any more."})
		}
	})
}

type roleKey struct{}

func roleOf(r *http.Request) role {
	has, _ := r.Context().Value(roleKey{}).(role)
	return has
}

func (d *Dashboard) roleOf(r *http.Request) role {
	has := operator
	if d.hasTokens() {
		has = nobody
		if cookie, err := r.Cookie(sessionCookie); err == nil {
			has = d.sessions.role(cookie.Value)
		}
	}
	if d.cfg.Repairer == nil {
		has = min(has, viewer)
	}
	return has
}

const (
	sessionCookie = "freshet-session"
	sessionAge    = 12 * time.Hour
	maxSessions   = 1000
	loginBurst    = 10               // attempts that are answered at once
	loginPause    = 10 * time.Second // until there is one more
)

// sessions are who is logged in. They end with the process.
type sessions struct {
	mu       sync.Mutex
	sessions map[[sha256.Size]byte]session // by the hash of the cookie: finding it tells no time
	attempts float64                       // used of loginBurst
	counted  time.Time
}

type session struct {
	role role
	ends time.Time
}

func (s *sessions) role(cookie string) role {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.sessions[sha256.Sum256([]byte(cookie))]
	if !ok || time.Now().After(found.ends) {
		return nobody
	}
	return found.role
}

func (s *sessions) open(r role) (cookie string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, old := range s.sessions {
		if time.Now().After(old.ends) || len(s.sessions) >= maxSessions {
			delete(s.sessions, key)
		}
	}
	if s.sessions == nil {
		s.sessions = make(map[[sha256.Size]byte]session)
	}
	cookie = rand.Text()
	s.sessions[sha256.Sum256([]byte(cookie))] = session{r, time.Now().Add(sessionAge)}
	return cookie
}

func (s *sessions) end(cookie string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, sha256.Sum256([]byte(cookie)))
}

// mayTry bounds attempts to log in, of all clients together: an address is
// cheap, and a proxy may hide it.
func (s *sessions) mayTry() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.attempts = max(s.attempts-float64(now.Sub(s.counted))/float64(loginPause), 0)
	s.counted = now
	if s.attempts > loginBurst-1 {
		return false
	}
	s.attempts++
	return true
}

func (s *sessions) succeeded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts = max(s.attempts-1, 0)
}

type loginView struct {
	To     string
	Wrong  bool
	Wanted bool // there is something to log in to
}

func (d *Dashboard) loginPage(r *http.Request) (*view, error) {
	return &view{Title: "Log in", Body: loginView{To: localPath(r.FormValue("to")), Wanted: d.hasTokens()}}, nil
}

func (d *Dashboard) login(r *http.Request) (*view, error) {
	if !d.sessions.mayTry() {
		return nil, &pageError{http.StatusTooManyRequests, "Too many attempts to log in. Wait a few seconds."}
	}
	token := strings.TrimSpace(r.PostFormValue("token"))
	has := nobody
	if same(token, d.cfg.ViewToken) {
		has = viewer
	}
	if same(token, d.cfg.OperateToken) {
		has = operator
	}
	to := localPath(r.PostFormValue("to"))
	if has == nobody {
		d.log.WarnContext(r.Context(), "dashboard: login refused", "from", r.RemoteAddr)
		return &view{Title: "Log in", Status: http.StatusUnauthorized, Body: loginView{To: to, Wrong: true, Wanted: d.hasTokens()}}, nil
	}
	d.sessions.succeeded()
	d.log.InfoContext(r.Context(), "dashboard: logged in", "role", has.String(), "from", r.RemoteAddr)
	return &view{Redirect: to, Cookie: newCookie(r, d.sessions.open(has), int(sessionAge.Seconds()))}, nil
}

func (d *Dashboard) logout(r *http.Request) (*view, error) {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		d.sessions.end(cookie.Value)
	}
	return &view{Redirect: "/login", Cookie: newCookie(r, "", -1)}, nil
}

func newCookie(r *http.Request, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: sessionCookie, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	}
}

// same compares in a time that tells nothing of where they differ.
func same(given, want string) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(want))
	return want != "" && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// localPath returns a path of this dashboard to go to, whatever was given.
func localPath(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(to, "/") ||
		strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") {
		return "/"
	}
	return to
}

// audit logs who did what, without any value.
func (d *Dashboard) audit(r *http.Request, what string, args ...any) {
	who := append([]any{"role", roleOf(r).String(), "from", r.RemoteAddr}, args...)
	d.log.WarnContext(r.Context(), "dashboard: "+what, who...)
}
