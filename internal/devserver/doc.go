// Package devserver gives `freshet dev` a Redis server of its own: a private
// redis-server where there is one, else an embedded imitation in memory.
package devserver
