// Package radstreamv1 holds the events of version 1, generated from events.proto, where
// each message is described. Package schemas/event says how they travel.
package radstreamv1
