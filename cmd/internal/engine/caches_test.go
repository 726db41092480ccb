package engine_test

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"larder/cmd/internal/config"
	"larder/cmd/internal/engine"
)

// TestFilesOfDownloads: netrc-file and ssl-cert-file reach the caches; what is not there is as good as empty, nonsense is not.
func TestFilesOfDownloads(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	c := config.Default()

	c.NetrcFile, c.SSLCertFile = filepath.Join(dir, "absent"), filepath.Join(dir, "absent")
	o, err := engine.CacheOptions(c)
	if _, _, ok := o.Netrc.Find("a"); err != nil || ok || o.Authorities != nil {
		t.Errorf("absent files: %v, %+v", err, o)
	}
	c.NetrcFile, c.SSLCertFile = file("netrc", "machine a login b password c"), file("ca", certificate)
	o, err = engine.CacheOptions(c)
	if login, password, _ := o.Netrc.Find("a"); err != nil || login+password != "bc" || o.Authorities == nil {
		t.Errorf("%v, %+v", err, o)
	}
	c.SSLCertFile = file("nonsense", "no certificate")
	if _, err = engine.CacheOptions(c); err == nil || !strings.Contains(err.Error(), "setting ssl-cert-file") {
		t.Errorf("no certificates: %v", err)
	}
	c.SSLCertFile, c.NetrcFile = "", file("long", strings.Repeat("#", 1<<20+1))
	if _, err = engine.CacheOptions(c); err == nil || !strings.Contains(err.Error(), "setting netrc-file") {
		t.Errorf("a netrc of a megabyte: %v", err)
	}
}
