// floor RUNS DIR SHELL: runs a trivial builder RUNS times, one after the other, each in namespaces of its own
// with a root directory of its own: the least that any sandbox of this kind costs. Nothing is
// looked up, checked, kept or registered.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(long result, const char *what) {
	if (result < 0) {
		fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
		_exit(125);
	}
}

static void text(const char *file, const char *content) {
	int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	must(fd, file);
	must(write(fd, content, strlen(content)), file);
	close(fd);
}

static void directory(const char *name) { must(mkdir(name, 0755), name); }

static void fresh(const char *kind, const char *at, unsigned long flags, const char *options) {
	directory(at);
	must(mount(kind, at, kind, flags, options), at);
}

static void show(const char *source, const char *at, int is_directory) {
	if (is_directory)
		directory(at);
	else
		text(at, "");
	must(mount(source, at, NULL, MS_BIND, NULL), at);
	must(mount(NULL, at, NULL, MS_REMOUNT | MS_BIND | MS_NOSUID, NULL), at);
}

static void loopback(void) {
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	must(fd, "socket");
	must(ioctl(fd, SIOCSIFFLAGS, &request), "lo");
	close(fd);
}

static void seccomp(void) {
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setxattr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTSUP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
	must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), "seccomp");
}

static void child(int ready, const char *dir, const char *shell, int run) {
	char store[4096], build[4096], script[64], byte;
	must(read(ready, &byte, 1) == 1 ? 0 : -1, "id maps");
	close(ready);
	snprintf(store, sizeof store, "%s/store", dir);
	snprintf(build, sizeof build, "%s/build", dir);
	must(sethostname("localhost", 9), "sethostname");
	loopback();
	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private mounts");
	must(mount("tmpfs", build, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755"), "root");
	must(chdir(build), "root");
	directory("etc");
	text("etc/passwd", "nixbld:x:1000:100::/build:/noshell\n");
	text("etc/group", "nixbld:!:100:\n");
	text("etc/hosts", "127.0.0.1 localhost\n");
	directory("dev");
	show("/dev/null", "dev/null", 0);
	show("/dev/zero", "dev/zero", 0);
	show("/dev/full", "dev/full", 0);
	show("/dev/random", "dev/random", 0);
	show("/dev/urandom", "dev/urandom", 0);
	show("/dev/tty", "dev/tty", 0);
	fresh("devpts", "dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620");
	fresh("tmpfs", "dev/shm", MS_NOSUID | MS_NODEV, "mode=1777");
	fresh("proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	fresh("tmpfs", "tmp", MS_NOSUID | MS_NODEV, "mode=1777");
	fresh("tmpfs", "build", MS_NOSUID | MS_NODEV, "mode=0700");
	directory("nix");
	show(store, "nix/store", 1);
	directory("bin");
	show(shell, "bin/sh", 0);
	must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
	must(umount2(".", MNT_DETACH), "old root");
	must(chdir("/build"), "/build");
	must(setsid(), "setsid");
	seccomp();
	snprintf(script, sizeof script, "echo %d > /nix/store/%d", run, run);
	char *arguments[] = {"sh", "-c", script, NULL}, *environment[] = {NULL};
	execve("/bin/sh", arguments, environment);
	must(-1, "execve");
}

static void map(int pid, const char *what, int inside, int outside) {
	char file[64], line[64];
	snprintf(file, sizeof file, "/proc/%d/%s", pid, what);
	snprintf(line, sizeof line, "%d %d 1", inside, outside);
	text(file, line);
}

int main(int argc, char **argv) {
	if (argc != 4)
		return 2;
	for (int run = 0; run < atoi(argv[1]); run++) {
		int ready[2], status;
		must(pipe2(ready, O_CLOEXEC), "pipe");
		long pid = syscall(SYS_clone, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0);
		must(pid, "clone");
		if (pid == 0)
			child(ready[0], argv[2], argv[3], run);
		map(pid, "uid_map", 1000, geteuid());
		map(pid, "gid_map", 100, getegid());
		must(write(ready[1], "", 1), "child");
		close(ready[0]);
		close(ready[1]);
		must(waitpid(pid, &status, 0), "waitpid");
		if (status != 0)
			return 1;
	}
	return 0;
}
