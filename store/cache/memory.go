package cache

import (
	"context"
	"time"
)

// Memory remembers, across runs, what caches have answered. *local.Store implements it. Its methods may be called
// concurrently; a failing memory costs a request, never the answer.
type Memory interface {
	// GetNarInfo returns the text of a narinfo, "" if the cache said that it has none. known is false if nothing is
	// remembered, or no longer.
	GetNarInfo(ctx context.Context, cacheURL string, digest [20]byte) (text string, known bool, err error)
	// PutNarInfo remembers an answer for a time, in the place of an older one. The ttl is positive, but it may be so short
	// that the answer is forgotten at once.
	PutNarInfo(ctx context.Context, cacheURL string, digest [20]byte, text string, ttl time.Duration) error
	// GetCacheInfo and PutCacheInfo do the same for the text of nix-cache-info.
	GetCacheInfo(ctx context.Context, cacheURL string) (text string, known bool, err error)
	PutCacheInfo(ctx context.Context, cacheURL string, text string, ttl time.Duration) error
}

// forget is how long an answer is remembered that should not be.
const forget = time.Nanosecond

// noMemory remembers nothing.
type noMemory struct{}

func (noMemory) GetNarInfo(context.Context, string, [20]byte) (string, bool, error) {
	return "", false, nil
}
func (noMemory) PutNarInfo(context.Context, string, [20]byte, string, time.Duration) error {
	return nil
}
func (noMemory) GetCacheInfo(context.Context, string) (string, bool, error)        { return "", false, nil }
func (noMemory) PutCacheInfo(context.Context, string, string, time.Duration) error { return nil }
