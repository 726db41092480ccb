// Stormy stats, opens or executes its argument while its threads are being preempted by SIGURG without end, as those of a
// busy Go program are. It prints "ok", or the error.
package main

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	runtime.LockOSThread()
	pid, tid := unix.Getpid(), unix.Gettid()
	go func() {
		for {
			unix.Tgkill(pid, tid, unix.SIGURG)
			time.Sleep(200 * time.Microsecond)
		}
	}()
	if err := touch(os.Args[1], os.Args[2]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

func touch(op, path string) error {
	switch op {
	case "stat":
		var st unix.Stat_t
		return unix.Stat(path, &st)
	case "open":
		_, err := unix.Open(path, unix.O_RDONLY, 0)
		return err
	case "exec":
		return unix.Exec(path, []string{path}, os.Environ())
	}
	return fmt.Errorf("no operation is called %q", op)
}
