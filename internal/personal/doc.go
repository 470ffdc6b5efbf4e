// Package personal masks what says who a person is, wherever events are shown
// to somebody who has not asked to see it.
package personal
