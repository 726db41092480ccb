package userpool

import (
	"errors"
	"os/user"
	"testing"
	"time"
)

// counting is accounts that count how often they are asked.
type counting struct{ asked int }

func (c *counting) Group(string) (int, []string, error) {
	c.asked++
	return c.asked, []string{"a"}, nil
}

func (c *counting) User(string) (Account, error) {
	c.asked++
	return Account{UID: c.asked}, nil
}

func (c *counting) UserName(uid int) (string, error) {
	c.asked++
	return "", user.UnknownUserIdError(uid)
}

func TestRemember(t *testing.T) {
	from := &counting{}
	r := remember(from)
	now := time.Now()
	r.now = func() time.Time { return now }
	for range 3 {
		gid, members, err := r.Group("x")
		if gid != 1 || len(members) != 1 || err != nil {
			t.Error(gid, members, err)
		}
		if a, err := r.User("x"); a.UID != 2 || err != nil {
			t.Error(a, err)
		}
		if _, err := r.UserName(7); !errors.As(err, new(user.UnknownUserIdError)) {
			t.Error(err)
		}
	}
	if from.asked != 3 {
		t.Errorf("asked %d times", from.asked)
	}
	now = now.Add(memoryTime)
	if a, _ := r.User("x"); a.UID != 4 {
		t.Errorf("a minute later: %+v", a)
	}
	if _, err := r.UserName(8); err == nil || from.asked != 5 {
		t.Errorf("another question: %v after %d", err, from.asked)
	}
}
