package inspect_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redistest"
)

func doctorPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// section returns the rows of the table below a heading, cells without blanks.
func section(page, heading string) (rows [][]string) {
	_, page, _ = strings.Cut(page, "\n## "+heading+"\n")
	page, _, _ = strings.Cut(page, "\n## ")
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "| `") {
			cells := strings.Split(strings.Trim(line, "| \n"), "|")
			for i := range cells {
				cells[i] = strings.Trim(cells[i], " `")
			}
			rows = append(rows, cells)
		}
	}
	return rows
}

func TestDoctorPageHasEveryCheck(t *testing.T) {
	rows := section(doctorPage(t), "Checks")
	checks := inspect.Checks()
	if len(rows) != len(checks) {
		t.Fatalf("%d rows for %d checks", len(rows), len(checks))
	}
	limits := inspect.DefaultThresholds()
	for i, check := range checks {
		if rows[i][0] != check.Name {
			t.Errorf("row %d is of %s, not of %s", i+1, rows[i][0], check.Name)
		}
		for _, m := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch("`"+rows[i][1]+"`", -1) {
			known := false
			for _, l := range limits.All() {
				known = known || l.Name == m[1]
			}
			if name := m[1]; !known && strings.Contains(rows[i][1], "`"+name) {
				t.Errorf("%s: no threshold %s", check.Name, name)
			}
		}
	}
}

func TestDoctorPageHasEveryThreshold(t *testing.T) {
	rows := section(doctorPage(t), "Thresholds")
	limits := inspect.DefaultThresholds()
	if len(rows) != len(limits.All()) {
		t.Fatalf("%d rows for %d thresholds", len(rows), len(limits.All()))
	}
	for i, l := range limits.All() {
		want := []string{l.Name}
		if l.Counts != nil {
			want = append(want, itoa(int(l.Counts.Warning)), itoa(int(l.Counts.Critical)))
		} else {
			want = append(want, days(l.Ages.Warning), days(l.Ages.Critical))
		}
		for k, cell := range want {
			if rows[i][k] != cell {
				t.Errorf("%s: %s, want %s", l.Name, rows[i][k], cell)
			}
		}
	}
}

func days(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d%day == 0:
		return itoa(int(d/day)) + "d"
	case d%time.Hour == 0:
		return itoa(int(d/time.Hour)) + "h"
	case d%time.Minute == 0:
		return itoa(int(d/time.Minute)) + "m"
	}
	return itoa(int(d/time.Second)) + "s"
}

// The rules of the page suffice, and are no more than a look needs.
func TestDoctorPageRulesSuffice(t *testing.T) {
	s := redistest.Start(t, safe...)
	add(t, s, users, "*", 1)
	s.Do("XGROUP", "CREATE", users, "crm", "0")
	s.Do("XACK", users, "crm", reads(t, s, users, "crm", "c-1", 1)[0])
	_, rules, _ := strings.Cut(doctorPage(t), "$ redis-cli ACL SETUSER ops ")
	rules, _, _ = strings.Cut(rules, "\n")
	setUser(t, s, append([]string{"ops"}, strings.Fields(strings.ReplaceAll(rules, "'", ""))...)...)
	allowed := func(command ...string) bool {
		return s.Do(append([]string{"ACL", "DRYRUN", "ops"}, command...)...) == "OK"
	}
	if !allowed("XINFO", "GROUPS", users) {
		t.Error("may not look")
	}
	for _, c := range [][]string{{"XADD", users, "*", "a", "b"}, {"XACK", users, "crm", "1-0"}, {"DEL", users}, {"CONFIG", "SET", "save", ""}, {"XREADGROUP", "GROUP", "crm", "x", "STREAMS", users, ">"}} {
		if allowed(c...) {
			t.Errorf("may %q", c)
		}
	}
	setUser(t, s, "default", "resetpass", ">other")
	url := "redis://ops:PASSWORD@" + s.Addr()
	nothing(t, url, inspect.DiagnoseConfig{})
	d := diagnose(t, url, inspect.DiagnoseConfig{})
	if d.Server.Version == "" || d.Server.User != "ops" || len(d.Server.Features) == 0 {
		t.Errorf("%+v", d.Server)
	}
}
