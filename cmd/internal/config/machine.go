package config

import (
	"fmt"
	"runtime"

	"github.com/klauspost/cpuid/v2"
	"golang.org/x/sys/unix"
)

// What this machine is, for the defaults of settings.

func thisSystem() string {
	arch := map[string]string{"amd64": "x86_64", "386": "i686", "arm64": "aarch64"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	return arch + "-" + runtime.GOOS
}

// extraPlatforms are the other systems that it runs: 32-bit programs, and those for levels of its processor.
func extraPlatforms() (systems []string) {
	if thisSystem() != "x86_64-linux" {
		return nil
	}
	systems = append(systems, "i686-linux")
	for level := 1; level <= cpuid.CPU.X64Level(); level++ {
		systems = append(systems, fmt.Sprintf("x86_64-v%d-linux", level))
	}
	return systems
}

func systemFeatures() []string {
	features := []string{"benchmark", "big-parallel"}
	if unix.Access("/dev/kvm", unix.R_OK|unix.W_OK) == nil {
		features = append(features, "kvm")
	}
	return append(features, "nixos-test")
}
