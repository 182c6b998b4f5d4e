/* cli/input.c - a file that is sent: whole, as a message, where it is small enough; else read as it
 * goes. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tbq.h"

int input_open(struct loop *l, const char *path, size_t most, struct input *in)
{
    bool standard = strcmp(path, "-") == 0;
    struct stat st;

    *in = (struct input){.fd = -1, .length = TBQ_LENGTH_UNKNOWN};
    /* Non-blocking: a pipe that nobody writes to is waited for, where signals end it. */
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool regular = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    off_t at = regular ? lseek(fd, 0, SEEK_CUR) : 0;
    bool large = regular && at >= 0 && st.st_size > at && (uint64_t)(st.st_size - at) > most;
    bool end = false;

    in->waits = !regular;
    int reason = fd < 0 ? errno : 0;
    if (reason == 0 && !large) {
        reason = read_some(l, fd, in->waits, most, &in->data, &in->size, &end);
    }
    if (reason == 0 && !end) {
        in->fd = fd;
        in->length = large ? (uint64_t)(st.st_size - at) : TBQ_LENGTH_UNKNOWN;
        return 0;
    }
    if (!standard && fd >= 0) {
        close(fd);
    }
    if (reason != 0) {
        input_close(in);
        return fail(EXIT_USAGE, TBQ_ERR_FILE, "%s: %s", standard ? "standard input" : path,
                    strerror(reason));
    }
    in->length = in->size;
    return 0;
}

/* What was read to begin with, then the rest. */
int64_t input_read(struct input *in, void *buffer, size_t size)
{
    size_t left = in->size - in->given;

    if (left > 0) {
        size_t n = left < size ? left : size;
        memcpy(buffer, in->data + in->given, n);
        in->given += n;
        return (int64_t)n;
    }
    if (in->fd < 0) {
        return 0;
    }
    struct pollfd p = {.fd = in->fd, .events = POLLIN};
    if (in->waits && poll(&p, 1, 0) == 0) {
        return TBQ_ERR_AGAIN;
    }
    ssize_t n;
    do {
        n = read(in->fd, buffer, size);
    } while (n < 0 && errno == EINTR);
    return n >= 0 ? n : errno == EAGAIN ? TBQ_ERR_AGAIN : TBQ_ERR_FILE;
}

void input_close(struct input *in)
{
    if (in->fd > STDIN_FILENO) {
        close(in->fd);
    }
    free(in->data);
    *in = (struct input){.fd = -1};
}
