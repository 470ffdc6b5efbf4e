// Package daemon is `freshet run` without its command line: a configuration,
// read strictly from a file and from flags, and the consumer that it
// describes, which keeps a copy in SQL up to date.
package daemon
