#include <stdint.h>

// larder_child makes a child process with clone3(2) flags, in the control group cgroup unless that is -1, and returns its process id, or an error as a negative number.
// The child waits on the socket handover for two descriptors, the job socket and the terminal, reads from the first a job of
// at most so many bytes, and performs it.
int larder_child(uint64_t flags, int cgroup, int handover, uint64_t most, int *pidfd);

// larder_open_files is the soft limit of open files that this process was started with, 0 if it is not known.
uint64_t larder_open_files(void);
