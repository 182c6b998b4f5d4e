/* bench/speed.c - the library measured by its public calls alone: see side.h for what all bench
 * programs agree on.
 *
 * Options besides those of side.h:
 *
 *     --drive events|poll|actor|ev   how a node is driven, see speed.h; events
 *     --requests                     roundtrip: requests and responses in place of two messages
 *     --greedy                       with --connections: each sends as fast as it goes, and the
 *                                    result tells how far they came; else they take turns
 *     --share 1                      oneway, with --connections: the server sends to all, as much
 *                                    as the outbox takes to the first one, less to the others; the
 *                                    result tells what the slowest of these and the first one got
 *     --busy-poll US                 of each side: see busy_poll_us in <tbquic/config.h>
 *     --limit 1                      handshake: the server takes no connection besides the one that
 *                                    gives orders, so that the dials which are counted are refused
 *
 * All else is as the library does it by itself: every message has its fate told, tickets are kept,
 * certificates are of Ed25519. Finding peers is off: there are no others. */
#include "speed.h"

#include <stdlib.h>
#include <string.h>

static enum drive drive_of(const char *word)
{
    static const char *const words[] = {"events", "poll", "actor", "ev"};

    for (unsigned i = 0; word != NULL && i < sizeof words / sizeof *words; i++) {
        if (strcmp(word, words[i]) == 0) {
            return (enum drive)i;
        }
    }
    side_cannot("--drive wants events, poll, actor or ev");
}

static uint32_t number_of(const char *word)
{
    unsigned long v = word != NULL ? strtoul(word, NULL, 10) : 0;

    if (v == 0 || v > UINT32_MAX) {
        side_cannot("--share, --limit and --busy-poll want a number above 0");
    }
    return (uint32_t)v;
}

/* Takes the own options out of the arguments; what is left is for side_args(). */
static int own_options(struct speed_args *a, int argc, char **argv)
{
    int left = 0;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--drive") == 0) {
            a->drive = drive_of(++i < argc ? argv[i] : NULL);
        } else if (strcmp(argv[i], "--requests") == 0) {
            a->requests = true;
        } else if (strcmp(argv[i], "--greedy") == 0) {
            a->greedy = true;
        } else if (strcmp(argv[i], "--share") == 0) {
            a->share = number_of(++i < argc ? argv[i] : NULL) > 0;
        } else if (strcmp(argv[i], "--busy-poll") == 0) {
            a->busy_poll_us = number_of(++i < argc ? argv[i] : NULL);
        } else if (strcmp(argv[i], "--limit") == 0) {
            a->limit = number_of(++i < argc ? argv[i] : NULL);
        } else {
            argv[left++] = argv[i];
        }
    }
    return left;
}

int main(int argc, char **argv)
{
    struct speed_args a = {.drive = DRIVE_EVENTS};

    argc = own_options(&a, argc, argv);
    side_args(&a.side, argc, argv, NULL);
    switch (a.side.mode) {
    case SIDE_SERVER:
        speed_server(&a);
        break;
    case SIDE_ONEWAY:
        if (a.share) {
            speed_share(&a);
            break;
        }
        speed_load(&a);
        break;
    case SIDE_ROUNDTRIP:
        speed_load(&a);
        break;
    case SIDE_HANDSHAKE:
        speed_dials(&a);
        break;
    case SIDE_IDLE:
        speed_idle(&a);
        break;
    }
    return 0;
}
