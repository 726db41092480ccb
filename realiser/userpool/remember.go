package userpool

import (
	"sync"
	"time"
)

// memoryTime is how long it may take until a change of users and groups is noticed.
const memoryTime = time.Minute

// remembering asks other accounts, each question once in memoryTime: name services take longer than a small build.
type remembering struct {
	from Accounts
	now  func() time.Time

	mu      sync.Mutex // guards answers
	answers map[any]answer
}

type answer struct {
	value any
	err   error
	at    time.Time
}

type (
	groupQuestion string
	userQuestion  string
	nameQuestion  int
)

// group is what Accounts.Group says.
type group struct {
	gid     int
	members []string
}

func remember(from Accounts) *remembering {
	return &remembering{from: from, now: time.Now, answers: map[any]answer{}}
}

// ask answers a question from memory, or else by what look finds. Two who ask at once may both look.
func (r *remembering) ask(question any, look func() (any, error)) (any, error) {
	r.mu.Lock()
	a, ok := r.answers[question]
	r.mu.Unlock()
	if ok && r.now().Sub(a.at) < memoryTime {
		return a.value, a.err
	}
	a = answer{at: r.now()}
	a.value, a.err = look()
	r.mu.Lock()
	r.answers[question] = a
	r.mu.Unlock()
	return a.value, a.err
}

func (r *remembering) Group(name string) (int, []string, error) {
	v, err := r.ask(groupQuestion(name), func() (any, error) {
		gid, members, err := r.from.Group(name)
		return group{gid, members}, err
	})
	return v.(group).gid, v.(group).members, err
}

func (r *remembering) User(name string) (Account, error) {
	v, err := r.ask(userQuestion(name), func() (any, error) { return r.from.User(name) })
	return v.(Account), err
}

func (r *remembering) UserName(uid int) (string, error) {
	v, err := r.ask(nameQuestion(uid), func() (any, error) { return r.from.UserName(uid) })
	return v.(string), err
}
