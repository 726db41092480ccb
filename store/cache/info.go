package cache

import (
	"fmt"
	"strconv"
	"strings"

	"larder/store"
)

const (
	infoName = "nix-cache-info"
	maxInfo  = 64 << 10 // bytes of nix-cache-info

	// DefaultPriority is that of a cache that names none, as in Nix.
	DefaultPriority = 50
)

// Info is what a cache says of itself.
type Info struct {
	StoreDir      store.Dir
	Priority      int  // lower is asked earlier
	WantMassQuery bool // it does not mind being asked for everything
}

// ParseInfo parses the text of nix-cache-info. As in Nix, lines that are no "Key: value" and unknown keys are skipped, and
// every key may be missing: StoreDir is "" then. A web page is refused, though: that is what captive portals send.
func ParseInfo(text string) (Info, error) {
	i := Info{Priority: DefaultPriority}
	if strings.HasPrefix(strings.TrimSpace(text), "<") {
		return i, fmt.Errorf("%s is a web page", infoName)
	}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		var err error
		switch key {
		case "StoreDir":
			i.StoreDir, err = store.ParseDir(value)
		case "Priority":
			i.Priority, err = strconv.Atoi(value)
		case "WantMassQuery":
			i.WantMassQuery = value == "1"
		}
		if err != nil {
			return i, fmt.Errorf("%s: %s: %w", infoName, key, err)
		}
	}
	return i, nil
}

// Text prints the info as Nix does. Priority is left out if it is the default.
func (i Info) Text() string {
	text := fmt.Sprintf("StoreDir: %s\n", i.StoreDir)
	if i.WantMassQuery {
		text += "WantMassQuery: 1\n"
	}
	if i.Priority != DefaultPriority {
		text += fmt.Sprintf("Priority: %d\n", i.Priority)
	}
	return text
}
