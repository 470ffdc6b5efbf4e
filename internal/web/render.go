package web

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/freshet/freshet/internal/redisstream"
)

//go:embed templates assets
var files embed.FS

// pages are the templates by name, each with the layout around it.
var pages = parsePages()

func parsePages() map[string]*template.Template {
	layout := template.Must(template.New("layout").Funcs(functions).ParseFS(files, "templates/layout.html", "templates/parts.html"))
	parsed := map[string]*template.Template{}
	entries, err := files.ReadDir("templates")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".html")
		if name != "layout" && name != "parts" {
			parsed[name] = template.Must(template.Must(layout.Clone()).ParseFS(files, path.Join("templates", e.Name())))
		}
	}
	return parsed
}

func assets() http.Handler {
	served := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/") {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "no-cache")
		served.ServeHTTP(w, r)
	})
}

// view is what a page shows, or where it sends to.
type view struct {
	Title    string
	Section  string   // of the navigation
	Problems []string // parts that could not be read
	Query    string   // that the search box shows
	Done     string   // what the form that led here has done
	Refresh  int      // seconds after which its live parts are read again; 0: never
	Status   int      // default 200
	Body     any

	Redirect string
	Cookie   *http.Cookie

	// Of every page; render fills them.
	Operator, ReadOnly, Tokens, HasCopy bool
	Server, Here                        string
	Now                                 time.Time
	RunningJobs                         int
}

type pageFunc func(r *http.Request) (*view, error)

// pageError is a failure that says itself what the reader should know.
type pageError struct {
	status int
	text   string
}

func (e *pageError) Error() string { return e.text }

func notFound(format string, args ...any) error {
	return &pageError{http.StatusNotFound, fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) error {
	return &pageError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func conflict(format string, args ...any) error {
	return &pageError{http.StatusConflict, fmt.Sprintf(format, args...)}
}

// page serves a page within the time that one may take.
func (d *Dashboard) page(name string, f pageFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		r = r.WithContext(ctx)
		if r.Method == http.MethodPost {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(transferTimeout)) // else a slow form is bounded by its size alone
			if err := r.ParseForm(); err != nil {
				d.fail(w, r, badRequest("The form could not be read."))
				return
			}
		}
		v, err := f(r)
		if err != nil {
			d.fail(w, r, err)
			return
		}
		if v.Cookie != nil {
			http.SetCookie(w, v.Cookie)
		}
		if v.Redirect != "" {
			http.Redirect(w, r, v.Redirect, http.StatusSeeOther)
			return
		}
		d.render(w, r, name, v)
	})
}

func (d *Dashboard) render(w http.ResponseWriter, r *http.Request, name string, v *view) {
	v.Operator = roleOf(r) == operator
	v.ReadOnly = d.cfg.Repairer == nil
	v.Tokens = d.hasTokens()
	v.HasCopy = d.cfg.Copy != nil
	v.Here = r.URL.RequestURI()
	v.Now = time.Now()
	if !v.Tokens || roleOf(r) != nobody { // a stranger is told nothing
		v.Server = d.cfg.Server
		v.RunningJobs = d.jobs.running()
	}
	var b bytes.Buffer
	if err := pages[name].ExecuteTemplate(&b, "layout", v); err != nil {
		d.log.ErrorContext(r.Context(), "dashboard: page failed", "page", name, "error", err)
		http.Error(w, "This page could not be made. The log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if v.Status != 0 {
		w.WriteHeader(v.Status)
	}
	_, _ = b.WriteTo(w) // a reader who is gone misses nothing
}

type errorView struct {
	Status int
	Text   string
	Again  bool // it may be better the next time
}

// fail shows a page that says what is wrong, in place of the one asked for.
func (d *Dashboard) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := errorView{Status: http.StatusInternalServerError, Text: err.Error()}
	var own *pageError
	switch class := redisstream.ClassOf(err); {
	case errors.As(err, &own):
		e.Status = own.status
	case errors.Is(err, context.DeadlineExceeded):
		e.Status, e.Again = http.StatusGatewayTimeout, true
		e.Text = "The Redis server did not answer within " + requestTimeout.String() + "."
	case class == redisstream.Unreachable:
		e.Status, e.Again = http.StatusBadGateway, true
		e.Text = "The Redis server cannot be reached: " + err.Error()
	case class != redisstream.Other:
		e.Status = http.StatusBadGateway
	}
	title := "This page could not be read"
	switch e.Status {
	case http.StatusNotFound:
		title = "Not found"
	case http.StatusBadRequest:
		title = "Not understood"
	case http.StatusConflict:
		title = "Not now"
	case http.StatusForbidden, http.StatusUnauthorized:
		title = "Not allowed"
	}
	d.render(w, r, "error", &view{Title: title, Status: e.Status, Body: e})
}
