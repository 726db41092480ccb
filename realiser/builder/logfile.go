package builder

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/dsnet/compress/bzip2"
)

// CompressedLog is how the names of compressed logs end. It tells readers, Nix's
// client among them, how to read one.
const CompressedLog = ".bz2"

// logFile keeps the raw output of a builder. Under its name it is always complete.
type logFile struct {
	path  string        // "": nothing is kept
	file  *os.File      // nil: not opened yet, or err is set
	bzip2 *bzip2.Writer // nil: not compressed
	err   error         // the first
}

// bzip2Writers are kept because one takes a megabyte of tables.
var bzip2Writers = sync.Pool{New: func() any {
	// The level is the size of blocks; small ones are as good for logs.
	w, err := bzip2.NewWriter(nil, &bzip2.WriterConfig{Level: bzip2.BestSpeed})
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

func (f *logFile) unfinished() string { return f.path + ".tmp" }

// write keeps the error for close.
func (f *logFile) write(p []byte) {
	if f.path == "" {
		return
	}
	if f.file == nil && f.err == nil {
		f.open()
	}
	if f.err != nil {
		return
	}
	var w io.Writer = f.file
	if f.bzip2 != nil {
		w = f.bzip2
	}
	_, f.err = w.Write(p)
}

func (f *logFile) open() {
	if f.err = os.MkdirAll(filepath.Dir(f.path), 0o755); f.err != nil {
		return
	}
	if f.file, f.err = os.Create(f.unfinished()); f.err != nil {
		return
	}
	if strings.HasSuffix(f.path, CompressedLog) {
		f.bzip2 = bzip2Writers.Get().(*bzip2.Writer)
		f.err = f.bzip2.Reset(f.file)
	}
}

// close gives the file its name, also if nothing was written. The log of an earlier
// build goes, in whichever form it was.
func (f *logFile) close() error {
	f.write(nil)
	if f.file == nil {
		return f.err
	}
	err := f.err
	if f.bzip2 != nil {
		err = errors.Join(err, f.bzip2.Close())
		bzip2Writers.Put(f.bzip2)
	}
	err = errors.Join(err, f.file.Close())
	if err == nil {
		err = os.Rename(f.unfinished(), f.path)
	}
	f.file, f.bzip2, f.err = nil, nil, err
	if err != nil {
		return errors.Join(err, os.Remove(f.unfinished()))
	}
	other, compressed := strings.CutSuffix(f.path, CompressedLog)
	if !compressed {
		other += CompressedLog
	}
	if err := os.Remove(other); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
