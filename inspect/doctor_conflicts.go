package inspect

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/freshet/freshet/internal/redisstream"
)

// Between two looks at who reads. A consumer that reads asks at least every two
// seconds.
const conflictLook = 2500 * time.Millisecond

// ourConsumer is what consumers of the project are called.
var ourConsumer = regexp.MustCompile(`-\d+-[a-z2-7]{8}$`)

// conflicts looks for consumers that do not keep to what their group has agreed
// on: a tenant filter, or that one of them is active at a time.
func (x *examination) conflicts(ctx context.Context, byName map[string][]Group) error {
	names := slices.Sorted(maps.Keys(byName))
	claims, err := x.client.Claims(ctx, names)
	if err != nil {
		return err
	}
	var suspects []string // groups with a lease, where others than its owner live
	for n, name := range names {
		x.unfiltered(name, claims[n].Tenants, byName[name])
		if claims[n].Owner != "" && len(reading(byName[name], claims[n].Owner, conflictLook)) > 0 {
			suspects = append(suspects, name)
		}
	}
	if len(suspects) == 0 {
		return nil
	}
	// Who was active before the owner has read a moment ago, too. So another
	// look is needed for who goes on reading.
	owners := map[string]string{}
	for n, name := range names {
		owners[name] = claims[n].Owner
	}
	if err := sleep(ctx, conflictLook); err != nil {
		return err
	}
	claims, err = x.client.Claims(ctx, suspects)
	if err != nil {
		return err
	}
	for n, name := range suspects {
		if claims[n].Owner != owners[name] {
			continue // it has just been handed over
		}
		groups, err := x.lookAgain(ctx, byName[name])
		if err != nil {
			return err
		}
		others := reading(groups, owners[name], conflictLook)
		if len(others) == 0 {
			continue
		}
		x.find(Finding{
			Check: "settings_conflict", Severity: Critical, Subject: "group " + name,
			Summary:  fmt.Sprintf("%s reads as %s while %s has its exclusive lease: there is no one order", strings.Join(others, ", "), name, owners[name]),
			Evidence: "some consumers of the group run with Exclusive, others without",
			Advice:   "Run all consumers of the group with Exclusive (--exclusive), or none",
			Command:  x.freshet("consumers", groups[0].Stream, "--group", name),
		})
	}
	return nil
}

// lookAgain asks for the consumers of a group once more.
func (x *examination) lookAgain(ctx context.Context, groups []Group) ([]Group, error) {
	refs := make([]redisstream.GroupRef, len(groups))
	for n, g := range groups {
		refs[n] = redisstream.GroupRef{Stream: g.Stream, Group: g.Name}
	}
	again := slices.Clone(groups)
	for n, reply := range x.client.Consumers(ctx, refs) {
		if reply.Err != nil {
			return nil, reply.Err
		}
		again[n].Consumers = nil
		for _, c := range reply.Value {
			again[n].Consumers = append(again[n].Consumers, Consumer{Stream: refs[n].Stream, Group: refs[n].Group, Name: c.Name, Pending: c.Pending, Idle: c.Idle})
		}
	}
	return again, nil
}

// reading names the consumers but one that have asked for something within a
// time.
func reading(groups []Group, but string, within time.Duration) (names []string) {
	for _, g := range groups {
		for _, c := range g.Consumers {
			if c.Name != but && c.Idle < within && !slices.Contains(names, c.Name) {
				names = append(names, c.Name)
			}
		}
	}
	return names
}

// unfiltered finds consumers that know nothing of the tenant filter that their
// group has.
func (x *examination) unfiltered(name, tenants string, groups []Group) {
	if tenants == "" || tenants == "*" {
		return
	}
	for _, g := range groups {
		for _, c := range g.Consumers {
			if c.Live && !ourConsumer.MatchString(c.Name) {
				x.find(Finding{
					Check: "settings_conflict", Severity: Critical, Subject: "group " + name,
					Summary:  fmt.Sprintf("%s has a filter of tenants, and %s, which is no consumer of Freshet, works for it: it may settle what is not meant for it, and the others what is", name, c.Name),
					Evidence: "the filter is " + tenants,
					Advice:   "Give that consumer a group of its own; which it is, the server's CLIENT LIST tells",
					Command:  x.freshet("consumers", g.Stream, "--group", name),
				})
				return
			}
		}
	}
}
