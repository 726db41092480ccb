package harness

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
)

// Status is what the tests look at of the daemon's status.
type Status struct {
	PID      int
	Mount    string
	Paths    int
	Realiser struct {
		Goals []struct {
			Kind, Path, Phase string
			Waiters           int
		}
		Counts struct{ Builds, Substitutions struct{ Done, Failed int } }
	}
}

// Status asks the daemon what goes on, over its control API. A plain user's daemon does not know root, so the user asks it.
func (s *Site) Status() (status Status) {
	s.t.Helper()
	if s.UID != os.Geteuid() {
		if err := json.Unmarshal([]byte(s.Must("--json", "status")), &status); err != nil {
			s.t.Fatal(err)
		}
		return status
	}
	client := http.Client{Timeout: Patience, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", s.socket)
		}}}
	res, err := client.Get("http://larder/v1/status")
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&status); err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("status of the daemon: %s, %v", res.Status, err)
	}
	return status
}

// Waiters is how many accesses wait for a path.
func (s *Site) Waiters(path string) int {
	s.t.Helper()
	status := s.Status()
	return status.waiters(path)
}

func (s *Status) waiters(path string) int {
	for _, g := range s.Realiser.Goals {
		if g.Kind == "path" && g.Path == filepath.Base(path) {
			return g.Waiters
		}
	}
	return 0
}

// AwaitWaiters waits until n accesses wait for a path.
func (s *Site) AwaitWaiters(path string, n int) {
	s.t.Helper()
	var status Status
	defer func() {
		if s.t.Failed() {
			s.t.Logf("%d should wait for %s; the daemon says: %+v", n, path, status)
		}
	}()
	Eventually(s.t, "all wait", func() bool {
		status = s.Status()
		return status.waiters(path) == n
	})
}
