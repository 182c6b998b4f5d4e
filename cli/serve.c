/* cli/serve.c - files of one folder for who asks: tbq server --serve DIR.
 *
 * A request's bytes are a file name inside the folder. The name is walked part by part, and no part
 * may be a link, "." or "..": so there is no way around, whatever the name or the folder holds. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tbq.h"

#define NAME_SIZE 1024 /* bytes of the longest name that is looked at */

/* 0, or the status to answer with. */
static tbq_response_status good_name(tbq_bytes asked, char name[NAME_SIZE])
{
    if (asked.size == 0 || asked.size >= NAME_SIZE ||
        memchr(asked.data, '\0', asked.size) != NULL) {
        return TBQ_RESPONSE_REFUSED;
    }
    memcpy(name, asked.data, asked.size);
    name[asked.size] = '\0';
    return TBQ_RESPONSE_OK;
}

/* The file itself, or -1. `name` is taken apart. */
static int walk(int folder, char *name)
{
    int at = dup(folder);
    char *part = name;

    while (at >= 0) {
        char *slash = strchr(part, '/');
        if (slash != NULL) {
            *slash = '\0';
        }
        bool bad = part[0] == '\0' || strcmp(part, ".") == 0 || strcmp(part, "..") == 0;
        int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
        int next = bad ? -1 : openat(at, part, slash != NULL ? flags | O_DIRECTORY : flags);
        close(at);
        if (slash == NULL || next < 0) {
            return next;
        }
        at = next;
        part = slash + 1;
    }
    return -1;
}

/* The whole of a regular file of at most `most` bytes; freed by the caller. */
static tbq_response_status slurp(int fd, size_t most, uint8_t **data, size_t *size)
{
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        return TBQ_RESPONSE_REFUSED;
    }
    if (st.st_size < 0 || (uint64_t)st.st_size > most) {
        return TBQ_RESPONSE_FAILED;
    }
    *data = malloc((size_t)st.st_size + 1);
    while (*data != NULL && *size < (size_t)st.st_size) {
        ssize_t n = read(fd, *data + *size, (size_t)st.st_size - *size);
        if (n <= 0 && !(n < 0 && errno == EINTR)) {
            return TBQ_RESPONSE_FAILED;
        }
        *size += n > 0 ? (size_t)n : 0;
    }
    return *data != NULL ? TBQ_RESPONSE_OK : TBQ_RESPONSE_FAILED;
}

static tbq_response_status serve(const char *dir, tbq_bytes asked, size_t most, uint8_t **data,
                                 size_t *size)
{
    char name[NAME_SIZE];
    tbq_response_status status = good_name(asked, name);

    if (status != TBQ_RESPONSE_OK) {
        return status;
    }
    int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = folder >= 0 ? walk(folder, name) : -1;
    int reason = errno;
    if (folder >= 0) {
        close(folder);
    }
    if (fd < 0) {
        return reason == ENOENT ? TBQ_RESPONSE_NOT_FOUND : TBQ_RESPONSE_REFUSED;
    }
    status = slurp(fd, most, data, size);
    close(fd);
    return status;
}

void serve_request(tbq_server *server, const char *dir, size_t most, tbq_event *e)
{
    static const char *const texts[] = {
        [TBQ_RESPONSE_NOT_FOUND] = "there is no such file here",
        [TBQ_RESPONSE_REFUSED] = "that is no name of a file that is served here",
        [TBQ_RESPONSE_FAILED] = "the file could not be read, or is larger than a message may be",
    };
    static const char none[] = "this server answers no requests";
    uint8_t *data = NULL;
    size_t size = 0;
    tbq_answer answer = {.status = TBQ_RESPONSE_REFUSED, .bytes = {none, sizeof none - 1}};

    if (dir != NULL) {
        answer.status = serve(dir, e->message->u.request.bytes, most, &data, &size);
        answer.bytes = answer.status == TBQ_RESPONSE_OK
                           ? (tbq_bytes){data, size}
                           : (tbq_bytes){texts[answer.status], strlen(texts[answer.status])};
    }
    (void)tbq_respond(server, e->request, &answer);
    free(data);
}
