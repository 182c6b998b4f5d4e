/* cli/output.c - text for people, or one JSON object a line, flushed. */
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tbq.h"

bool output_json;
bool output_to_stderr;
bool output_failed;

/* One line, and whether it got out: a journal that lacks lines must not look complete. */
static void put_line(const char *line)
{
    FILE *to = output_to_stderr ? stderr : stdout;

    if (output_failed) {
        return;
    }
    if (fputs(line, to) < 0 || putc('\n', to) < 0 || fflush(to) != 0) {
        output_failed = true;
        fprintf(stderr, "tbq: standard output: %s\n", strerror(errno));
    }
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
        json_t *value = !f->number     ? json_string(f->value)
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
