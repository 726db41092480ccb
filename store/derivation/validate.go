package derivation

import (
	"fmt"
	"strings"

	"larder/store"
)

// Validate checks what can be checked without the inputs: names, that the
// outputs go together, order of inputs, and that builder, arguments and
// environment can be passed to a process. It returns an [*InvalidError]. What
// Parse and FromJSON return is valid.
func (drv *Derivation) Validate() error {
	bad := func(format string, args ...any) error {
		return &InvalidError{Name: drv.Name, Reason: fmt.Sprintf(format, args...)}
	}
	if err := store.CheckName(drv.Name + ".drv"); err != nil {
		return bad("%v", err)
	}
	if err := drv.validateOutputs(bad); err != nil {
		return err
	}
	for p := range drv.InputDrvs {
		if !p.IsDerivation() {
			return bad("the input derivation %s is not named .drv", p)
		}
		if err := drv.Use(p).validate(p, 0); err != nil {
			return bad("%v", err)
		}
	}
	for p := range drv.DynamicInputs {
		if _, ok := drv.InputDrvs[p]; !ok || len(drv.DynamicInputs[p]) == 0 {
			return bad("%s has dynamic outputs and is no input, or none and is among those that do", p)
		}
	}
	if !sortedUnique(drv.InputSrcs, store.StorePath.Compare) {
		return bad("the input sources are not sorted or not unique")
	}
	if strings.IndexByte(drv.Builder, 0) >= 0 {
		return bad("the builder has a zero byte")
	}
	for _, a := range drv.Args {
		if strings.IndexByte(a, 0) >= 0 {
			return bad("an argument has a zero byte")
		}
	}
	for k, v := range drv.Env {
		if strings.IndexByte(k, 0) >= 0 || strings.IndexByte(v, 0) >= 0 {
			return bad("environment variable %q has a zero byte", k)
		}
	}
	return nil
}

func (drv *Derivation) validateOutputs(bad func(string, ...any) error) error {
	if len(drv.Outputs) == 0 {
		return bad("it has no outputs")
	}
	names := drv.OutputNames()
	first := drv.Outputs[names[0]]
	for _, name := range names {
		o := drv.Outputs[name]
		if err := store.CheckName(name); err != nil {
			return bad("output: %v", err)
		}
		if err := store.CheckName(store.OutputPathName(drv.Name, name)); err != nil {
			return bad("output %q: %v", name, err)
		}
		if o.Kind() != first.Kind() {
			return bad("output %q is %s, but %q is %s: they can't be mixed", name, o.Kind(), names[0], first.Kind())
		}
		switch o.Kind() {
		case FixedOutput:
			if o.CA.Hash.IsZero() {
				return bad("output %q has no hash", name)
			}
			if len(names) > 1 || name != "out" {
				return bad("a fixed-output derivation has a single output called \"out\"")
			}
			if err := o.CA.Method.CheckAlgo(o.CA.Hash.Algo()); err != nil {
				return bad("output %q: %v", name, err)
			}
			if o.HashAlgo != 0 || o.Method != 0 {
				return bad("output %q is both fixed and floating", name)
			}
		case FloatingCA, Impure:
			switch {
			case o.HashAlgo == 0 || o.Method == 0:
				return bad("output %q needs a hash algorithm and a method", name)
			case !o.Path.IsZero() || !o.CA.IsZero():
				return bad("output %q is %s and can't have a path", name, o.Kind())
			case o.HashAlgo != first.HashAlgo:
				return bad("all outputs must use the same hash algorithm")
			case o.Method.CheckAlgo(o.HashAlgo) != nil:
				return bad("output %q: %v", name, o.Method.CheckAlgo(o.HashAlgo))
			}
		}
	}
	return nil
}

func sortedUnique[T any](s []T, compare func(T, T) int) bool {
	for i := range len(s) - 1 {
		if compare(s[i], s[i+1]) >= 0 {
			return false
		}
	}
	return true
}
