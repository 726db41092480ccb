package program

import (
	"bufio"
	"errors"
	"io"
	"strconv"

	"larder/store"
)

// maxReferences bounds the references of a record.
const maxReferences = 100_000

// readRecord reads what Nix 1 and earlier called a path info, after its first line. Those of sessions tell sizes.
func (p *Program) readRecord(r *bufio.Reader, path string, sizes bool) (*store.NarInfo, error) {
	n := &store.NarInfo{Compression: "none"}
	var err error
	if n.Path, err = p.opt.StoreDir.Parse(path); err != nil {
		return nil, corruptf("%w", err)
	}
	deriver, err := readLine(r)
	if err != nil {
		return nil, err
	}
	if deriver != "" {
		if n.Deriver, err = p.opt.StoreDir.Parse(deriver); err != nil {
			return nil, corruptf("deriver: %w", err)
		}
	}
	count, err := readNumber(r)
	if err != nil {
		return nil, err
	}
	if count > maxReferences {
		return nil, corruptf("%d references are more than %d", count, maxReferences)
	}
	for range count {
		l, err := readLine(r)
		if err != nil {
			return nil, err
		}
		ref, err := p.opt.StoreDir.Parse(l)
		if err != nil {
			return nil, corruptf("reference: %w", err)
		}
		n.References = append(n.References, ref)
	}
	n.References = store.SortPaths(n.References)
	if sizes {
		if n.FileSize, err = readNumber(r); err != nil {
			return nil, err
		}
		if n.NarSize, err = readNumber(r); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func readNumber(r *bufio.Reader) (uint64, error) {
	l, err := readLine(r)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(l, 10, 63)
	if err != nil {
		return 0, corruptf("%q is not a number", clip(l))
	}
	return n, nil
}

// atEnd reports whether nothing follows.
func atEnd(r *bufio.Reader) (bool, error) {
	_, err := r.Peek(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}
