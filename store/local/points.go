package local

// The named points where Testing.Hook is called: between the steps that a crash may separate.
const (
	pointPrepared  = "register: prepared"  // checked, nothing noted
	pointNoted     = "register: noted"     // data and intents durable
	pointRename    = "register: rename"    // before each rename
	pointRenamed   = "register: renamed"   // all in place, not committed
	pointCommitted = "register: committed" // committed, intents still there
	pointSwap      = "replace: noted"      // the new object and the intent are durable
	pointSwapped   = "replace: swapped"    // the new object is in place, its info is not
	pointReplaced  = "replace: committed"  // done, the old object still has the temporary name
	pointShare     = "optimise: link"      // before a file is replaced by a link
	pointInvalid   = "gc: invalid"         // a batch is invalid, its files still in place
	pointTrash     = "gc: trash"           // before each rename to the trash
	pointUnlink    = "gc: unlink"          // before each tree is unlinked
	pointSwept     = "gc: swept"           // before the notes of a finished GC are settled
	pointRecover   = "recover: repaired"   // Open has repaired, the notes are still there
)
