/* io/file.h - the few things a node does with files, each with an error that helps.
 *
 * `text` (may be NULL) gets a sentence that names the file and says what to do. Blocking: used at
 * start and by the cli, not while datagrams wait. */
#ifndef TBI_IO_FILE_H
#define TBI_IO_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/alloc.h"

#define TBI_PATH_SIZE 4096 /* bytes of the longest path with its NUL */

#define TBI_FILE_SECRET 1U   /* refuse when others than the owner may read or write it */
#define TBI_FILE_MAY_MISS 2U /* a file that does not exist is no error: *data is NULL */

/* Reads a whole regular file of at most `limit` bytes; a NUL follows them. The caller frees *data,
 * wiped first if it is a secret. 0, TBQ_ERR_FILE, TBQ_ERR_TOO_LARGE, TBQ_ERR_NOMEM. */
int tbi_file_read(const struct tbi_alloc *a, const char *path, size_t limit, unsigned flags,
                  uint8_t **data, size_t *size, char *text, size_t text_size);

/* Writes a file that is there whole or not at all, also after a crash: a temporary file beside it,
 * fsync, rename. The mode does not depend on the umask. 0 or TBQ_ERR_FILE. */
int tbi_file_replace(const char *path, const void *data, size_t size, mode_t mode, char *text,
                     size_t text_size);

/* The same, but never over an existing file: TBQ_ERR_EXISTS. Keys are created so, with 0600. */
int tbi_file_create(const char *path, const void *data, size_t size, mode_t mode, char *text,
                    size_t text_size);

/* A file kept locked, so that no second server uses its key. */
struct tbi_file_lock {
    int fd; /* -1: none */
};

/* 0; TBQ_ERR_FILE: not there, or in use by another server, of this process or another;
 * TBQ_ERR_UNSUPPORTED: this filesystem has no locks. `lock` is set in any case. */
int tbi_file_lock(struct tbi_file_lock *lock, const char *path, char *text, size_t text_size);
void tbi_file_unlock(struct tbi_file_lock *lock); /* may be repeated */

/* Makes `path` and what is missing above it, 0700. A folder that is there stays as it is.
 * 0 or TBQ_ERR_FILE. */
int tbi_file_make_dir(const char *path, char *text, size_t text_size);

/* dir "/" name. 0 or TBQ_ERR_TOO_LARGE. */
int tbi_file_join(char *path, size_t size, const char *dir, const char *name);

/* $STATE_DIRECTORY (the first, as systemd sets it), $XDG_STATE_HOME/tbquic, ~/.local/state/tbquic.
 * 0, TBQ_ERR_FILE (none is set) or TBQ_ERR_TOO_LARGE. */
int tbi_file_state_dir(char *path, size_t size, char *text, size_t text_size);

#endif
