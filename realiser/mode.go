package realiser

import "fmt"

// Mode says what a request wants with its targets. A goal has one mode: who wants to
// have a derivation checked is not served by a goal that only makes it valid.
type Mode uint8

const (
	// ModeRealise makes targets valid.
	ModeRealise Mode = iota
	// ModeCheck builds derivations whose outputs are valid once more, and compares.
	ModeCheck
	// ModeRepair makes targets valid, and what is damaged of them and their closures good.
	ModeRepair
	// ModeRepairPath is ModeRepair of the targets alone.
	ModeRepairPath
)

var modeNames = [...]string{"realise", "check", "repair", "repair-path"}

func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// repairs reports whether contents are looked at, and not only whether paths are valid.
func (m Mode) repairs() bool { return m == ModeRepair || m == ModeRepairPath }

// MarshalText is String, for JSON.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (m *Mode) UnmarshalText(b []byte) error {
	for i, name := range modeNames {
		if name == string(b) {
			*m = Mode(i)
			return nil
		}
	}
	return fmt.Errorf("unknown mode %q", b)
}
