package result

import (
	"fmt"
	"strconv"
)

// Status says how a goal ended. The numbers are those of Nix's BuildResult on
// the wire (Nix manual, "Build result").
type Status uint8

const (
	Built                  Status = 0
	Substituted            Status = 1
	AlreadyValid           Status = 2
	PermanentFailure       Status = 3
	InputRejected          Status = 4 // refused before the builder ran
	OutputRejected         Status = 5 // the builder succeeded, what it made is refused
	TransientFailure       Status = 6 // may go away by itself: a download, a fixed-output builder
	CachedFailure          Status = 7
	TimedOut               Status = 8
	MiscFailure            Status = 9
	DependencyFailed       Status = 10
	LogLimitExceeded       Status = 11
	NotDeterministic       Status = 12
	ResolvesToAlreadyValid Status = 13
	NoSubstituters         Status = 14
)

var statusNames = [...]string{
	"Built", "Substituted", "AlreadyValid", "PermanentFailure", "InputRejected", "OutputRejected", "TransientFailure",
	"CachedFailure", "TimedOut", "MiscFailure", "DependencyFailed", "LogLimitExceeded", "NotDeterministic",
	"ResolvesToAlreadyValid", "NoSubstituters",
}

// String is Nix's name for the status.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return "Status(" + strconv.Itoa(int(s)) + ")"
}

// Success reports whether the status is one of those in which the outputs are valid.
func (s Status) Success() bool {
	return s == Built || s == Substituted || s == AlreadyValid || s == ResolvesToAlreadyValid
}

// MarshalText is String, for JSON.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (s *Status) UnmarshalText(b []byte) error {
	for i, name := range statusNames {
		if name == string(b) {
			*s = Status(i)
			return nil
		}
	}
	return fmt.Errorf("unknown build status %q", b)
}
