package derivation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"larder/store"
)

// Format is a version of the JSON form of derivations.
type Format int

const (
	// FormatShow is what `nix show-derivation` of Nix 2.8 prints: absolute
	// paths, method and algorithm in one ("r:sha256"), structured attributes as
	// text in the environment. It says neither its version nor the name.
	FormatShow Format = 0
	// Format4 is version 4, of Nix 2.33: base names, inputs apart, hashes in SRI
	// form, structured attributes as JSON.
	Format4 Format = 4
)

// JSON prints one derivation, without white space. It fails for strings that
// JSON can't hold, because they are not UTF-8, and for structured attributes
// that are not JSON.
func (drv *Derivation) JSON(d store.Dir, f Format) ([]byte, error) {
	w := &jsonWriter{}
	switch f {
	case FormatShow:
		if drv.IsDynamic() {
			return nil, fmt.Errorf("derivation %s uses dynamic derivations, which this form can't say: %w", drv.Name, ErrUnsupported)
		}
		drv.writeShow(w, d)
	case Format4:
		drv.write4(w)
	default:
		return nil, fmt.Errorf("derivation JSON version %d: %w", f, ErrUnsupported)
	}
	if w.err != nil {
		return nil, fmt.Errorf("derivation %s: %w", drv.Name, w.err)
	}
	return w.buf, nil
}

// ShowJSON prints derivations with their paths, indented, as
// `nix show-derivation` and `nix derivation show` do.
func ShowJSON(d store.Dir, f Format, drvs map[store.StorePath]*Derivation) ([]byte, error) {
	w := &jsonWriter{}
	byPath := func() {
		w.object(func() {
			for _, p := range slices.SortedFunc(maps.Keys(drvs), store.StorePath.Compare) {
				text, err := drvs[p].JSON(d, f)
				if err != nil {
					w.err = err
					return
				}
				if f == FormatShow {
					w.key(d.Join(p))
				} else {
					w.key(p.String())
				}
				w.raw(text)
			}
		})
	}
	if f == FormatShow {
		byPath()
	} else {
		w.object(func() {
			w.key("derivations")
			byPath()
			w.key("version")
			w.raw(fmt.Append(nil, int(f)))
		})
	}
	if w.err != nil {
		return nil, w.err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, w.buf, "", "  "); err != nil {
		return nil, err
	}
	return append(b.Bytes(), '\n'), nil
}

func (drv *Derivation) writeShow(w *jsonWriter, d store.Dir) {
	w.object(func() {
		w.key("outputs")
		w.object(func() {
			for _, name := range drv.OutputNames() {
				o := drv.Outputs[name]
				path, algo, hash := o.Texts(d)
				w.key(name)
				w.object(func() {
					w.optional("path", path)
					w.optional("hashAlgo", algo)
					if o.Impure {
						w.key("impure")
						w.raw([]byte("true"))
					} else {
						w.optional("hash", hash)
					}
				})
			}
		})
		w.key("inputSrcs")
		w.strings(pathTexts(drv.InputSrcs, d.Join))
		w.key("inputDrvs")
		w.object(func() {
			for _, p := range slices.SortedFunc(maps.Keys(drv.InputDrvs), store.StorePath.Compare) {
				w.key(d.Join(p))
				w.strings(drv.InputDrvs[p])
			}
		})
		drv.writeStep(w, drv.Env)
	})
}

func (drv *Derivation) write4(w *jsonWriter) {
	w.object(func() {
		w.optional("name", drv.Name)
		w.key("version")
		w.raw([]byte("4"))
		w.key("outputs")
		w.object(func() {
			for _, name := range drv.OutputNames() {
				w.key(name)
				w.object(func() { drv.Outputs[name].write4(w) })
			}
		})
		w.key("inputs")
		w.object(func() {
			w.key("srcs")
			w.strings(pathTexts(drv.InputSrcs, store.StorePath.String))
			w.key("drvs")
			w.object(func() {
				for _, p := range slices.SortedFunc(maps.Keys(drv.InputDrvs), store.StorePath.Compare) {
					w.key(p.String())
					w.use(drv.Use(p))
				}
			})
		})
		env, attrs := drv.Env, json.RawMessage(nil)
		if a, ok := drv.StructuredAttrs(); ok {
			attrs, env = a, maps.Clone(env)
			delete(env, jsonVariable)
		}
		drv.writeStep(w, env)
		if attrs != nil {
			var err error
			if attrs, err = canonicalJSON(attrs); err != nil && w.err == nil {
				w.err = fmt.Errorf("structured attributes: %w", err)
			}
			w.key("structuredAttrs")
			w.raw(attrs)
		}
	})
}

// use prints what is used of an input.
func (w *jsonWriter) use(u Use) {
	w.object(func() {
		w.key("outputs")
		w.strings(u.Outputs)
		w.key("dynamicOutputs")
		w.object(func() {
			for _, name := range slices.Sorted(maps.Keys(u.Dynamic)) {
				w.key(name)
				w.use(u.Dynamic[name])
			}
		})
	})
}

func (o Output) write4(w *jsonWriter) {
	switch o.Kind() {
	case InputAddressed:
		w.optional("path", o.Path.String())
	case FixedOutput:
		w.optional("method", o.CA.Method.String())
		w.optional("hash", o.CA.Hash.Text(store.SRI))
	case FloatingCA, Impure:
		w.optional("method", o.Method.String())
		w.optional("hashAlgo", o.HashAlgo.String())
		if o.Impure {
			w.key("impure")
			w.raw([]byte("true"))
		}
	}
}

// writeStep prints what all formats have in common.
func (drv *Derivation) writeStep(w *jsonWriter, env map[string]string) {
	w.key("system")
	w.string(drv.System)
	w.key("builder")
	w.string(drv.Builder)
	w.key("args")
	w.strings(drv.Args)
	w.key("env")
	w.object(func() {
		for _, k := range slices.Sorted(maps.Keys(env)) {
			w.key(k)
			w.string(env[k])
		}
	})
}

func pathTexts(paths []store.StorePath, text func(store.StorePath) string) []string {
	s := make([]string, 0, len(paths))
	for _, p := range paths {
		s = append(s, text(p))
	}
	return s
}

var errNotUTF8 = errors.New("JSON can't hold a string that is not UTF-8")
