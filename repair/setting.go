package repair

import "context"

// SetConfig changes a setting of the server, of a cluster that of the master at
// addr, host:port. It lasts until the server ends, unless its configuration
// file says the same.
func (r *Repairer) SetConfig(ctx context.Context, addr, name, value string) error {
	return r.client.SetConfig(ctx, addr, name, value)
}
