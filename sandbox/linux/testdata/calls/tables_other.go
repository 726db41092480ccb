//go:build !amd64

package main

func otherTables(string, uintptr) {}
