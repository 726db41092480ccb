// Package content takes the hashes that content addresses promise, of objects
// that lie as plain files (Nix manual, "Content-addressing store objects").
package content
