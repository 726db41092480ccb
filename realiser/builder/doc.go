// Package builder runs builders: one build, from "its inputs are valid" to "its
// outputs are ready to be registered". Which build runs when, and who waits for
// it, is the business of the realiser.
//
// # Life cycle of a build
//
//	identity ── scratch space ── what the builder sees ── sandbox ── outputs ── Result.Register
//
// The builder's store is a directory of its own, Spec.BuildStore, inside of one
// that nobody else can pass through. What a builder makes never lies at its
// store path before it is registered: it is taken out of the builder's store under
// a temporary name, made canonical, hashed and scanned for references in one pass,
// and checked.
//
// # What a builder sees
//
// Its environment is made of defaults, the derivation's variables and what
// describes the sandbox. Job.Asks says what becomes files of the build directory
// instead: variables of passAsFile, closures (exportReferencesGraph), and with
// structured attributes all of them, as .attrs.json and .attrs.sh. Hashes of
// outputs depend on every byte of it, so that it follows Nix's where one would do
// it differently today.
//
// # Outputs
//
// An output whose path is known was made at that path, as the builder sees it, and
// is read once. A floating one was made at a path that follows from the derivation.
// Its final path follows from its content, in which its own path may occur: the
// hash is taken as if that were zeros. Its references belong to what is hashed, so
// that outputs are settled after those that they refer to. In the copy that is
// registered the hash parts of the paths where things were made are replaced by
// those of the final paths (Nix manual, "Content-addressing derivation outputs").
//
// # Rounds, checks, and what is left
//
// A Job may ask for several rounds, or to compare with what is valid (Job.Check). What
// differs is shown to the diff hook, and is kept with what else a failed build leaves:
// in one directory beside the build directories, which becomes the caller's (decision
// 0066). Nothing of that ever lies in the store.
//
// # Logs
//
// A [Log] keeps the raw output in a file, and hands lines and messages ("@nix "
// and JSON) to Job.Watch. What a builder can make it remember is bounded; what it
// says is not to be trusted on a terminal.
//
// # Failures
//
// The error of [Builder.Run] is always a [*result.BuildError]. InputRejected: the
// builder was never run; OutputRejected: it exited 0, and what it made is refused.
//
// # Traps
//
//   - What a builder left behind is hostile until Store.Canonicalise has passed it.
//   - The caller holds the locks of the outputs, and roots on the inputs, from before
//     Run until the outputs are registered.
package builder
