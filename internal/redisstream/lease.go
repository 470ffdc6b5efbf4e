package redisstream

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// AcquireLease takes the exclusive lease of a group for ttl. ok is false
// while another owner has it. The token grows with every change of owner, so
// that the effects of an earlier one can be told and refused. An owner that
// has the lease already gets the same token again.
func (c *Client) AcquireLease(ctx context.Context, group, owner string, ttl time.Duration) (token int64, ok bool, err error) {
	keys := []string{groupKey(group, "active"), groupKey(group, "fence")}
	token, err = c.run(ctx, leaseAcquireScript, keys, owner, millis(ttl)).AsInt64()
	if err != nil {
		return 0, false, fmt.Errorf("acquire lease of group %s: %w", group, err)
	}
	return token, token != 0, nil
}

// RenewLease prolongs the lease to ttl from now. ok is false when it ran out
// or is another's.
func (c *Client) RenewLease(ctx context.Context, group string, token int64, ttl time.Duration) (ok bool, err error) {
	n, err := c.run(ctx, leaseRenewScript, []string{groupKey(group, "active")}, strconv.FormatInt(token, 10), millis(ttl)).AsInt64()
	if err != nil {
		return false, fmt.Errorf("renew lease of group %s: %w", group, err)
	}
	return n == 1, nil
}

// ReleaseLease gives the lease up. It is no error when it was lost already.
func (c *Client) ReleaseLease(ctx context.Context, group string, token int64) error {
	err := c.run(ctx, leaseReleaseScript, []string{groupKey(group, "active")}, strconv.FormatInt(token, 10)).Error()
	if err != nil {
		return fmt.Errorf("release lease of group %s: %w", group, err)
	}
	return nil
}

// Setting returns a setting that all consumers of a group share. The first
// value given stands, unless replace is set. Where nothing is to be changed it
// works on a server that is out of memory.
func (c *Client) Setting(ctx context.Context, group, name, value string, replace bool) (current string, err error) {
	key := groupKey(group, "settings")
	set := c.rc.B().Hsetnx().Key(key).Field(name).Value(value).Build()
	if replace {
		set = c.rc.B().Hset().Key(key).FieldValue().FieldValue(name, value).Build()
	}
	replies := c.doMulti(ctx, set, c.rc.B().Hget().Key(key).Field(name).Build())
	current, err = replies[1].ToString()
	if refused := replies[0].Error(); refused != nil && (err != nil || replace && current != value) {
		err = refused
	}
	if err != nil {
		return "", fmt.Errorf("setting %s of group %s: %w", name, group, err)
	}
	return current, nil
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
