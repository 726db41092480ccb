package engine

import (
	"reflect"
	"testing"

	"larder/cmd/internal/config"
	spec "larder/sandbox"
)

func TestConfigure(t *testing.T) {
	for _, c := range []struct {
		options [][2]string
		want    spec.Spec
	}{
		{nil, spec.Spec{DevShmSize: "50%"}},
		{[][2]string{{"use-cgroups", "true"}}, spec.Spec{DevShmSize: "50%", Cgroup: spec.Cgroup{Use: true}}},
		{[][2]string{{"build-memory-limit", "1G"}, {"build-processes-limit", "100"}, {"build-cpu-limit", "150"}},
			spec.Spec{DevShmSize: "50%", Cgroup: spec.Cgroup{Memory: 1 << 30, Processes: 100, CPU: 1500}}},
		{[][2]string{{"filter-syscalls", "false"}, {"allow-new-privileges", "true"}, {"build-impersonate-linux-26", "true"}, {"sandbox-dev-shm-size", "1g"}},
			spec.Spec{DevShmSize: "1g", NoSyscallFilter: true, AllowNewPrivileges: true, ImpersonateLinux26: true}},
	} {
		loaded, _, err := config.Load(config.Sources{NoFiles: true, Options: c.options})
		if err != nil {
			t.Fatal(err)
		}
		var got spec.Spec
		(&sandbox{config: loaded}).configure(&got)
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: %+v", c.options, got)
		}
	}
	if _, _, err := config.Load(config.Sources{NoFiles: true, Options: [][2]string{{"sandbox", "maybe"}}}); err == nil {
		t.Error("sandbox = maybe")
	}
}
