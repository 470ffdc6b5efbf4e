// Package delivery brings the entries of a consumer group to handlers: one at
// a time and in order for each entity, with retries, leases, dead letters and
// batched acknowledgments. It knows nothing of Redis; see [Transport].
package delivery
