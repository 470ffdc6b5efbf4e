package fake

import "strings"

var applications = []string{"affiliateConnect", "crm", "hr", "project_management"}

var modulesOf = map[string][]string{
	"affiliateConnect":   {"commissions", "partners", "referrals"},
	"crm":                {"accounts", "contacts", "leads", "opportunities"},
	"hr":                 {"employees", "leave", "payroll"},
	"project_management": {"projects", "sprints", "tasks"},
}

// permissionLevels grow: a role that may delete may read.
var permissionLevels = []string{"read", "read_all", "create", "update", "export", "delete"}

var roleKinds = []struct{ name, description string }{
	{"Account Executive", "Owns customer accounts"},
	{"Sales Manager", "Leads a sales team"},
	{"Support Agent", "Answers customers"},
	{"People Partner", "Looks after employees"},
	{"Payroll Clerk", "Pays employees"},
	{"Project Lead", "Plans and tracks projects"},
	{"Partner Manager", "Recruits and pays partners"},
	{"Auditor", "Reads, changes nothing"},
}

var departments = []string{"Sales", "Support", "Finance", "Engineering", "Marketing", "Operations"}

var (
	assignmentTypes = []string{"direct", "matrix", "temporary"}
	accessLevels    = []string{"standard", "limited", "admin"}
)

// orgCode shortens "Sales New Haven" to "SALES-NEW-HAVEN".
func orgCode(name string) string {
	words := strings.FieldsFunc(strings.ToUpper(name), func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	})
	return strings.Join(words, "-")
}
