package derivation

// Kind is how an output gets its store path. All outputs of a derivation are of
// one kind.
type Kind uint8

const (
	// InputAddressed outputs have a path that follows from the derivation.
	InputAddressed Kind = iota + 1
	// FixedOutput is content whose hash the derivation says beforehand.
	FixedOutput
	// FloatingCA outputs get a path that follows from their content.
	FloatingCA
	// Deferred outputs are input-addressed outputs whose path depends on
	// something that must be built first.
	Deferred
	// Impure outputs are as floating ones, but can differ each time.
	Impure
)

func (k Kind) String() string {
	switch k {
	case InputAddressed:
		return "input-addressed"
	case FixedOutput:
		return "fixed-output"
	case FloatingCA:
		return "content-addressed"
	case Deferred:
		return "deferred"
	case Impure:
		return "impure"
	}
	return "invalid"
}

// Kind is the kind of the output.
func (o Output) Kind() Kind {
	switch {
	case o.Impure:
		return Impure
	case !o.CA.IsZero():
		return FixedOutput
	case o.HashAlgo != 0:
		return FloatingCA
	case o.Path.IsZero():
		return Deferred
	}
	return InputAddressed
}

// Kind is the kind of the outputs of a valid derivation; 0 without outputs.
func (drv *Derivation) Kind() Kind {
	for _, o := range drv.Outputs {
		return o.Kind()
	}
	return 0
}
