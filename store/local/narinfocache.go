package local

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// What binary caches answered is kept until it expires. It is only a cache: nothing waits for it to be durable, and a
// record that can't be read counts as unknown.

// cacheKey begins the keys of a cache. Sixteen bytes of a hash stand for its URL, however long that is.
func cacheKey(table byte, url string) []byte {
	sum := sha256.Sum256([]byte(url))
	return append([]byte{table}, sum[:16]...)
}

// GetNarInfo returns what a cache said about a digest: the text of a .narinfo file, or "" if it had none. Known is false
// if nothing is remembered or it has expired.
func (s *Store) GetNarInfo(ctx context.Context, cacheURL string, digest [20]byte) (text string, known bool, err error) {
	return s.getAnswer(ctx, append(cacheKey(tableNarInfo, cacheURL), digest[:]...))
}

// PutNarInfo remembers for a time what a cache said about a digest; "" if it has nothing.
func (s *Store) PutNarInfo(ctx context.Context, cacheURL string, digest [20]byte, text string, ttl time.Duration) error {
	return s.putAnswer(ctx, append(cacheKey(tableNarInfo, cacheURL), digest[:]...), text, ttl)
}

// GetCacheInfo returns the text of a cache's nix-cache-info file.
func (s *Store) GetCacheInfo(ctx context.Context, cacheURL string) (text string, known bool, err error) {
	return s.getAnswer(ctx, cacheKey(tableCacheInfo, cacheURL))
}

// PutCacheInfo remembers the text of a cache's nix-cache-info file for a time.
func (s *Store) PutCacheInfo(ctx context.Context, cacheURL, text string, ttl time.Duration) error {
	return s.putAnswer(ctx, cacheKey(tableCacheInfo, cacheURL), text, ttl)
}

func (s *Store) getAnswer(ctx context.Context, key []byte) (text string, known bool, err error) {
	if err := ctx.Err(); err != nil {
		return "", false, err
	}
	b, err := s.db.get(key)
	if err != nil || b == nil {
		return "", false, err
	}
	expires, text, err := decodeAnswer(b)
	if err != nil {
		s.log.Warn("ignoring a remembered answer", "err", corrupt(key, err))
		return "", false, nil
	}
	if !s.now().Before(expires) {
		return "", false, nil
	}
	return text, true, nil
}

func (s *Store) putAnswer(ctx context.Context, key []byte, text string, ttl time.Duration) error {
	if err := s.writable(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if ttl <= 0 {
		return fmt.Errorf("remembering an answer for %v: expected a positive time", ttl)
	}
	return s.db.change(false, func(b *pebble.Batch) error {
		return b.Set(key, encodeAnswer(s.now().Add(ttl), text), nil)
	})
}

func encodeAnswer(expires time.Time, text string) []byte {
	e := newRecord()
	e.int(expires.Unix())
	e.text(text)
	return e.b
}

func decodeAnswer(b []byte) (expires time.Time, text string, err error) {
	d := readRecord(b)
	expires = time.Unix(d.int(), 0)
	text = d.text()
	return expires, text, d.end()
}

// pruneAnswers removes what has expired.
func (s *Store) pruneAnswers(ctx context.Context) error {
	now := s.now()
	var expired [][]byte
	for _, table := range []byte{tableNarInfo, tableCacheInfo} {
		err := s.db.scan([]byte{table}, func(key, value []byte) (bool, error) {
			if expires, _, err := decodeAnswer(value); err != nil || !now.Before(expires) {
				expired = append(expired, append([]byte(nil), key...))
			}
			return true, ctx.Err()
		})
		if err != nil {
			return err
		}
	}
	return s.db.change(false, func(b *pebble.Batch) error {
		w := &batchWriter{b: b}
		for _, k := range expired {
			w.delete(k)
		}
		return w.err
	})
}
