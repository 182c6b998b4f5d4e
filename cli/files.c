/* cli/files.c - files that are sent, and files that arrive. */
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tbq.h"

int read_some(struct loop *l, int fd, bool waits, size_t most, uint8_t **data, size_t *size,
              bool *end)
{
    size_t capacity = 0;

    *end = false;
    while (*size <= most) {
        if (*size == capacity) {
            capacity = capacity == 0 ? 65536 : 2 * capacity;
            uint8_t *more = realloc(*data, capacity);
            if (more == NULL) {
                return ENOMEM;
            }
            *data = more;
        }
        if (waits && !loop_wait_readable(l, fd)) {
            *end = true;
            return 0;
        }
        ssize_t n = read(fd, *data + *size, capacity - *size);
        if (n == 0) {
            *end = true;
            return 0;
        }
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            return errno;
        }
        *size += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int file_read(struct loop *l, const char *path, uint8_t **data, size_t *size)
{
    bool in = strcmp(path, "-") == 0;
    /* Non-blocking: a pipe that nobody writes to is waited for below, where signals end it. */
    int fd = in ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    bool waits = in || (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode));
    bool end;

    *size = 0;
    *data = NULL;
    int reason = fd < 0 ? errno : read_some(l, fd, waits, SIZE_MAX, data, size, &end);
    if (!in && fd >= 0) {
        close(fd);
    }
    if (reason != 0) {
        free(*data);
        *data = NULL;
        return fail(EXIT_USAGE, TBQ_ERR_FILE, "%s: %s", in ? "standard input" : path,
                    strerror(reason));
    }
    return 0;
}

int write_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        if (n > 0) {
            data += n;
            size -= (size_t)n;
        }
    }
    return 0;
}

int file_write(const char *path, const void *data, size_t size)
{
    bool out = path == NULL;
    int fd = out ? STDOUT_FILENO : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int rv = fd < 0 ? -1 : write_all(fd, data, size);

    int error = rv < 0 ? errno : 0;
    if (!out && fd >= 0 && close(fd) < 0 && error == 0) {
        error = errno;
    }
    return error;
}

int sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rv = fd < 0 ? -1 : fsync(fd);
    if (fd >= 0) {
        close(fd);
    }
    return rv;
}

int store_put(const char *dir, const char *name, const void *data, size_t size)
{
    char path[PATH_MAX], temporary[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    int m = snprintf(temporary, sizeof temporary, "%s/.%s.XXXXXX", dir, name);

    if (n < 0 || m < 0 || (size_t)m >= sizeof temporary) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    int rv = write_all(fd, data, size);
    if (rv == 0) {
        rv = fsync(fd);
    }
    if (close(fd) < 0 || rv < 0 || rename(temporary, path) < 0) {
        int reason = errno;
        unlink(temporary);
        errno = reason;
        return -1;
    }
    return sync_dir(dir);
}

void hash_text(const uint8_t hash[32], char text[65])
{
    for (size_t i = 0; i < 32; i++) {
        snprintf(text + 2 * i, 3, "%02x", hash[i]);
    }
}

void sha256_text(const void *data, size_t size, char text[65])
{
    uint8_t hash[32];
    gnutls_hash_fast(GNUTLS_DIG_SHA256, data, size, hash);
    hash_text(hash, text);
}
