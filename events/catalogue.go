package events

import (
	"slices"
	"strings"
)

var catalogue = []*Type{
	userCreated, userDeactivated, userDeleted,
	roleAssigned, roleUnassigned, roleUpdated, rolePermissionsChanged,
	roleCreated, appRoleUpdated, roleDeleted,
	orgCreated,
	assignmentCreated, assignmentUpdated, assignmentDeactivated, assignmentActivated, assignmentDeleted,
	creditAllocated, creditConsumed, creditAllocatedSync, creditConsumedSync, creditConfigUpdated,
	appUserCreated, interApp,
	acknowledgment,
}

// byName finds types by canonical name and, behind these, by alias. The types
// that are told by their stream alone are not in it.
var byName = func() map[string]*Type {
	names := map[string]*Type{}
	for _, t := range catalogue {
		if named(t) {
			names[t.Name] = t
		}
	}
	for _, t := range catalogue {
		for _, alias := range t.Aliases {
			if names[alias] == nil {
				names[alias] = t
			}
		}
	}
	return names
}()

// named tells whether a type's name alone means the type: user.created means
// user_created but on the stream of inter-app events, where every name is
// theirs.
func named(t *Type) bool { return t.Shape != ShapeInterApp }

// Catalogue returns every event type, in the order of the guide.
func Catalogue() []*Type { return slices.Clone(catalogue) }

// Lookup returns the type that wireType means on the stream, in any of the
// spellings that are met, and nil when the catalogue has none. stream may be
// the key of a retry or dead-letter copy.
func Lookup(stream, wireType string) *Type {
	base := BaseStream(stream)
	switch {
	case within(base, interAppStream):
		return LookupInterApp(wireType)
	case within(base, acknowledgment.Stream):
		return acknowledgment
	}
	t := byName[wireType]
	sync := strings.Contains(base, ":sync:")
	fanOut := strings.Contains(base, ":sync:role:")
	switch {
	case sync && t == creditAllocated:
		return creditAllocatedSync
	case sync && t == creditConsumed:
		return creditConsumedSync
	case sync && !fanOut && t == appRoleUpdated:
		return roleUpdated
	case fanOut && t == roleUpdated:
		return appRoleUpdated
	case within(base, creditStream) && t == creditAllocatedSync:
		return creditAllocated
	case within(base, creditStream) && t == creditConsumedSync:
		return creditConsumed
	}
	return t
}

// LookupInterApp returns the type of an inter-app event. There always is one.
func LookupInterApp(wireType string) *Type {
	if wireType == appUserCreated.Name {
		return appUserCreated
	}
	return interApp
}

// within tells whether key is the stream or a part of it ("stream:tenant").
func within(key, stream string) bool {
	rest, ok := strings.CutPrefix(key, stream)
	return ok && (rest == "" || rest[0] == ':')
}

// Streams returns the keys and Redis globs that cover every stream on which
// the suite's events are met, name drift and parked copies included.
func Streams() []string {
	return append(ExplicitStreams(),
		"*:sync:*",
		creditStream+":*",
		assignmentStream+":*",
		interAppStream+":*",
		"*:retry",
		"*:dlq",
	)
}

// ExplicitStreams returns the streams of the catalogue whose keys are fixed,
// which a group may be created on before the first event.
func ExplicitStreams() []string {
	var keys []string
	for _, t := range catalogue {
		if !strings.Contains(t.Stream, "{app}") && !slices.Contains(keys, t.Stream) {
			keys = append(keys, t.Stream)
		}
	}
	return keys
}

// BaseStream returns the stream that a key's entries were first published on.
// The key is that stream's own, or that of its retry or dead-letter copies:
// a group's (see CopyOf), or "stream:retry" and "stream:dlq" of other systems.
func BaseStream(key string) string {
	key, _ = CopyOf(key)
	for _, suffix := range []string{":retry", ":dlq"} {
		if base, ok := strings.CutSuffix(key, suffix); ok && base != "" {
			return base
		}
	}
	return key
}

// CopyOf returns the stream whose entries a group keeps copies of under key,
// "{stream}:retry:group" or "{stream}:dlq:group". Any other key is returned
// as it is.
func CopyOf(key string) (stream string, ok bool) {
	if strings.HasPrefix(key, "{") {
		for _, mark := range []string{"}:retry:", "}:dlq:"} {
			if i := strings.Index(key, mark); i > 1 {
				return key[1:i], true
			}
		}
	}
	return key, false
}
