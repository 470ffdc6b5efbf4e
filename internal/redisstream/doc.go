// Package redisstream speaks to Redis for the rest of the project: publishes,
// reads, and the consumer group that the delivery engine runs on. It is the
// only package that names the Redis client.
package redisstream
