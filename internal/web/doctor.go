package web

import (
	"net/http"
	"time"

	"github.com/freshet/freshet/inspect"
)

type doctorView struct {
	Verdict  string
	Severity string
	At       time.Time
	Findings []findingRow
	Checks   []checkRow
}

type checkRow struct {
	inspect.Check
	Worst inspect.Severity // "" when it found nothing
}

// doctor shows what was found, and what was looked for.
func (d *Dashboard) doctor(r *http.Request) (*view, error) {
	s, err := d.look(r.Context())
	if err != nil {
		return nil, err
	}
	if s.Diagnosis == nil {
		return nil, s.Err
	}
	body := &doctorView{Verdict: s.Diagnosis.Verdict(), At: s.At, Findings: findings(s)}
	if !s.Diagnosis.Healthy() {
		body.Severity = string(s.Diagnosis.Worst())
	}
	worst := map[string]inspect.Severity{}
	for _, f := range s.Diagnosis.Findings { // the worst first
		if worst[f.Check] == "" {
			worst[f.Check] = f.Severity
		}
	}
	for _, c := range inspect.Checks() {
		body.Checks = append(body.Checks, checkRow{c, worst[c.Name]})
	}
	return &view{Title: "Doctor", Section: "doctor", Refresh: 5, Body: body, Problems: s.stale()}, nil
}
