/* cli/options.c - one table of options for all commands, over getopt_long. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tbq.h"

enum kind { TEXT, LIST, NUMBER, FLAG };

struct option_row {
    const char *name;
    enum kind kind;
    size_t at;     /* in struct options */
    size_t len_at; /* of a LIST */
};

#define AT(member) offsetof(struct options, member)
static const struct option_row rows[] = {
    {"bind", TEXT, AT(bind), 0},
    {"mode", TEXT, AT(mode), 0},
    {"bootstrap", LIST, AT(bootstrap), AT(bootstrap_len)},
    {"trust", TEXT, AT(trust), 0},
    {"deny", TEXT, AT(deny), 0},
    {"cert", TEXT, AT(cert), 0},
    {"key", TEXT, AT(key), 0},
    {"state", TEXT, AT(state), 0},
    {"store", TEXT, AT(store), 0},
    {"serve", TEXT, AT(serve), 0},
    {"advertise", LIST, AT(advertise), AT(advertise_len)},
    {"kind", TEXT, AT(kind), 0},
    {"wait", NUMBER, AT(wait_s), 0},
    {"send", LIST, AT(send), AT(send_len)},
    {"request", TEXT, AT(request), 0},
    {"output", TEXT, AT(output), 0},
    {"log-level", TEXT, AT(log_level), 0},
    {"count", NUMBER, AT(count), 0},
    {"timeout", NUMBER, AT(timeout_ms), 0},
    {"busy-poll", NUMBER, AT(busy_poll_us), 0},
    {"congestion", TEXT, AT(congestion), 0},
    {"outbox-bytes", NUMBER, AT(outbox_bytes), 0},
    {"receive-window-max", NUMBER, AT(receive_window_max), 0},
    {"receive-budget", NUMBER, AT(receive_budget), 0},
    {"socket-buffer", NUMBER, AT(socket_buffer), 0},
    {"lines", FLAG, AT(lines), 0},
    {"early", FLAG, AT(early), 0},
    {"help", FLAG, AT(help), 0},
};
#define ROWS (sizeof rows / sizeof rows[0])

static bool is_allowed(const char *name, const char *const *allowed)
{
    if (strcmp(name, "help") == 0) {
        return true;
    }
    for (; *allowed != NULL; allowed++) {
        if (strcmp(name, *allowed) == 0) {
            return true;
        }
    }
    return false;
}

static int set(struct options *o, const struct option_row *row, const char *value)
{
    char *at = (char *)o + row->at;
    switch (row->kind) {
    case TEXT:
        *(const char **)(void *)at = value;
        return 0;
    case FLAG:
        *(bool *)at = true;
        return 0;
    case LIST: {
        size_t *len = (size_t *)(void *)((char *)o + row->len_at);
        if (*len == PATHS_MAX) {
            return fail(EXIT_USAGE, TBQ_ERR_LIMIT, "--%s may be given %d times", row->name,
                        PATHS_MAX);
        }
        ((const char **)(void *)at)[(*len)++] = value;
        return 0;
    }
    case NUMBER: {
        errno = 0;
        size_t digits = strspn(value, "0123456789"); /* no sign, no blanks */
        unsigned long long n = strtoull(value, NULL, 10);
        if (errno != 0 || value[digits] != '\0' || n == 0 || n > UINT32_MAX) {
            return fail(EXIT_USAGE, TBQ_ERR_INVALID, "--%s is \"%s\"; it must be 1 to %lu",
                        row->name, value, (unsigned long)UINT32_MAX);
        }
        *(uint64_t *)(void *)at = n;
        return 0;
    }
    }
    return 0;
}

int options_read(struct options *o, const struct command *command, const char *const *allowed,
                 int argc, char **argv)
{
    struct option longs[ROWS + 2];
    int json = 0;
    size_t n = 0;
    int index;

    memset(o, 0, sizeof *o);
    memset(longs, 0, sizeof longs);
    for (size_t i = 0; i < ROWS; i++) {
        if (is_allowed(rows[i].name, allowed)) {
            longs[n++] = (struct option){rows[i].name,
                                         rows[i].kind == FLAG ? no_argument : required_argument,
                                         NULL, (int)i + 256};
        }
    }
    longs[n++] = (struct option){"json", no_argument, &json, 1};
    for (int i = 1; i < argc; i++) { /* first: it decides how errors are told */
        output_json = output_json || strcmp(argv[i], "--json") == 0;
    }
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, ":", longs, &index)) != -1;) {
        if (c == ':') {
            return fail(EXIT_USAGE, TBQ_ERR_INVALID, "%s needs a value", argv[optind - 1]);
        }
        if (c == '?' && optopt > 0 && optopt < 256) { /* of a cluster, so not argv[optind - 1] */
            return fail(EXIT_USAGE, TBQ_ERR_INVALID,
                        "tbq %s does not know the option -%c; see tbq %s --help", command->name,
                        optopt, command->name);
        }
        if (c == '?') {
            return fail(EXIT_USAGE, TBQ_ERR_INVALID,
                        "tbq %s does not know the option %s; see tbq %s --help", command->name,
                        argv[optind - 1], command->name);
        }
        int rv = c >= 256 ? set(o, &rows[c - 256], optarg) : 0;
        if (rv != 0) {
            return rv;
        }
    }
    if (o->help) {
        fputs(command->help, stdout);
        exit(output_end(EXIT_DONE));
    }
    if (optind < argc && is_allowed("ADDR", allowed)) {
        o->address = argv[optind++];
    }
    return optind == argc
               ? 0
               : fail(EXIT_USAGE, TBQ_ERR_INVALID, "one argument too many: \"%s\"", argv[optind]);
}

static int log_level(const char *text, tbq_log_level *level)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    for (size_t i = 0; text != NULL && i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *level = (tbq_log_level)i;
            return 0;
        }
    }
    return text == NULL
               ? 0
               : fail(EXIT_USAGE, TBQ_ERR_INVALID,
                      "--log-level is \"%s\"; it must be error, warning, info or debug", text);
}

static void write_log(void *user, tbq_log_level level, const char *line)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    (void)user;
    fprintf(stderr, "tbq: %s: %s\n", names[level], line);
}

static int trust(const struct options *o, tbq_config *c)
{
    c->deny_path = o->deny;
    if (o->trust == NULL || strcmp(o->trust, "open") == 0) {
        return 0;
    }
    if (strncmp(o->trust, "allow:", 6) == 0 && o->trust[6] != '\0') {
        c->allow_path = o->trust + 6;
        return 0;
    }
    if (strncmp(o->trust, "ca:", 3) == 0 && o->trust[3] != '\0') {
        c->ca_path = o->trust + 3;
        return 0;
    }
    if (strcmp(o->trust, "first-use") == 0) {
        return 0; /* its file is known when the folder of the state is */
    }
    return fail(EXIT_USAGE, TBQ_ERR_INVALID,
                "--trust is \"%s\"; it must be open, first-use, allow:FILE or ca:FILE", o->trust);
}

static int congestion_of(const char *text, tbq_congestion *congestion)
{
    static const char *const names[] = {"cubic", "bbr", "reno"};
    for (size_t i = 0; text != NULL && i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *congestion = (tbq_congestion)i;
            return 0;
        }
    }
    return text == NULL ? 0
                        : fail(EXIT_USAGE, TBQ_ERR_INVALID,
                               "--congestion is \"%s\"; it must be cubic, bbr or reno", text);
}

/* 0 in the configuration is the default, too. */
static int flow(const struct options *o, tbq_config *c)
{
    c->outbox_bytes = (size_t)o->outbox_bytes;
    c->receive_window_max = (size_t)o->receive_window_max;
    c->receive_budget = (size_t)o->receive_budget;
    c->socket_buffer = (uint32_t)o->socket_buffer;
    return congestion_of(o->congestion, &c->congestion);
}

int options_to_config(const struct options *o, tbq_config *c)
{
    c->cert_path = o->cert;
    c->key_path = o->key;
    c->state_dir = o->state;
    c->early_data = o->early;
    c->busy_poll_us = (uint32_t)o->busy_poll_us;
    c->bootstrap_nodes = o->bootstrap;
    c->bootstrap_nodes_len = o->bootstrap_len;
    c->advertise_addresses = o->advertise;
    c->advertise_addresses_len = o->advertise_len;
    c->log = write_log;
    if (o->state != NULL && o->key != NULL) {
        return fail(EXIT_USAGE, TBQ_ERR_INVALID, "give --state or --cert and --key, not both");
    }
    int rv = log_level(o->log_level, &c->log_level);
    rv = rv != 0 ? rv : flow(o, c);
    return rv != 0 ? rv : trust(o, c);
}
