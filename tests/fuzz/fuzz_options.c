/* tests/fuzz/fuzz_options.c - any command line for tbq's table of options.
 *
 * Input: a byte for the command, then its arguments, one a line. A line of command that is taken
 * gives values that are arguments of it, whole or from behind a '='; one that is refused is told
 * why, once. options.c leaves by exit() after --help: it is compiled with that name for another
 * function, which comes back here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <getopt.h>

#include "../../cli/tbq.h"

#define ARGS_MAX 100 /* more than a LIST option may be given */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

bool output_json;

static jmp_buf back;
static int left_with;
static size_t told;

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

__attribute__((noreturn)) void left(int status); /* options.c's exit() */
void left(int status)
{
    left_with = status;
    longjmp(back, 1);
}

/* Of output.c: here only the format is tried. */
int fail(int status, int code, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    require(vsnprintf(text, sizeof text, format, args) > 0);
    va_end(args);
    require(code < 0);
    told++;
    return status;
}

int output_end(int status)
{
    return status;
}

struct line {
    char *copy[ARGS_MAX + 2]; /* each of exactly its size; to be freed */
    char *argv[ARGS_MAX + 2]; /* the same; getopt changes the order */
    int argc;
};

static void add(struct line *l, const uint8_t *bytes, size_t size)
{
    char *text = malloc(size + 1);

    require(text != NULL);
    if (size > 0) {
        memcpy(text, bytes, size);
    }
    text[size] = '\0';
    l->copy[l->argc] = l->argv[l->argc] = text;
    l->argc++;
}

static void split(struct line *l, const uint8_t *data, size_t size)
{
    add(l, (const uint8_t *)"tbq", 3);
    while (size > 0 && l->argc <= ARGS_MAX) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t n = end != NULL ? (size_t)(end - data) : size;
        add(l, data, n);
        n += end != NULL ? 1 : 0;
        data += n;
        size -= n;
    }
}

/* NULL, or inside one of the arguments: what outlives the reading of them. */
static void check_text(const struct line *l, const char *text)
{
    for (int i = 0; text != NULL && i < l->argc; i++) {
        if (text >= l->copy[i] && text <= l->copy[i] + strlen(l->copy[i])) {
            return;
        }
    }
    require(text == NULL);
}

static void check_taken(const struct line *l, const struct options *o)
{
    const char *const texts[] = {o->bind,  o->mode,    o->trust,  o->deny,      o->cert,   o->key,
                                 o->state, o->request, o->output, o->log_level, o->address};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        check_text(l, texts[i]);
    }
    require(o->bootstrap_len <= PATHS_MAX && o->send_len <= PATHS_MAX);
    for (size_t i = 0; i < PATHS_MAX; i++) {
        require((o->bootstrap[i] != NULL) == (i < o->bootstrap_len));
        require((o->send[i] != NULL) == (i < o->send_len));
        check_text(l, o->bootstrap[i]);
        check_text(l, o->send[i]);
    }
    require(o->count <= UINT32_MAX && o->timeout_ms <= UINT32_MAX);
    require(!o->help);
}

static void check_config(const struct options *o)
{
    tbq_config c = {.log_level = TBQ_LOG_WARNING};
    int rv = options_to_config(o, &c);

    require((rv == 0 && told == 0) || (rv == EXIT_USAGE && told == 1));
    if (rv == 0) {
        require(c.log_level >= TBQ_LOG_ERROR && c.log_level <= TBQ_LOG_DEBUG);
        require(c.allow_path == NULL || c.allow_path[0] != '\0');
        require(c.bootstrap_nodes_len == o->bootstrap_len);
    }
}

static void try(const struct command *command, const char *const *allowed, struct line *l)
{
    static struct options o;
    int rv;

    output_json = false;
    told = 0;
    left_with = -1;
    optind = 0; /* glibc: begin anew */
    if (setjmp(back) != 0) {
        require(left_with == EXIT_DONE && told == 0);
        return;
    }
    rv = options_read(&o, command, allowed, l->argc, l->argv);
    require((rv == 0 && told == 0) || (rv == EXIT_USAGE && told == 1));
    if (rv == 0) {
        check_taken(l, &o);
        check_config(&o);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const server[] = {"bind", "mode",  "bootstrap", "trust",     "deny", "cert",
                                         "key",  "state", "store",     "log-level", NULL};
    static const char *const client[] = {"count", "send", "lines", "request",   "output", "timeout",
                                         "cert",  "key",  "state", "log-level", "ADDR",   NULL};
    static const char *const keygen[] = {"state", NULL};
    static const char *const *const allowed[] = {server, client, keygen};
    static const struct command command = {.name = "server", .help = ""};
    struct line l = {.argc = 0};

    if (size == 0) {
        return 0;
    }
    split(&l, data + 1, size - 1);
    try(&command, allowed[data[0] % 3], &l);
    for (int i = 0; i < l.argc; i++) {
        free(l.copy[i]);
    }
    return 0;
}
