/* bench/count.c - does something with the library a given number of times, so that valgrind can
 * count the instructions of it. bench/count.py runs it.
 *
 * usage: count WORLD STORY NUMBER [SIZE]
 *        count about                        what the figures depend on, as JSON
 *
 * WORLD is `engine` or `sockets`, see count.h; STORY one of
 *
 *     flood       NUMBER messages of SIZE bytes, as many at once as the outbox takes
 *     talk        NUMBER messages of SIZE bytes, each answered by one before the next
 *     request     the same by requests and responses
 *     full        NUMBER connections, each with a full handshake
 *     resumed     the same with a ticket
 *     refusal     NUMBER first packets to a node that is full; the server's side alone
 *     retry       the same, where clients must prove their address
 *     idle        a connection over which nothing is said for NUMBER ping intervals
 *
 * Two runs with different numbers differ by what is to be measured: the beginning, which both have,
 * drops out. */
#include "count.h"

#include <gnu/libc-version.h>
#include <gnutls/gnutls.h>
#include <nettle/version.h>
#include <ngtcp2/ngtcp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PING_INTERVAL_MS 30000 /* the library's default */

static struct {
    struct world *world;
    uint64_t number;
    size_t size;
    uint8_t *message;
    bool answers, requests, dials, elsewhere;
    uint64_t sent, came, told;
    bool up, full;
    tbq_connection conn;
} run;

_Noreturn void count_fail(const char *why)
{
    fprintf(stderr, "count: %s\n", why);
    exit(1);
}

static struct end *first(void)
{
    return &run.world->end[0];
}

/* ---- the first end --------------------------------------------------------------------------- */

/* False: not now. */
static bool send_next(void)
{
    tbq_message m = tbq_transition(run.message, run.size);
    int rv;

    memcpy(run.message, &run.sent, sizeof run.sent);
    if (run.requests) {
        rv = run.world->ask(first(), run.message, run.size);
    } else {
        rv = run.world->post(first(), &m);
    }
    if (rv < 0 && rv != TBQ_ERR_AGAIN) {
        count_fail(tbq_strerror(rv));
    }
    run.sent += rv == 0;
    return rv == 0;
}

static void send_more(void)
{
    while (!run.full && run.sent < run.number && !run.dials) {
        run.full = !send_next() || run.answers;
    }
}

static void dial(void)
{
    run.conn = run.world->dial(run.elsewhere);
}

static void is_right(const tbq_bytes *b, uint64_t number)
{
    if (b->size != run.size || memcmp(b->data, &number, sizeof number) != 0) {
        count_fail("a message is not what was sent");
    }
}

static void on_answer(const tbq_bytes *b)
{
    is_right(b, run.came++);
    run.full = false;
    send_more();
}

static void on_first(const tbq_event *v)
{
    switch (v->type) {
    case TBQ_EVENT_CONNECTED:
        run.up = true;
        if (run.dials) {
            run.world->close(run.conn);
        }
        break;
    case TBQ_EVENT_DISCONNECTED:
        run.up = false;
        if (!run.dials) {
            count_fail("the connection is lost");
        }
        if (++run.came < run.number) {
            dial();
        }
        break;
    case TBQ_EVENT_MESSAGE:
        on_answer(&v->message->u.transition);
        break;
    case TBQ_EVENT_RESPONSE:
        on_answer(&v->message->u.response.bytes);
        break;
    case TBQ_EVENT_WRITABLE:
        run.full = false;
        send_more();
        break;
    case TBQ_EVENT_FATE:
        run.told++;
        if (v->fate != TBQ_DELIVERED) {
            count_fail("a message was not delivered");
        }
        break;
    case TBQ_EVENT_CONNECT_FAILED:
        count_fail(v->text);
    default:
        break;
    }
}

/* ---- the second end -------------------------------------------------------------------------- */

static void on_second(struct end *e, const tbq_event *v)
{
    const tbq_message *m = v->message;
    int rv = 0;

    if (v->type == TBQ_EVENT_REQUEST) {
        rv = run.world->respond(e, v->request, m->u.request.bytes);
    } else if (v->type == TBQ_EVENT_MESSAGE && run.answers) {
        rv = run.world->post(e, m);
    } else if (v->type == TBQ_EVENT_MESSAGE) {
        is_right(&m->u.transition, run.came++);
    }
    if (rv < 0) {
        count_fail(tbq_strerror(rv));
    }
}

static void on_event(struct end *e, const tbq_event *v)
{
    if (e == first()) {
        on_first(v);
    } else {
        on_second(e, v);
    }
}

/* ---- stories --------------------------------------------------------------------------------- */

static bool is_up(void)
{
    return run.up;
}

static bool all_came(void)
{
    return run.came == run.number && (run.dials || run.told == run.number);
}

static bool knock(const char *story)
{
    bool full = strcmp(story, "refusal") == 0;

    if (!full && strcmp(story, "retry") != 0) {
        return false;
    }
    if (run.world->knock == NULL) {
        count_fail("not in this world");
    }
    run.world->begin(on_event);
    run.world->knock(run.number, full);
    run.world->finish();
    return true;
}

static void tell(const char *story)
{
    if (knock(story)) {
        return;
    }
    run.answers = strcmp(story, "talk") == 0;
    run.requests = strcmp(story, "request") == 0;
    run.answers = run.answers || run.requests;
    run.elsewhere = strcmp(story, "full") == 0;
    run.dials = run.elsewhere || strcmp(story, "resumed") == 0;
    bool idle = strcmp(story, "idle") == 0;
    if (!run.answers && !run.dials && !idle && strcmp(story, "flood") != 0) {
        count_fail("there is no such story");
    }
    run.world->begin(on_event);
    dial();
    if (!run.dials) {
        run.world->run(is_up, 0);
    }
    if (idle) {
        run.world->run(NULL, run.number * PING_INTERVAL_MS);
    } else {
        send_more();
        run.world->run(all_came, 0);
    }
    run.world->finish();
}

/* GnuTLS and the C library choose their code by the processor, as valgrind lets them see it. */
static void tell_processor(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    printf("%s%s%s%s%s%s%s", __builtin_cpu_supports("ssse3") ? "ssse3 " : "",
           __builtin_cpu_supports("sse4.2") ? "sse4.2 " : "",
           __builtin_cpu_supports("aes") ? "aes " : "",
           __builtin_cpu_supports("pclmul") ? "pclmul " : "",
           __builtin_cpu_supports("bmi2") ? "bmi2 " : "",
           __builtin_cpu_supports("avx2") ? "avx2 " : "",
           __builtin_cpu_supports("avx512f") ? "avx512f " : "");
    printf("x86_64");
#else
    printf("not known");
#endif
}

static void about(void)
{
    printf("{\"processor\":\"");
    tell_processor();
    printf("\",\"compiler\":\"" __VERSION__
           "\",\"libc\":\"%s\",\"gnutls\":\"%s\",\"nettle\":\"%d.%d\""
           ",\"ngtcp2\":\"%s\"}\n",
           gnu_get_libc_version(), gnutls_check_version(NULL), nettle_version_major(),
           nettle_version_minor(), ngtcp2_version(0)->version_str);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "about") == 0) {
        about();
        return 0;
    }
    if (argc < 4 || argc > 5) {
        count_fail(
            "usage: count engine|sockets flood|talk|request|full|resumed|refusal|retry|idle NUMBER"
            " [SIZE]");
    }
    run.world = strcmp(argv[1], "sockets") == 0 ? &count_sockets : &count_engine;
    run.number = strtoull(argv[3], NULL, 10);
    run.size = argc == 5 ? strtoull(argv[4], NULL, 10) : sizeof run.sent;
    if (run.number == 0 || run.size < sizeof run.sent) {
        count_fail("a number above 0, and sizes from 8 on");
    }
    run.message = calloc(1, run.size);
    if (run.message == NULL) {
        count_fail("out of memory");
    }
    tell(argv[2]);
    free(run.message);
    return 0;
}
