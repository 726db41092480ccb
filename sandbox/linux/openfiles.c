// How many files this process might open when it was started. Go's runtime raises that for itself, and nobody can ask it afterwards.

#include <sys/resource.h>

#include "child.h"

static struct rlimit files;

__attribute__((constructor)) static void note(void) {
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		files.rlim_cur = files.rlim_max = 0;
}

uint64_t larder_open_files(void) { return files.rlim_cur; }
