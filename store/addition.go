package store

// Addition is an object that is ready to be registered: it lies complete and
// in canonical form under a temporary name in the object directory of the store
// that will register it.
type Addition struct {
	Info *PathInfo
	Temp string // base name in the object directory
}
