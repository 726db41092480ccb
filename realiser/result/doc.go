// Package result says how builds and substitutions end: the vocabulary that the
// realiser, what runs builders, and the faces of Larder share.
package result
