/* io/random.c - see random.h. */
#include "io/random.h"

#include <errno.h>
#include <stdint.h>
#include <sys/types.h>

#if defined(__linux__)
#include <sys/random.h>
#else
#include <fcntl.h>
#include <unistd.h>
#endif

#include "base/alloc.h"
#include <tbquic/error.h>

#if defined(__linux__)

int tbi_random_fill(void *to, size_t size)
{
    uint8_t *at = to;

    for (size_t left = size; left > 0;) {
        ssize_t n = getrandom(at, left, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            tbi_wipe(to, size);
            return TBQ_ERR_IO;
        }
        at += n;
        left -= (size_t)n;
    }
    return 0;
}

#else

int tbi_random_fill(void *to, size_t size)
{
    uint8_t *at = to;
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return TBQ_ERR_IO;
    }
    for (size_t left = size; left > 0;) {
        ssize_t n = read(fd, at, left);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            close(fd);
            tbi_wipe(to, size);
            return TBQ_ERR_IO;
        }
        at += n;
        left -= (size_t)n;
    }
    close(fd);
    return 0;
}

#endif
