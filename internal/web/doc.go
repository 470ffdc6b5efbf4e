// Package web is the dashboard: pages over what inspect, repair and the local
// copy know, as an http.Handler.
package web
