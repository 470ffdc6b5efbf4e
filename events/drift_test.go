package events_test

import (
	"strings"
	"testing"

	"github.com/freshet/freshet/events"
)

func TestNearestStream(t *testing.T) {
	for key, want := range map[string]string{
		// Those of the catalogue are themselves.
		"crm:sync:user:user_created":                 "crm:sync:user:user_created",
		"hr:sync:role:role_created":                  "hr:sync:role:role_created",
		"credit-events:acme":                         "credit-events:acme",
		"crm:sync:user:user_created:dlq":             "crm:sync:user:user_created:dlq",
		"{crm:sync:user:user_created}:retry:crm":     "{crm:sync:user:user_created}:retry:crm",
		"acknowledgments":                            "acknowledgments",
		"crm:sync:user:user_creatd":                  "crm:sync:user:user_created",
		"crm:sync:user_created":                      "crm:sync:user:user_created",
		"crm:sync:credit:credit_allocated":           "crm:sync:credits:credit_allocated",
		"credit_events":                              "credit-events",
		"CreditEvents":                               "credit-events",
		"credit-event":                               "credit-events",
		"inter-apps-events":                          "inter-app-events",
		"crm.sync.user.user_created":                 "crm:sync:user:user_created",
		"orders":                                     "",
		"audit-events":                               "",
		"":                                           "",
		strings.Repeat("x", 1000) + ":sync:too-long": "",
	} {
		if got := events.NearestStream(key); got != want {
			t.Errorf("%.60q: %q, want %q", key, got, want)
		}
	}
}

func TestCoveredAgreesWithStreams(t *testing.T) {
	for key, want := range map[string]bool{
		"crm:sync:user:user_created": true, "x:sync:y": true, "credit-events": true, "credit-events:acme": true, "orders:dlq": true, "acknowledgments": true,
		"crm:organization-assignments:acme": true, "credit-events2": false, "crm:sync": false, "orders": false, "acknowledgment": false,
	} {
		if got := events.Covered(key); got != want {
			t.Errorf("%q: %v", key, got)
		}
	}
}
