package builder

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"larder/realiser/hook"
	"larder/realiser/result"
	"larder/sandbox"
)

// maxHookOutput is how many bytes the pre-build hook may have to say.
const maxHookOutput = 1 << 20

// preBuildHook runs the program of the setting pre-build-hook and returns the
// files that it wants the builder to see. Its arguments are the derivation's path
// and, if the builder is kept from the files of the host, the directory with what
// is prepared for it: its build directory (build) and its /tmp (tmp).
func (b *build) preBuildHook() ([]sandbox.Mount, error) {
	program := b.opt.PreBuildHook
	if program == "" {
		return nil, nil
	}
	args := []string{b.name}
	if !b.noChroot {
		args = append(args, b.scratch.dir)
	}
	out, err := os.OpenFile(filepath.Join(b.scratch.dir, "hook"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	// What the hook says of the machine is not kept with the directory of a failed build.
	if err := os.Remove(out.Name()); err != nil {
		return nil, err
	}
	ctx := b.ctx
	if d := b.opt.Timeout; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, d, &limitError{result.TimedOut, fmt.Sprintf("pre-build hook '%s' timed out after %v", program, d)})
		defer cancel()
	}
	h := &hook.Hook{Path: program, Args: args, Dir: "/", Output: out, Line: func(line string) {
		b.opt.Logger.Warn("pre-build hook: "+line, "drv", b.Path.String())
	}}
	if err := h.Run(ctx); err != nil {
		return nil, fmt.Errorf("pre-build hook: %w", err)
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(out, maxHookOutput+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxHookOutput {
		return nil, fmt.Errorf("pre-build hook '%s' has printed more than %d bytes", program, maxHookOutput)
	}
	return parseHookOutput(string(text))
}

// parseHookOutput reads what a pre-build hook prints: the line
// extra-sandbox-paths, paths as the setting sandbox-paths has them, and an empty
// line; as often as it likes.
func parseHookOutput(text string) (mounts []sandbox.Mount, err error) {
	listing := false
	for line := range strings.Lines(text) {
		line, ended := strings.CutSuffix(line, "\n")
		switch {
		case !ended && line != "":
			return nil, fmt.Errorf("the last line of the pre-build hook is incomplete: '%s'", line)
		case listing && line == "":
			listing = false
		case listing:
			inside, outside, ok := strings.Cut(line, "=")
			if !ok {
				outside = inside
			}
			if !path.IsAbs(inside) || !path.IsAbs(outside) {
				return nil, fmt.Errorf("the pre-build hook names a path that is not absolute: '%s'", line)
			}
			mounts = append(mounts, sandbox.Mount{Source: path.Clean(outside), Target: path.Clean(inside)})
		case line == "extra-sandbox-paths" || line == "extra-chroot-dirs":
			listing = true
		default:
			return nil, fmt.Errorf("unknown pre-build hook command '%s'", line)
		}
	}
	return mounts, nil
}
