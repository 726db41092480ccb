package main

import (
	"crypto/sha256"
	"io"

	"larder/nar"
)

// nar compares CPU time of serialising and hashing a tree with hashing alone.
// What a file costs, however small, is system calls: so there are two trees.
func (s *suite) nar() []contest {
	row := func(what string, tree string) contest {
		return contest{
			name: "NAR dump + SHA-256 of " + what + ", CPU",
			peer: "SHA-256 of the same bytes",
			aim:  "≤ 1.15",
			by:   cpu,
			pair: func() (pair, error) { return s.dumpAndHash(tree) },
		}
	}
	return []contest{
		row("the machine's libraries", "/usr/lib/x86_64-linux-gnu"),
		row("the machine's headers (15 kB a file)", "/usr/include"),
	}
}

func (s *suite) dumpAndHash(tree string) (pair, error) {
	var bytes sliceWriter
	if _, err := nar.Dump(s.ctx, &bytes, tree); err != nil {
		return pair{}, err
	}
	return pair{
		ours: side{work: func() error {
			_, err := nar.Dump(s.ctx, sha256.New(), tree)
			return err
		}},
		peer: side{work: func() error {
			_, err := sha256.New().Write(bytes)
			return err
		}},
	}, nil
}

// sliceWriter keeps what is written.
type sliceWriter []byte

func (w *sliceWriter) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}

var _ io.Writer = (*sliceWriter)(nil)
