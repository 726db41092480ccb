package engine

import (
	"larder/realiser/builder"
	"strings"
	"testing"
)

func TestOwnUsers(t *testing.T) {
	for _, c := range []struct {
		uidMap string
		want   int
	}{
		{"         0          0 4294967295\n", 3},
		{"0 100000 65536\n", 0},
		{"0 100000 65536\n872415232 872415232 2\n", 0},
		{"0 100000 65536\n872415232 872415232 3\n", 3},
	} {
		users, err := ownUsers(3, strings.NewReader(c.uidMap))
		if err != nil || len(users) != c.want {
			t.Errorf("%q: %v, %v", c.uidMap, users, err)
		}
		seen := map[builder.BuildUser]bool{}
		for _, u := range users {
			if seen[u] || u.UID < 65536 || u.GID != u.UID {
				t.Errorf("%q: %v", c.uidMap, users)
			}
			seen[u] = true
		}
	}
	if _, err := ownUsers(1, strings.NewReader("nonsense")); err == nil {
		t.Error("nonsense is a map")
	}
	if users, err := buildUsers("", 2, 1000); err != nil || users != nil {
		t.Errorf("a plain user has build users: %v, %v", users, err)
	}
	if users, err := buildUsers("", 2, 0); err != nil || users != nil && len(users) != 2 {
		t.Errorf("root has %v, %v", users, err)
	}
}
