/* cli/bodies.c - what arrives in parts: hashed and written as it comes, in little memory.
 *
 * A body that is stored stands in a file ".body.XXXXXX" of the store until its last part is there;
 * then it is on the disk, and gets its name, before that part counts as taken. The file is locked
 * while it is written, so that one that a killed server has left is known by having no lock. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "tbq.h"

#define OPEN_MAX 256 /* bodies at once: a process has some 1,000 descriptors for all it does */
#define PREFIX ".body."
#define SYNC_EVERY (8 << 20) /* bytes: so that the sync at the end keeps nobody waiting long */

struct arriving {
    struct arriving *next;
    tbq_body body;
    gnutls_hash_hd_t hash;
    int fd; /* -1: not stored */
    char path[PATH_MAX];
    uint64_t size;   /* bytes so far */
    uint64_t synced; /* of these, on the disk */
};

static struct arriving **find(struct arrivals *a, tbq_body body)
{
    struct arriving **at = &a->first;

    while (*at != NULL && (*at)->body != body) {
        at = &(*at)->next;
    }
    return at;
}

/* Its file goes, unless it has its name already. */
static void forget(struct arriving **at)
{
    struct arriving *b = *at;

    *at = b->next;
    gnutls_hash_deinit(b->hash, NULL);
    if (b->fd >= 0) {
        unlink(b->path);
        close(b->fd);
    }
    free(b);
}

static struct arriving *begin(struct arrivals *a, tbq_body body)
{
    struct arriving *b = NULL;
    size_t open = 0;

    for (b = a->first; b != NULL; b = b->next) {
        open++;
    }
    if (open >= OPEN_MAX) {
        errno = EMFILE;
        return NULL;
    }
    b = calloc(1, sizeof *b);
    if (b == NULL || gnutls_hash_init(&b->hash, GNUTLS_DIG_SHA256) < 0) {
        free(b);
        errno = ENOMEM;
        return NULL;
    }
    b->body = body;
    b->fd = -1;
    b->next = a->first;
    a->first = b;
    if (a->dir == NULL) {
        return b;
    }
    int n = snprintf(b->path, sizeof b->path, "%s/" PREFIX "XXXXXX", a->dir);
    if (n < 0 || (size_t)n >= sizeof b->path) {
        errno = ENAMETOOLONG;
    } else {
        b->fd = mkostemp(b->path, O_CLOEXEC);
    }
    if (b->fd < 0 || flock(b->fd, LOCK_EX | LOCK_NB) < 0) {
        int reason = errno;
        forget(&a->first);
        errno = reason;
        return NULL;
    }
    return b;
}

/* 0, or -1 and errno. */
static int add(struct arriving *b, const tbq_body_part *part)
{
    gnutls_hash(b->hash, part->bytes.data, part->bytes.size);
    b->size += part->bytes.size;
    if (b->fd < 0) {
        return 0;
    }
    if (write_all(b->fd, part->bytes.data, part->bytes.size) < 0) {
        return -1;
    }
    if (b->size - b->synced < SYNC_EVERY) {
        return 0;
    }
    b->synced = b->size;
    return fdatasync(b->fd);
}

/* On the disk, under its name. */
static int keep(struct arrivals *a, struct arriving *b, const char *name)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", a->dir, name);

    if (n < 0 || (size_t)n >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (fsync(b->fd) < 0 || rename(b->path, path) < 0) {
        return -1;
    }
    close(b->fd);
    b->fd = -1;
    return sync_dir(a->dir);
}

int arrivals_add(struct arrivals *a, const tbq_event *e, char hash[65], uint64_t *size)
{
    struct arriving **at = find(a, e->body);
    struct arriving *b = *at;
    uint8_t bytes[32];

    if (b == NULL) {
        b = begin(a, e->body);
        at = &a->first;
    }
    if (b == NULL) {
        return -1;
    }
    int rv = add(b, e->part);
    if (rv == 0 && e->part->last) {
        gnutls_hash_output(b->hash, bytes);
        hash_text(bytes, hash);
        *size = b->size;
        rv = a->dir != NULL ? keep(a, b, hash) : 0;
    }
    if (rv < 0 || e->part->last) {
        int reason = errno;
        forget(at);
        errno = reason;
    }
    return rv < 0 ? -1 : e->part->last ? 1 : 0;
}

uint64_t arrivals_end(struct arrivals *a, tbq_body body)
{
    struct arriving **at = find(a, body);
    uint64_t size = *at != NULL ? (*at)->size : 0;

    if (*at != NULL) {
        forget(at);
    }
    return size;
}

void arrivals_free(struct arrivals *a)
{
    while (a->first != NULL) {
        forget(&a->first);
    }
}

void arrivals_tidy(const char *dir)
{
    DIR *d = dir != NULL ? opendir(dir) : NULL;
    struct dirent *entry;

    while (d != NULL && (entry = readdir(d)) != NULL) {
        if (strncmp(entry->d_name, PREFIX, sizeof PREFIX - 1) != 0) {
            continue;
        }
        int fd = openat(dirfd(d), entry->d_name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
            unlinkat(dirfd(d), entry->d_name, 0);
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    if (d != NULL) {
        closedir(d);
    }
}
