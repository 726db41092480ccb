package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/ulikunitz/xz"
	"larder/nar"
	"larder/store"
)

// benchNAR is the NAR of some source code: what a store is full of, and there wherever Go is.
var benchNAR = sync.OnceValues(func() ([]byte, error) {
	var b bytes.Buffer
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	root := filepath.Join(string(bytes.TrimSpace(out)), "src", "cmd", "compile")
	_, err = nar.Dump(context.Background(), &b, root)
	return b.Bytes(), err
})

func benchFile(b *testing.B, compression string) (plain, file []byte) {
	b.Helper()
	plain, err := benchNAR()
	if err != nil {
		b.Skip("the Go source code is not there: ", err)
	}
	level := 0
	if compression == "xz" {
		level = 3
	}
	return plain, encoded(b, compression, level, plain)
}

// BenchmarkDecode measures decoders alone, beside their peers.
func BenchmarkDecode(b *testing.B) {
	run := func(name string, plain []byte, open func() io.ReadCloser) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			for b.Loop() {
				r := open()
				if n, err := io.Copy(io.Discard, struct{ io.Reader }{r}); err != nil || n != int64(len(plain)) {
					b.Fatal(n, err)
				}
				r.Close()
			}
		})
	}
	for _, name := range []string{"xz", "zstd", "gzip", "bzip2", "br", "none"} {
		plain, file := benchFile(b, name)
		run(name, plain, func() io.ReadCloser { return &lazyDecoder{compression: name, src: bytes.NewReader(file)} })
	}
	plain, file := benchFile(b, "xz")
	run("peer=ulikunitz/xz", plain, func() io.ReadCloser {
		r, err := xz.NewReader(bytes.NewReader(file))
		if err != nil {
			b.Fatal(err)
		}
		return io.NopCloser(r)
	})
}

// BenchmarkFetch measures the whole way, fetched over the loopback, decompressed and hashed, beside a pipe of programs
// that does the same.
func BenchmarkFetch(b *testing.B) {
	for _, compression := range []string{"xz", "zstd"} {
		plain, file := benchFile(b, compression)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(file) }))
		defer server.Close()
		c, err := Open(b.Context(), server.URL, Options{})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		n := &store.NarInfo{URL: "nar/x", Compression: compression}
		n.NarSize = uint64(len(plain))
		b.Run(compression, func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			for b.Loop() {
				r, err := c.NAR(b.Context(), n)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(sha256.New(), r); err != nil {
					b.Fatal(err)
				}
				r.Close()
			}
		})
		b.Run(compression+"/peer=pipe", func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			for b.Loop() {
				cmd := exec.Command("sh", "-c", "curl -sf "+server.URL+"/nar/x | "+compression+" -dc | sha256sum")
				if out, err := cmd.CombinedOutput(); err != nil {
					b.Skipf("curl, xz and zstd are needed: %v: %s", err, out)
				}
			}
		})
	}
}
