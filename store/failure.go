package store

import "time"

// Failure says that a build failed in a way that trying again would not mend.
type Failure struct {
	Path   StorePath `json:"path"`            // an output; the derivation itself where its outputs are not known before they are built
	Drv    StorePath `json:"drv"`             // what was built
	Status string    `json:"status"`          // Nix's name of the build status: PermanentFailure, OutputRejected, NotDeterministic
	Error  string    `json:"error,omitempty"` // one line
	Time   time.Time `json:"time"`
}
