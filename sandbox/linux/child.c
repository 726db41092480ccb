// The child's side of clone.go: what happens between clone(2) and execve(2).
//
// The child is a copy of a process with other threads, which may have held any lock when it was copied. So nothing here
// uses memory or state of the C library or of Go: only the stack, memory of its own, and system calls.

#define _GNU_SOURCE
#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"

// The descriptors that the child has, besides 0 to 2. Programs know these numbers.
enum { HANDOVER = 3, JOB = 4, TERMINAL = 5 };

enum { SIGNAL_SET = 8 };

// job is the layout of what program.encode writes: this, then the operations, the relocations, the slots, the data.
struct job {
	uint64_t operations, relocations, slots, data;
};

struct operation {
	int32_t number;  // of the system call
	int32_t result;  // the slot that keeps its result, or -1
	int32_t ignored; // the error that is none, or 0
	int32_t skipped; // how many operations are left out after that error
	uint8_t kind[8]; // of each argument
	uint64_t argument[6];
};

enum { NUMBER, POINTER, SLOT }; // kinds

static void quit(int status) {
	for (;;)
		syscall(SYS_exit_group, status);
}

static int read_all(int fd, void *into, uint64_t size) {
	for (char *p = into; size > 0;) {
		long n = syscall(SYS_read, fd, p, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		size -= n;
	}
	return 0;
}

static void fail(int32_t operation, int32_t error) {
	int32_t said[2] = {operation, error};
	syscall(SYS_write, JOB, said, sizeof said);
	quit(1);
}

// receive waits for the job socket and the terminal. It quits if the launcher has no use for this child.
static void receive(void) {
	char body[64];
	union {
		char space[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec part = {body, sizeof body};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control,
	};
	long n;
	do
		n = syscall(SYS_recvmsg, HANDOVER, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
	if (n <= 0 || !rights || rights->cmsg_type != SCM_RIGHTS || rights->cmsg_len != CMSG_LEN(2 * sizeof(int)))
		quit(n == 0 ? 0 : 1);
	int fds[2];
	memcpy(fds, CMSG_DATA(rights), sizeof fds);
	if (fds[0] != JOB || fds[1] != TERMINAL)
		quit(1);
}

// perform executes the job. The last operation is an execve(2).
static void perform(uint64_t most) {
	uint64_t size;
	if (read_all(JOB, &size, sizeof size) < 0 || size < sizeof(struct job) || size > most)
		fail(-1, EINVAL);
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		fail(-1, ENOMEM);
	if (read_all(JOB, memory, size) < 0)
		fail(-1, EPIPE);
	struct job *job = (struct job *)memory;
	struct operation *operations = (struct operation *)(job + 1);
	uint64_t *relocations = (uint64_t *)(operations + job->operations);
	int64_t *slots = (int64_t *)(relocations + job->relocations);
	char *data = (char *)(slots + job->slots);
	for (uint64_t i = 0; i < job->relocations; i++) {
		uint64_t value;
		memcpy(&value, data + relocations[i], sizeof value);
		value += (uint64_t)data;
		memcpy(data + relocations[i], &value, sizeof value);
	}
	for (uint64_t i = 0; i < job->operations; i++) {
		struct operation *o = &operations[i];
		uint64_t a[6];
		for (int k = 0; k < 6; k++) {
			a[k] = o->argument[k];
			if (o->kind[k] == POINTER)
				a[k] += (uint64_t)data;
			else if (o->kind[k] == SLOT)
				a[k] = slots[a[k]];
		}
		long result = syscall(o->number, a[0], a[1], a[2], a[3], a[4], a[5]);
		if (result == -1 && o->ignored != 0 && errno == o->ignored)
			i += o->skipped;
		else if (result == -1)
			fail(i, errno);
		else if (o->result >= 0)
			slots[o->result] = result;
	}
	fail(-1, ENOEXEC);
}

int larder_child(uint64_t flags, int cgroup, int handover, uint64_t most, int *pidfd) {
	// A handler of the Go runtime must not run in the child.
	uint64_t all = ~(uint64_t)0, before;
	if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, SIGNAL_SET) < 0)
		return -errno;
	struct clone_args arguments = {
		.flags = flags | CLONE_PIDFD, .pidfd = (uintptr_t)pidfd, .exit_signal = SIGCHLD,
	};
	if (cgroup >= 0) {
		arguments.flags |= CLONE_INTO_CGROUP;
		arguments.cgroup = cgroup;
	}
	long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
	if (pid == 0) {
		if (handover != HANDOVER && syscall(SYS_dup3, handover, HANDOVER, 0) < 0)
			quit(1);
		// What else is open here belongs to other builds, which wait for its end.
		if (syscall(SYS_close_range, HANDOVER + 1, ~0U, 0) < 0 || syscall(SYS_setsid) < 0)
			quit(1);
		receive();
		perform(most);
	}
	int error = pid < 0 ? errno : 0;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, SIGNAL_SET);
	return error ? -error : pid;
}
