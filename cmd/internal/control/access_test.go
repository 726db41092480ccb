package control

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"os/user"
	"strings"
	"testing"

	"larder/realiser"
	"larder/store"
)

func TestAccess(t *testing.T) {
	nobodyUser, err := user.Lookup("nobody")
	if err != nil {
		t.Skipf("there is no user nobody: %v", err)
	}
	group, err := user.LookupGroupId(nobodyUser.Gid)
	if err != nil {
		t.Skipf("nobody's group has no name: %v", err)
	}
	stranger := store.Caller{UID: 65534, GID: 65534, PID: 1}
	for _, c := range []struct {
		allowed Allowed
		caller  store.Caller
		want    access
	}{
		{nil, store.Caller{UID: 0}, owner},
		{nil, store.Caller{UID: uint32(os.Geteuid())}, owner},
		{nil, stranger, nobody},
		{Allowed{"*"}, stranger, anyUser},
		{Allowed{"root"}, stranger, nobody},
		{Allowed{"nobody"}, stranger, anyUser},
		{Allowed{"@" + group.Name}, stranger, anyUser},
		{Allowed{"@root", "@no-such-group"}, stranger, nobody},
		{Allowed{"nobody"}, store.Caller{UID: 4_000_000_000}, nobody},
	} {
		if got := c.allowed.access(c.caller); got != c.want {
			t.Errorf("allowed-users %v, %v: %d, want %d", c.allowed, c.caller, got, c.want)
		}
	}
	for _, r := range routes {
		for _, changes := range []string{"POST /v1/roots", "POST /v1/gc", "POST /v1/verify", "POST /v1/optimise"} {
			if r.pattern == changes && r.needs != owner {
				t.Errorf("%s is for anybody", r.pattern)
			}
		}
	}
}

// Who does not own the store may check builds, and repair nothing.
func TestModesOfOthers(t *testing.T) {
	for mode, allowed := range map[realiser.Mode]bool{realiser.ModeRealise: true, realiser.ModeCheck: true, realiser.ModeRepair: false, realiser.ModeRepairPath: false} {
		body := `{"targets": [], "mode": "` + mode.String() + `"}`
		h := httptest.NewRequest("POST", "/v1/realise", strings.NewReader(body))
		h.Header.Set("Content-Type", "application/json")
		r := &request{Request: h, w: httptest.NewRecorder(), service: idle{}, permit: func(access) error { return ErrDenied }}
		if err := r.realise(); errors.Is(err, ErrDenied) == allowed {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

// idle is a service that realises nothing.
type idle struct{ Service }

func (idle) Realise(context.Context, store.Caller, RealiseRequest, func(realiser.Event)) (*realiser.Outcome, error) {
	return &realiser.Outcome{}, nil
}
