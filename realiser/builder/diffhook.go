package builder

import (
	"os"
	"syscall"

	"larder/realiser/hook"
	"larder/realiser/userpool"
)

// runDiffHook shows two different outputs to the diff-hook (nix.conf(5)): it is run
// in / as the builder's user, with the two, the derivation and the build directory
// as arguments. What it says is told; that it fails is no failure of the build.
func (b *build) runDiffHook(a, z string) {
	if b.opt.DiffHook == "" {
		return
	}
	h := &hook.Hook{Path: b.opt.DiffHook, Args: []string{a, z, b.name, b.scratch.build}, Env: os.Environ(), Dir: "/", Line: b.tell}
	if b.user.UID != userpool.CallingUser {
		h.User = &syscall.Credential{Uid: uint32(b.user.UID), Gid: uint32(b.user.GID)}
		for _, g := range b.user.Groups {
			h.User.Groups = append(h.User.Groups, uint32(g))
		}
	}
	if err := h.Run(b.ctx); err != nil && b.ctx.Err() == nil {
		b.tell("warning: diff hook: " + err.Error())
	}
}
