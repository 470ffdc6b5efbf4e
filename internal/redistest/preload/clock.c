// A library to be loaded before a server: it moves the server's clock by the
// microseconds that a file holds. The monotonic clock stays as it is.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *shift;

__attribute__((constructor)) static void begin(void) {
	int fd = open(getenv("REDISTEST_CLOCK"), O_RDONLY);
	void *p = mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		abort();
	shift = p;
}

int clock_gettime(clockid_t id, struct timespec *t) {
	int err = syscall(SYS_clock_gettime, id, t);
	if (err == 0 && shift && id == CLOCK_REALTIME) {
		t->tv_sec += *shift / 1000000;
		t->tv_nsec += *shift % 1000000 * 1000;
		if (t->tv_nsec < 0) {
			t->tv_nsec += 1000000000;
			t->tv_sec--;
		} else if (t->tv_nsec >= 1000000000) {
			t->tv_nsec -= 1000000000;
			t->tv_sec++;
		}
	}
	return err;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
	struct timespec now;
	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	t->tv_sec = now.tv_sec;
	t->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *out) {
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (out)
		*out = now.tv_sec;
	return now.tv_sec;
}
