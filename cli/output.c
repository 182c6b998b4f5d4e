/* cli/output.c - text for people, or one JSON object a line, flushed. */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tbq.h"

bool output_json;
bool output_to_stderr;
bool output_failed;

#define LOOK_MS 100      /* how often signals are looked for while the reader stalls */
#define PATIENCE_MS 3000 /* how long it may go on once we were told to stop */

/* Signals wait for the loop, which a write that waits for its reader would never come back to.
 * False: we were told to stop, and nobody reads. A write that can be done, or fails, is true. */
static bool has_room(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int looks = PATIENCE_MS / LOOK_MS;
    sigset_t set;

    while (poll(&p, 1, LOOK_MS) == 0) {
        bool told = sigpending(&set) == 0 &&
                    (sigismember(&set, SIGTERM) == 1 || sigismember(&set, SIGINT) == 1);
        if (told && looks-- == 0) {
            return false;
        }
    }
    return true;
}

/* One line, and whether it got out: a journal that lacks lines must not look complete. */
static void put_line(const char *line)
{
    FILE *to = output_to_stderr ? stderr : stdout;

    if (output_failed) {
        return;
    }
    if (!has_room(fileno(to))) {
        output_failed = true;
        fprintf(stderr, "tbq: standard output: nobody reads it\n");
    } else if (fputs(line, to) < 0 || putc('\n', to) < 0 || fflush(to) != 0) {
        output_failed = true;
        fprintf(stderr, "tbq: standard output: %s\n", strerror(errno));
    }
}

int output_end(int status)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "tbq: standard output: %s\n", strerror(errno));
        return EXIT_USAGE;
    }
    return status;
}

/* A file may have any bytes for its name, and a long text may be cut inside a character: JSON has
 * Unicode only. What is none becomes U+FFFD, as the Unicode standard recommends. */
static json_t *text_value(const char *text)
{
    static const char unknown[] = {'\xef', '\xbf', '\xbd'};
    json_t *whole = json_string(text);
    char *copy = whole == NULL ? malloc(3 * strlen(text) + 1) : NULL;
    size_t size = 0;

    for (const char *at = text; copy != NULL && *at != '\0';) {
        size_t left = strlen(at), n = 0;
        json_t *one = NULL;
        while (one == NULL && n < 4 && n < left) {
            one = json_stringn(at, ++n);
        }
        if (one != NULL) {
            memcpy(copy + size, at, n);
            size += n;
            at += n;
        } else {
            memcpy(copy + size, unknown, sizeof unknown);
            size += sizeof unknown;
            at++;
        }
        json_decref(one);
    }
    if (copy != NULL) {
        whole = json_stringn(copy, size);
        free(copy);
    }
    return whole;
}

void say(const char *event, const struct field *fields, const char *format, ...)
{
    va_list args;

    if (!output_json) {
        char text[1024];
        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        put_line(text);
        return;
    }
    json_t *o = json_object();
    json_object_set_new(o, "event", json_string(event));
    for (const struct field *f = fields; f != NULL && f->key != NULL; f++) {
        if (f->value == NULL) {
            continue;
        }
        char *end;
        long long whole = strtoll(f->value, &end, 10);
        json_t *value = !f->number     ? text_value(f->value)
                        : *end == '\0' ? json_integer(whole)
                                       : json_real(strtod(f->value, NULL));
        json_object_set_new(o, f->key, value);
    }
    char *line = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
    if (line != NULL) {
        put_line(line);
    }
    free(line);
    json_decref(o);
}

int fail(int status, int code, const char *format, ...)
{
    char text[1024];
    char number[16];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (output_json) {
        snprintf(number, sizeof number, "%d", code);
        say("error",
            (struct field[]){{"code", number, true}, {"text", text, false}, {NULL, NULL, false}},
            "%s", text);
    } else {
        fprintf(stderr, "tbq: %s\n", text);
    }
    return status;
}
