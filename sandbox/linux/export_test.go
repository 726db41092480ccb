package linux

// RefuseOverlays makes r behave as where the kernel refuses overlays.
func (r *Runner) RefuseOverlays() { r.plainStore.Store(true) }
