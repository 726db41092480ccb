package linux

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// openTerminal makes a pseudo-terminal in raw mode, so that what the builder writes arrives as it is, and nothing that is
// written is echoed. The slave belongs to uid.
func openTerminal(uid int) (master, slave *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, setupError(sandbox.StageLaunch, "open", "/dev/ptmx", err)
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx") // non-blocking, so Close ends a Read
	slave, err = openSlave(fd, uid)
	if err != nil {
		master.Close()
		return nil, nil, err
	}
	return master, slave, nil
}

// openSlave opens the other side by ioctl: its name may mean something else in this mount namespace.
func openSlave(master, uid int) (*os.File, error) {
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return nil, setupError(sandbox.StageLaunch, "ioctl TIOCSPTLCK", "/dev/ptmx", err)
	}
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return nil, setupError(sandbox.StageLaunch, "ioctl TIOCGPTPEER", "/dev/ptmx", errno)
	}
	slave := os.NewFile(r, "pseudo-terminal")
	if err := ownTerminal(slave, uid); err != nil {
		slave.Close()
		return nil, err
	}
	return slave, nil
}

func ownTerminal(slave *os.File, uid int) error {
	fd := int(slave.Fd())
	mode, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return setupError(sandbox.StageLaunch, "ioctl TCGETS", slave.Name(), err)
	}
	// What cfmakeraw(3) does.
	mode.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	mode.Oflag &^= unix.OPOST
	mode.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	mode.Cflag &^= unix.CSIZE | unix.PARENB
	mode.Cflag |= unix.CS8
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, mode); err != nil {
		return setupError(sandbox.StageLaunch, "ioctl TCSETS", slave.Name(), err)
	}
	if err := unix.Fchmod(fd, 0o600); err != nil {
		return setupError(sandbox.StageLaunch, "fchmod", slave.Name(), err)
	}
	if uid == os.Geteuid() {
		return nil
	}
	return setupError(sandbox.StageLaunch, "fchown", slave.Name(), unix.Fchown(fd, uid, -1))
}

// copyLog copies until nobody holds the slave any more, which reads as EIO, or until master's deadline has passed, and then
// what is there already.
func copyLog(log io.Writer, master *os.File) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := master.Read(buf)
		if n > 0 {
			if _, err := log.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, unix.EIO):
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return copyRest(log, master, buf)
		default:
			return err
		}
	}
}

// maxRest is more than a terminal holds.
const maxRest = 256 << 10

// copyRest copies what the terminal holds, without waiting: os.File reads nothing more after a deadline.
func copyRest(log io.Writer, master *os.File, buf []byte) error {
	raw, err := master.SyscallConn()
	if err != nil {
		return err
	}
	for rest := 0; rest < maxRest; {
		n := 0
		if err := raw.Control(func(fd uintptr) { n, _ = unix.Read(int(fd), buf) }); err != nil || n <= 0 {
			return err
		}
		if _, err := log.Write(buf[:n]); err != nil {
			return err
		}
		rest += n
	}
	return nil
}
