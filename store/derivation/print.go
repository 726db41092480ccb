package derivation

import (
	"maps"
	"slices"

	"larder/store"
)

// ATerm prints the text of the .drv file, byte for byte as Nix does.
func (drv *Derivation) ATerm(d store.Dir) []byte {
	inputs := make([]inputRef, 0, len(drv.InputDrvs))
	for _, p := range slices.SortedFunc(maps.Keys(drv.InputDrvs), store.StorePath.Compare) {
		inputs = append(inputs, inputRef{d.Join(p), drv.Use(p)})
	}
	return drv.appendATerm(nil, d, inputs, false)
}

// inputRef is an input as it appears in the text: its store path, or its hash
// modulo.
type inputRef struct {
	key string
	use Use
}

// appendATerm prints the derivation with the inputs given. If mask is set the
// outputs' paths are left out, in the outputs and in the environment.
func (drv *Derivation) appendATerm(b []byte, d store.Dir, inputs []inputRef, mask bool) []byte {
	b = slices.Grow(b, drv.textSize())
	if drv.IsDynamic() {
		b = append(appendString(append(b, versionPrefix...), dynamicVersion), ',')
	} else {
		b = append(b, derivePrefix...)
	}
	b = appendList(b, drv.OutputNames(), func(b []byte, name string) []byte {
		path, algo, hash := drv.Outputs[name].Texts(d)
		if mask {
			path = ""
		}
		return appendTuple(b, name, path, algo, hash)
	})
	b = append(b, ',')
	b = appendList(b, inputs, func(b []byte, in inputRef) []byte {
		b = appendString(append(b, '('), in.key)
		return append(appendUse(append(b, ','), in.use), ')')
	})
	b = append(b, ',')
	b = appendList(b, drv.InputSrcs, func(b []byte, p store.StorePath) []byte {
		return appendString(b, d.Join(p))
	})
	b = appendString(append(b, ','), drv.System)
	b = appendString(append(b, ','), drv.Builder)
	b = appendList(append(b, ','), drv.Args, appendString)
	b = append(b, ',')
	b = appendList(b, slices.Sorted(maps.Keys(drv.Env)), func(b []byte, key string) []byte {
		value := drv.Env[key]
		if _, ok := drv.Outputs[key]; ok && mask {
			value = ""
		}
		return appendTuple(b, key, value)
	})
	return append(b, ')')
}

// textSize estimates the length of the text, so that printing rarely has to
// grow its buffer.
func (drv *Derivation) textSize() int {
	const path, separators = 100, 8
	n := path * (1 + 2*len(drv.Outputs) + len(drv.InputDrvs) + len(drv.InputSrcs))
	for _, a := range drv.Args {
		n += len(a) + separators
	}
	for k, v := range drv.Env {
		n += len(k) + len(v) + separators
	}
	return n + n/16 // escapes
}

func appendList[T any](b []byte, list []T, element func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i, e := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = element(b, e)
	}
	return append(b, ']')
}

func appendTuple(b []byte, fields ...string) []byte {
	sep := byte('(')
	for _, f := range fields {
		b = appendString(append(b, sep), f)
		sep = ','
	}
	return append(b, ')')
}
