// Package shell writes commands that a person can paste into a shell.
package shell
