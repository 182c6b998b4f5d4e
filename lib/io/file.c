/* io/file.c - see file.h. */
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "io/random.h"
#include <tbquic/error.h>

#define TEMP_SUFFIX_SIZE 24 /* ".", 16 hex digits, ".tmp" and the NUL */
#define UNSIZED_MAX 65536U  /* bytes of a file whose size the system does not tell */
#define TEMP_TRIES 8        /* a name of 64 random bits that exists is no accident */

/* ---- reading -------------------------------------------------------------------------------- */

/* What a person can do about it. */
static const char *advice(int error)
{
    switch (error) {
    case ENOENT:
        return "check the path";
    case EACCES:
    case EPERM:
        return "check its owner and permissions, and those of the folders above it";
    case ENOTDIR:
        return "something above it is not a folder";
    case EROFS:
        return "choose a place that is not mounted read-only";
    case ENOSPC:
    case EDQUOT:
        return "make room on that disk";
    case EMFILE:
    case ENFILE:
        return "raise `ulimit -n`";
    case ELOOP:
        return "a symbolic link above it leads back to itself";
    default:
        return "check that disk and the path";
    }
}

static int explain(const char *what, const char *path, int error, char *text, size_t size)
{
    tbi_text(text, size, "%s %s: %s; %s", what, path, strerror(error), advice(error));
    return TBQ_ERR_FILE;
}

static int check_status(const struct stat *st, const char *path, unsigned flags, char *text,
                        size_t text_size)
{
    if (!S_ISREG(st->st_mode)) {
        tbi_text(text, text_size, "%s is %s, not a file; check the path", path,
                 S_ISDIR(st->st_mode) ? "a folder" : "something else");
        return TBQ_ERR_FILE;
    }
    if ((flags & TBI_FILE_SECRET) != 0 && (st->st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        tbi_text(text, text_size,
                 "%s has mode %04o, so that others than its owner can get at the secret in it: "
                 "run `chmod 600 %s`",
                 path, (unsigned)(st->st_mode & 07777), path);
        return TBQ_ERR_FILE;
    }
    return 0;
}

/* One byte more than allowed is asked for: the file may have grown since its size was read. */
static int read_all(int fd, const char *path, uint8_t *to, size_t capacity, size_t *size,
                    char *text, size_t text_size)
{
    *size = 0;
    while (*size < capacity) {
        ssize_t n = read(fd, to + *size, capacity - *size);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return explain("cannot read", path, errno, text, text_size);
        }
        if (n == 0) {
            return 0;
        }
        *size += (size_t)n;
    }
    return 0;
}

static int read_open(const struct tbi_alloc *a, int fd, const char *path, size_t limit,
                     unsigned flags, uint8_t **data, size_t *size, char *text, size_t text_size)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return explain("cannot read", path, errno, text, text_size);
    }
    int rv = check_status(&st, path, flags, text, text_size);
    if (rv < 0) {
        return rv;
    }
    /* Files of /proc say that they are empty, and are not. */
    size_t told = st.st_size > 0 ? (size_t)st.st_size : UNSIZED_MAX;
    size_t room = told < limit ? told : limit;
    uint8_t *to = tbi_malloc(a, room + 1);
    if (to == NULL) {
        tbi_text(text, text_size, "cannot read %s: %s", path, tbq_strerror(TBQ_ERR_NOMEM));
        return TBQ_ERR_NOMEM;
    }
    rv = read_all(fd, path, to, room + 1, size, text, text_size);
    if (rv == 0 && *size > room) {
        if (room < limit) {
            tbi_text(text, text_size, "%s grew while it was read; try again", path);
        } else {
            tbi_text(text, text_size, "%s is larger than the %zu bytes that are allowed here", path,
                     limit);
        }
        rv = TBQ_ERR_TOO_LARGE;
    }
    if (rv < 0) {
        tbi_wipe(to, room + 1);
        tbi_free(a, to);
        *size = 0;
        return rv;
    }
    to[*size] = '\0';
    *data = to;
    return 0;
}

int tbi_file_read(const struct tbi_alloc *a, const char *path, size_t limit, unsigned flags,
                  uint8_t **data, size_t *size, char *text, size_t text_size)
{
    *data = NULL;
    *size = 0;
    /* Non-blocking: opening a pipe that nobody writes to would wait for ever. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        if (errno == ENOENT && (flags & TBI_FILE_MAY_MISS) != 0) {
            return 0;
        }
        return explain("cannot read", path, errno, text, text_size);
    }
    int rv = read_open(a, fd, path, limit, flags, data, size, text, text_size);
    close(fd);
    return rv;
}

/* ---- writing -------------------------------------------------------------------------------- */

/* The folder that holds `path`: "." when none is named. */
static int folder_of(const char *path, char *folder, size_t size)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash == NULL ? 1 : (size_t)(slash - path);
    const char *from = slash == NULL ? "." : path;

    if (n == 0) {
        n = 1; /* the root itself */
    }
    if (n >= size) {
        return TBQ_ERR_TOO_LARGE;
    }
    memcpy(folder, from, n);
    folder[n] = '\0';
    return 0;
}

/* A new name in the folder is on the disk only when the folder is. Filesystems that cannot do this
 * say so, and keep names by other means. */
static int sync_folder(const char *path)
{
    char folder[TBI_PATH_SIZE];

    if (folder_of(path, folder, sizeof folder) < 0) {
        return ENAMETOOLONG;
    }
    int fd = open(folder, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (fd < 0) {
        return errno == EACCES ? 0 : errno; /* a folder that may be written but not read */
    }
    int error = fsync(fd) < 0 ? errno : 0;
    close(fd);
    return error == EINVAL || error == ENOTSUP || error == EROFS ? 0 : error;
}

static int write_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno;
        }
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

/* Fills a descriptor and closes it; the errno of what failed, or 0. */
static int fill_and_close(int fd, const void *data, size_t size, mode_t mode)
{
    int error = write_all(fd, data, size);
    if (error == 0 && fchmod(fd, mode) < 0) { /* what the umask took away */
        error = errno;
    }
    if (error == 0 && fsync(fd) < 0) {
        error = errno;
    }
    if (close(fd) < 0 && error == 0) {
        error = errno; /* NFS tells of a full disk only now */
    }
    return error;
}

/* A file of a name that is not taken, beside `path`. The errno of what failed, or 0. */
static int write_temp(const char *path, const void *data, size_t size, mode_t mode,
                      char temp[TBI_PATH_SIZE + TEMP_SUFFIX_SIZE])
{
    int fd = -1;

    if (strlen(path) >= TBI_PATH_SIZE) {
        return ENAMETOOLONG;
    }
    for (int i = 0; fd < 0 && i < TEMP_TRIES; i++) {
        unsigned long long tag;
        if (tbi_random_fill(&tag, sizeof tag) < 0) {
            return EIO;
        }
        snprintf(temp, TBI_PATH_SIZE + TEMP_SUFFIX_SIZE, "%s.%016llx.tmp", path, tag);
        /* 0600 until it is complete: it may be a secret. */
        fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0 && errno != EEXIST) {
            return errno;
        }
    }
    if (fd < 0) {
        return EEXIST;
    }
    int error = fill_and_close(fd, data, size, mode);
    if (error != 0) {
        unlink(temp);
    }
    return error;
}

int tbi_file_replace(const char *path, const void *data, size_t size, mode_t mode, char *text,
                     size_t text_size)
{
    char temp[TBI_PATH_SIZE + TEMP_SUFFIX_SIZE];
    int error = write_temp(path, data, size, mode, temp);

    if (error == 0 && rename(temp, path) < 0) {
        error = errno;
        unlink(temp);
    }
    if (error == 0) {
        error = sync_folder(path);
    }
    return error == 0 ? 0 : explain("cannot write", path, error, text, text_size);
}

/* Where the filesystem has no hard links (FAT, some network ones): not whole-or-nothing after a
 * crash any more, but never over another file. */
static int create_in_place(const char *path, const void *data, size_t size, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return errno;
    }
    int error = fill_and_close(fd, data, size, mode);
    if (error != 0) {
        unlink(path);
    }
    return error;
}

int tbi_file_create(const char *path, const void *data, size_t size, mode_t mode, char *text,
                    size_t text_size)
{
    char temp[TBI_PATH_SIZE + TEMP_SUFFIX_SIZE];
    int error = write_temp(path, data, size, mode, temp);

    if (error == 0) {
        /* Unlike rename(), link() fails where the name is taken. */
        error = link(temp, path) < 0 ? errno : 0;
        unlink(temp);
        if (error == EPERM || error == ENOTSUP || error == ENOSYS || error == EMLINK) {
            error = create_in_place(path, data, size, mode);
        }
        if (error == EEXIST) {
            tbi_text(text, text_size,
                     "%s exists already and is not overwritten; move it away, or "
                     "choose another place",
                     path);
            return TBQ_ERR_EXISTS;
        }
    }
    if (error == 0) {
        error = sync_folder(path);
    }
    return error == 0 ? 0 : explain("cannot create", path, error, text, text_size);
}

/* ---- locks ---------------------------------------------------------------------------------- */

int tbi_file_lock(struct tbi_file_lock *lock, const char *path, char *text, size_t text_size)
{
    lock->fd = -1;
    /* NFS locks for writing only what is open for writing; a key may be read-only. */
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    }
    if (fd < 0) {
        return explain("cannot lock", path, errno, text, text_size);
    }
    /* flock() belongs to this opening of the file: unlike POSIX locks it also keeps a second
     * server of the same process out, and is not lost when somebody else closes the file. */
    int rv;
    do {
        rv = flock(fd, LOCK_EX | LOCK_NB);
    } while (rv < 0 && errno == EINTR);
    if (rv == 0) {
        lock->fd = fd;
        return 0;
    }
    int error = errno;
    close(fd);
    if (error == EWOULDBLOCK) {
        tbi_text(text, text_size,
                 "%s is in use by another server that is running: stop that one, or give this one "
                 "a key of its own (another state folder)",
                 path);
        return TBQ_ERR_FILE;
    }
    tbi_text(text, text_size, "cannot lock %s: %s; take care yourself that no two servers use it",
             path, strerror(error));
    return TBQ_ERR_UNSUPPORTED;
}

void tbi_file_unlock(struct tbi_file_lock *lock)
{
    if (lock->fd >= 0) {
        close(lock->fd); /* ends the lock: children have no copy, it is closed on exec */
        lock->fd = -1;
    }
}

/* ---- folders -------------------------------------------------------------------------------- */

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int tbi_file_make_dir(const char *path, char *text, size_t text_size)
{
    char part[TBI_PATH_SIZE];
    size_t n = strlen(path);

    if (n == 0 || n >= sizeof part) {
        return explain("cannot make the folder", n == 0 ? "''" : path,
                       n == 0 ? ENOENT : ENAMETOOLONG, text, text_size);
    }
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != '\0') {
            continue;
        }
        char end = part[i];
        part[i] = '\0';
        /* Asked first: mkdir() on a read-only or foreign folder above fails with other errors. */
        if (!is_folder(part) && mkdir(part, 0700) < 0 && !(errno == EEXIST && is_folder(part))) {
            int error = errno == EEXIST ? ENOTDIR : errno;
            return explain("cannot make the folder", part, error, text, text_size);
        }
        part[i] = end;
    }
    return 0;
}

int tbi_file_join(char *path, size_t size, const char *dir, const char *name)
{
    size_t n = strlen(dir);
    const char *slash = n > 0 && dir[n - 1] == '/' ? "" : "/";
    int length = snprintf(path, size, "%s%s%s", dir, slash, name);
    return length < 0 || (size_t)length >= size ? TBQ_ERR_TOO_LARGE : 0;
}

static int join_or_explain(char *path, size_t size, const char *dir, const char *name, char *text,
                           size_t text_size)
{
    int rv = tbi_file_join(path, size, dir, name);
    if (rv < 0) {
        tbi_text(text, text_size, "the state folder's path is longer than %zu bytes: %s", size - 1,
                 dir);
    }
    return rv;
}

int tbi_file_state_dir(char *path, size_t size, char *text, size_t text_size)
{
    const char *state = getenv("STATE_DIRECTORY"); /* systemd.exec(5): several, with colons */
    const char *xdg = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");

    if (state != NULL && state[0] == '/') {
        size_t n = strcspn(state, ":");
        if (n >= size) {
            tbi_text(text, text_size, "$STATE_DIRECTORY is longer than %zu bytes", size - 1);
            return TBQ_ERR_TOO_LARGE;
        }
        memcpy(path, state, n);
        path[n] = '\0';
        return 0;
    }
    /* The XDG base directory specification has relative paths ignored. */
    if (xdg != NULL && xdg[0] == '/') {
        return join_or_explain(path, size, xdg, "tbquic", text, text_size);
    }
    if (home != NULL && home[0] == '/') {
        return join_or_explain(path, size, home, ".local/state/tbquic", text, text_size);
    }
    tbi_text(text, text_size,
             "no folder for the key: none of $STATE_DIRECTORY, $XDG_STATE_HOME and $HOME is set to "
             "an absolute path; set one, or name a folder (--state DIR)");
    return TBQ_ERR_FILE;
}
