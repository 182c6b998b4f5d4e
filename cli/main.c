/* cli/main.c - tbq: a table of subcommands. */
#include <stdio.h>
#include <string.h>

#include "tbq.h"

#define FLOW                                                                                       \
    "[--congestion cubic|bbr|reno] [--outbox-bytes N]\n"                                           \
    "           [--receive-window-max N] [--receive-budget N] [--socket-buffer N]"

const struct command commands[] = {
    {"server", run_server, "listen, and tell what arrives",
     "tbq server [--bind ADDR:PORT] [--mode client|server|hybrid] [--bootstrap ADDR]...\n"
     "           [--advertise HOST:PORT]... [--trust open|first-use|allow:FILE|ca:FILE]\n"
     "           [--deny FILE] [--cert FILE --key FILE | --state DIR]\n"
     "           [--store DIR] [--serve DIR] [--early] " FLOW "\n"
     "           [--busy-poll US] [--json] [--log-level LEVEL]\n"},
    {"client", run_client, "dial a node: ping it, send files, ask for something",
     "tbq client [ADDR] [--count N] [--send FILE|-]... [--lines] [--request FILE|-]\n"
     "           [--output FILE] [--timeout MS] [--cert FILE --key FILE | --state DIR]\n"
     "           [--early] " FLOW "\n"
     "           [--json] [--log-level LEVEL]\n"},
    {"broadcast", run_broadcast, "find a network, and tell all of it",
     "tbq broadcast --bootstrap ADDR [--bootstrap ADDR]... [--kind transition|discover]\n"
     "              [--wait S] [--trust POLICY] [--deny FILE]\n"
     "              [--cert FILE --key FILE | --state DIR] [--json] [--log-level LEVEL] "
     "[FILE|-]\n"},
    {"keygen", run_keygen, "make a key, never over an existing one",
     "tbq keygen [--state DIR] [--json]\n"},
    {"id", run_id, "show the peer id of a key", "tbq id [--state DIR | --key FILE] [--json]\n"},
    {NULL, NULL, NULL, NULL}};

const struct command *command_named(const char *name)
{
    const struct command *c = commands;
    while (strcmp(c->name, name) != 0) {
        c++;
    }
    return c;
}

static int usage(FILE *to, int status)
{
    fputs("usage: tbq COMMAND [OPTION]...\n\n", to);
    for (const struct command *c = commands; c->name != NULL; c++) {
        fprintf(to, "  %-10s%s\n", c->name, c->summary);
    }
    fputs("\n`tbq COMMAND --help` shows its options; tbq(1) explains them.\n", to);
    return to == stdout ? output_end(status) : status;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        return usage(stderr, EXIT_USAGE);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        return usage(stdout, EXIT_DONE);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("tbq %s\n", tbq_version());
        return output_end(EXIT_DONE);
    }
    for (const struct command *c = commands; c->name != NULL; c++) {
        if (strcmp(argv[1], c->name) == 0) {
            return c->run(argc - 1, argv + 1);
        }
    }
    for (int i = 2; i < argc; i++) {
        output_json = output_json || strcmp(argv[i], "--json") == 0;
    }
    int status = fail(EXIT_USAGE, TBQ_ERR_INVALID, "there is no command \"%s\"", argv[1]);
    return output_json ? status : usage(stderr, status);
}
