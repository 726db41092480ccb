package wire

import (
	"math"
	"strconv"
)

// Verbosity is how important a message is; a client sees those up to its own level.
type Verbosity uint8

const (
	VerbosityError Verbosity = iota
	VerbosityWarn
	VerbosityNotice
	VerbosityInfo
	VerbosityTalkative
	VerbosityChatty
	VerbosityDebug
	VerbosityVomit
)

// verbosity takes levels that do not exist for the highest: -vvvvvvvvv is no error.
func (c *coder) verbosity(p *Verbosity) {
	n := uint32(*p)
	number(c, &n, math.MaxUint32)
	*p = Verbosity(min(n, uint32(VerbosityVomit)))
}

// ActivityType is what an activity does. Clients show those that they know as
// progress.
type ActivityType uint32

const (
	ActivityUnknown       ActivityType = 0
	ActivityCopyPath      ActivityType = 100 // fields: path, from, to
	ActivityFileTransfer  ActivityType = 101 // fields: URL
	ActivityRealise       ActivityType = 102
	ActivityCopyPaths     ActivityType = 103
	ActivityBuilds        ActivityType = 104
	ActivityBuild         ActivityType = 105 // fields: derivation, machine, current round, rounds
	ActivityOptimiseStore ActivityType = 106
	ActivityVerifyPaths   ActivityType = 107
	ActivitySubstitute    ActivityType = 108 // fields: path, substituter
	ActivityQueryPathInfo ActivityType = 109 // fields: path, substituter
	ActivityPostBuildHook ActivityType = 110 // fields: derivation
	ActivityBuildWaiting  ActivityType = 111
	ActivityFetchTree     ActivityType = 112
)

// ResultType is what happened in an activity.
type ResultType uint32

const (
	ResultFileLinked       ResultType = 100 // fields: bytes saved, bytes on disk
	ResultBuildLogLine     ResultType = 101 // fields: line
	ResultUntrustedPath    ResultType = 102 // fields: path
	ResultCorruptedPath    ResultType = 103 // fields: path
	ResultSetPhase         ResultType = 104 // fields: phase
	ResultProgress         ResultType = 105 // fields: done, expected, running, failed
	ResultSetExpected      ResultType = 106 // fields: activity type, expected
	ResultPostBuildLogLine ResultType = 107 // fields: line
	ResultFetchStatus      ResultType = 108 // fields: text
)

// Field is a number or a text.
type Field struct {
	IsText bool
	Number uint64
	Text   string
}

// NumberField is a field with a number.
func NumberField(n uint64) Field { return Field{Number: n} }

// TextField is a field with a text.
func TextField(s string) Field { return Field{IsText: true, Text: s} }

func (f Field) String() string {
	if f.IsText {
		return f.Text
	}
	return strconv.FormatUint(f.Number, 10)
}

func (c *coder) field(f *Field) {
	kind := uint8(0)
	if f.IsText {
		kind = 1
	}
	number(c, &kind, 1)
	if c.err != nil {
		return
	}
	if f.IsText = kind == 1; f.IsText {
		c.text(&f.Text)
	} else {
		c.word(&f.Number)
	}
}
