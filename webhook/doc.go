// Package webhook delivers events to an HTTP endpoint, signed as Standard
// Webhooks (standardwebhooks.com), and verifies them where they arrive.
//
// A [Target] is the handler of a [freshet.Consumer]. Give each target a
// consumer group of its own: groups share nothing but the server, so a target
// that is slow or down delays no other, has its own retries, dead letters and
// lag, and goes on where it stopped.
//
//	target, err := webhook.New(webhook.Config{URL: url, Secrets: []webhook.Secret{secret}})
//	consumer := bus.Consumer(freshet.ConsumerConfig{Group: "webhook-crm"})
//	freshet.OnTypes(consumer, events.Catalogue(), target.Handle)
//
// # Request
//
// The body of each POST is an [Event] in JSON. Its headers are webhook-id,
// which is the same however often an event is delivered and so what a
// receiver knows repetitions by, webhook-timestamp, the time of the attempt
// in seconds, and webhook-signature, one signature for each secret. Events
// come at least once and, of one entity, in order.
//
// # Outcome
//
// What the target answers says what happens to the event:
//
//   - 2xx: it is done. The body means nothing; 64 KiB of it are read.
//   - 429, and 503 with Retry-After: the target as a whole wants fewer
//     requests. The consumer pauses, no attempt counts, and nothing is sent
//     before the time that Retry-After names, an hour at most.
//   - 5xx, 408, 425, no answer within the timeout or a connection that
//     breaks: the attempt has failed and is repeated with backoff.
//   - 3xx, 401, 403, 404, 405, 407, 410: the same. Redirects are not
//     followed. These may speak of the endpoint as well as of the event: an
//     event that is refused alone is dead-lettered after its attempts, and an
//     endpoint that refuses all of them pauses the consumer (ten entities
//     that fail in a row count as an outage) instead of dead-lettering all.
//   - any other 4xx: the event is dead-lettered at once.
//
// A target that cannot be reached, because its name does not resolve, it
// refuses connections or its certificate is wrong, pauses the consumer as a
// database does that is down: the event is not to blame.
//
// # Addresses
//
// A URL is often given by a user, so the target must not be a way into the
// network that the consumer runs in. Addresses that are not on the public
// internet are refused, those of names each time they are dialled, redirects
// are not followed, and the proxy of the environment is not used.
package webhook
