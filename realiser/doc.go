// Package realiser makes absent store paths present: it substitutes them from
// binary caches, or builds them in a sandbox. The semantics (what is tried in
// which order, what counts as a failure, which status it has) are Nix's.
//
// # Concepts
//
// A goal is one thing to bring about: a path realised by whatever means, a path
// substituted, or outputs of a derivation realised. There is at most one goal
// for each, shared by everyone who wants it (programs that open files, CLI
// commands, other goals), and each is one goroutine. [Realiser.Realise] and
// [Realiser.Build] ask for goals and wait.
//
//	path goal          valid? · the deriver's goal if one is registered · else substitution
//	substitution goal  for each substituter: narinfo, references' goals, NAR, register
//	derivation goal    valid? · outputs' substitution goals · inputs' goals · build, register
//	                   … or, if an input's path was not known before: the resolved derivation's goal
//
// A goal has a [Mode], which is part of what identifies it: a check of a derivation
// builds and compares, and serves nobody who wants the outputs; a repair also looks at
// what valid paths contain. What it waits for is realised as ever, except that a repair
// repairs its inputs and the closure of its outputs. drvmode.go and repair.go have what
// modes change.
//
// A goal that waits for other goals holds no slot. Slots bound what is at work:
// builds, downloads and narinfo queries each have their own, handed out by
// priority (a program that waits in an access first), then by age of the
// request, then by name. A free slot waits for a moment while goals are about to say
// what they need, so that this order does not depend on the scheduler.
//
// # Life cycle of a goal
//
//	start ── work ── finish: the result goes to all waiters, the goal is forgotten
//	          │
//	          └─ the last waiter left: after a grace (Options.Grace) it is abandoned,
//	             its context cancelled, its processes killed
//
// Who asks while an abandoned goal is still dying gets a new goal, which begins
// when the old one is gone. A failure is remembered for Options.FailureTTL and
// answers accesses at once during that time, so that a program that retries in a
// loop does not build in a loop. Explicit builds ignore the memory. An
// abandoned goal leaves no memory.
//
// # Outputs without a known path
//
// Content-addressed outputs, and input-addressed ones that depend on such, have no
// path before they are built. Realisations say which path an output turned out to
// have: they are recorded with the path, signed with the secret keys, and asked of
// substituters that are [Realisations]. A derivation that uses such outputs is
// resolved when they are there: the paths take the place of the derivations that
// made them, and the goal joins that of the derivation that results. Two
// derivations that differ only in how equal inputs are made so become one. Impure
// outputs are never recorded: they are made each time they are asked for.
//
// # Failures
//
// Every failure of a goal is a [*result.BuildError] with one of Nix's [result.Status] values.
// An error that matches [store.ErrNotFound] says that every substituter answered
// that it does not have the path and no known derivation makes it. Anything else
// is a failure to find out or to do it. Nothing half-made is ever registered.
//
// # Traps
//
//   - A substitution goal never builds: references and sources come from
//     substituters or not at all, as in Nix. So no goal can wait for itself
//     through a build; circular references in narinfos are detected.
//   - A derivation goal makes all outputs when it builds, but registers only those
//     that are not valid yet.
//   - Derivations that need what this package does not deliver are refused with
//     [result.InputRejected] before anything runs, never built differently: see features.go.
//   - What a builder left behind is hostile until Store.Canonicalise has passed it.
package realiser
