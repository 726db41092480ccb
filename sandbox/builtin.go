package sandbox

// Builtin is a builder that is a function of the program that runs sandboxes: Nix's "builtin:" builders. It is run in the
// place of [Spec.Builder], in a process of its own, with the rights that every builder has and no other.
type Builtin struct {
	// Name is what Spec.Builtin says.
	Name string
	// Run does the work. Its working directory is the build directory, its standard streams are the log's, its environment
	// is empty. input is Spec.BuiltinInput. An error is written to the log, as "error: …", and makes the exit status 1.
	Run func(input []byte) error
}
