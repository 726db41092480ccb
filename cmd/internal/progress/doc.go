// Package progress shows what a realiser does while somebody waits for it: on a terminal as bars that move, otherwise as
// plain lines, one when something begins. It reads the realiser's events and nothing else.
package progress
