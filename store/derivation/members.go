package derivation

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// members are those of an object that have not been used yet.
type members map[string]json.RawMessage

// take decodes a member and removes it. Null is as good as nothing for
// what is not required.
func (m members) take(key string, required bool, dst any) error {
	text, ok := m[key]
	delete(m, key)
	if !ok || string(text) == "null" {
		if required {
			return fmt.Errorf("it has no %q", key)
		}
		return nil
	}
	if err := json.Unmarshal(text, dst); err != nil {
		return fmt.Errorf("%q: %w", key, err)
	}
	return nil
}

// takeStrings takes a list of strings. The decoder would read null as "".
func (m members) takeStrings(key string, dst *[]string) error {
	var list []*string
	if err := m.take(key, true, &list); err != nil {
		return err
	}
	*dst = make([]string, 0, len(list))
	for _, s := range list {
		if s == nil {
			return fmt.Errorf("%q has a null in it", key)
		}
		*dst = append(*dst, *s)
	}
	return nil
}

func (m members) takeEnv(drv *Derivation) error {
	var env map[string]*string
	if err := m.take("env", true, &env); err != nil {
		return err
	}
	for k, v := range env {
		if v == nil {
			return fmt.Errorf("environment variable %q is null", k)
		}
		drv.Env[k] = *v
	}
	return nil
}

// rest complains about what is left: a misspelt member must not be ignored.
func (m members) rest() error {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		return fmt.Errorf("unknown member %q", key)
	}
	return nil
}

// firstError makes the line that the user sees out of several checks, all of
// which were made.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
