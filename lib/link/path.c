/* link/path.c - the connections of a link: they come, fall silent, and go; and which of them
 * carries what.
 *
 * Control frames (ACK, SKIP, DECLINED, SETTLED) go over one path at a time: a decline must be told
 * before the ACK that covers its number, and only one stream keeps an order. When another path
 * takes over, it tells everything that may not have arrived again, in that order. */
#include "link/parts.h"

#include <string.h>

#define BETTER_NS (5 * TBI_NS_PER_MS) /* failover changes for at least so much less round trip, */
#define BETTER_PART 10                /* and for at least a tenth of it */

struct tbi_link_path *tbi_path_after(const struct tbi_link *link, const struct tbi_link_path *path)
{
    const struct tbi_list *node = path != NULL ? path->node.next : link->paths.next;
    return node == &link->paths ? NULL : TBI_CONTAINER(node, struct tbi_link_path, node);
}

struct tbi_link_path *tbi_path_by_number(const struct tbi_link *link, uint64_t number)
{
    TBI_FOREACH_PATH(p, link)
    {
        if (p->number == number) {
            return p;
        }
    }
    return NULL;
}

void tbi_path_fail(struct tbi_link_path *path, uint64_t code, const char *text)
{
    struct tbi_link *link = path->link;

    if (path->failed) {
        return;
    }
    path->failed = path->error = path->link->errors = true;
    path->error_code = code;
    path->error_text = text;
    if (link->log != NULL) {
        tbi_log(link->log, TBQ_LOG_WARNING, "link: %s", text);
    }
    tbi_paths_changed(link);
}

/* --- Which are used --------------------------------------------------------------------------- */

static unsigned find_usable(const struct tbi_link *link)
{
    unsigned sound = 0, all = 0;

    TBI_FOREACH_PATH(p, link)
    {
        all |= p->failed ? 0 : p->bit;
        sound |= p->failed || p->suspect ? 0 : p->bit;
    }
    return sound != 0 ? sound : all;
}

static bool several(unsigned bits)
{
    return (bits & (bits - 1)) != 0;
}

static uint64_t rtt(const struct tbi_link_path *p)
{
    struct tbi_path_facts f = {0};
    p->conn.facts(p->conn.user, &f);
    return f.rtt_ns;
}

static bool clearly_better(const struct tbi_link_path *p, const struct tbi_link_path *than)
{
    uint64_t has = rtt(than);
    uint64_t gain = has / BETTER_PART > BETTER_NS ? has / BETTER_PART : BETTER_NS;
    return rtt(p) + gain < has;
}

/* The path for failover: stays until another one is clearly better, or it is not usable. */
static struct tbi_link_path *best_of(struct tbi_link *link, unsigned usable)
{
    struct tbi_link_path *best = link->best;
    bool stays = best != NULL && (best->bit & usable) != 0;

    if (stays && !several(usable)) {
        return best;
    }
    best = stays ? best : NULL;
    TBI_FOREACH_PATH(p, link)
    {
        if ((p->bit & usable) != 0 && p != best && (best == NULL || clearly_better(p, best))) {
            best = p;
        }
    }
    link->best = best;
    return best;
}

void tbi_paths_changed(struct tbi_link *link)
{
    unsigned usable = link->usable = find_usable(link);

    if (link->control == NULL || (link->control->bit & usable) == 0) {
        struct tbi_link_path *best = best_of(link, usable);
        link->control = best != NULL && !best->ahead ? best : NULL;
        link->control_blocked = false;
        tbi_taken_retell(link);
        tbi_outbox_retell(link);
    }
    tbi_outbox_again(link, usable);
}

/* --- Ahead of the peer's CONFIRM -------------------------------------------------------------- */

static size_t with_type(size_t size)
{
    return size + TBI_PROLOGUE_SIZE_MAX; /* of a stream, which may have to be opened for it */
}

bool tbi_path_allows(const struct tbi_link_path *path, size_t size)
{
    return !path->ahead || with_type(size) <= path->allowance;
}

void tbi_path_spend(struct tbi_link_path *path, size_t size)
{
    path->allowance -= path->ahead ? with_type(size) : 0;
}

/* --- Choosing --------------------------------------------------------------------------------- */

bool tbi_path_has_room(struct tbi_link_path *path, tbq_lane lane)
{
    size_t *room = &path->room[lane];

    *room = *room == TBI_NOT_ASKED ? path->conn.room(path->conn.user, (int)lane) : *room;
    return *room > 0;
}

void tbi_path_filled(struct tbi_link_path *path, tbq_lane lane, size_t size)
{
    size_t *room = &path->room[lane];

    *room -= *room == TBI_NOT_ASKED ? 0 : *room < size ? *room : size;
}

void tbi_paths_ask_again(struct tbi_link *link)
{
    TBI_FOREACH_PATH(p, link)
    {
        for (size_t i = 0; i < TBQ_LANES; i++) {
            p->room[i] = TBI_NOT_ASKED;
        }
    }
}

struct tbi_link_path *tbi_path_only(struct tbi_link *link)
{
    return link->usable != 0 && !several(link->usable) ? best_of(link, link->usable) : NULL;
}

/* ns until the last byte of a message of that size would arrive; a guess from what is measured. */
static uint64_t arrival(const struct tbi_link_path *p, size_t size)
{
    struct tbi_path_facts f = {0};

    p->conn.facts(p->conn.user, &f);
    if (f.rate == 0) {
        return f.rtt_ns / 2;
    }
    return f.rtt_ns / 2 + (f.waiting + size) * TBI_NS_PER_MS / (f.rate / 1000 + 1);
}

static struct tbi_link_path *soonest(struct tbi_link *link, size_t size, unsigned among)
{
    struct tbi_link_path *best = NULL;
    uint64_t when = 0;

    TBI_FOREACH_PATH(p, link)
    {
        uint64_t at = (p->bit & among) != 0 ? arrival(p, size) : 0;
        if ((p->bit & among) != 0 && (best == NULL || at < when)) {
            best = p;
            when = at;
        }
    }
    return best;
}

struct tbi_link_path *tbi_path_choose(struct tbi_link *link, tbq_lane lane, size_t size,
                                      unsigned fitting)
{
    unsigned usable = link->usable;

    if (several(usable) && link->tx[lane].schedule != TBQ_FAILOVER) {
        return soonest(link, size, usable & fitting);
    }
    struct tbi_link_path *p = usable != 0 ? best_of(link, usable) : NULL;
    return p != NULL && (p->bit & fitting) != 0 ? p : NULL;
}

/* --- Coming and going ------------------------------------------------------------------------- */

static unsigned free_bit(const struct tbi_link *link)
{
    unsigned used = 0;

    TBI_FOREACH_PATH(p, link)
    {
        used |= p->bit;
    }
    for (unsigned i = 0; i < TBI_LINK_PATHS_MAX; i++) {
        if ((used & (1U << i)) == 0) {
            return 1U << i;
        }
    }
    return 0;
}

static struct tbi_link_path *path_new(struct tbi_link *link, const struct tbi_link_conn *conn)
{
    unsigned bit = free_bit(link);
    struct tbi_link_path *path = bit != 0 ? tbi_calloc(link->alloc, 1, sizeof *path) : NULL;

    if (path == NULL) {
        return NULL;
    }
    path->link = link;
    path->conn = *conn;
    path->bit = bit;
    path->number = ++link->stats.attached;
    tbi_list_init(&path->streams);
    for (size_t i = 0; i < TBQ_LANES; i++) {
        tbi_intake_reset(link, &path->in[i]);
        path->room[i] = TBI_NOT_ASKED;
    }
    return path;
}

static void fail_others(struct tbi_link *link, const struct tbi_link_path *but)
{
    TBI_FOREACH_PATH(p, link)
    {
        if (p != but) {
            tbi_path_fail(p, TBI_CLOSE_REPLACED, "the link has begun anew on another connection");
        }
    }
}

/* The peer's CONFIRM is in, section 8. What was sent ahead of it on this path arrives behind the
 * own CONFIRM, wherever the peer begins: only what went over others is lost to one that begins
 * anew, at `base`. */
static void meet(struct tbi_link_path *path, const uint64_t base[TBQ_LANES],
                 const struct tbi_confirm *peer)
{
    struct tbi_link *link = path->link;
    bool resumed = peer->known == link->incarnation;
    bool anew = peer->incarnation != link->known || !link->proven;

    if (anew || !resumed) {
        fail_others(link, path);
    }
    if (anew) {
        link->known = peer->incarnation;
        link->proven = false;
        if (tbi_taken_begin(link, peer->base) < 0) {
            tbi_path_fail(path, TBI_CLOSE_INTERNAL, "out of memory");
            link->known = 0; /* nothing is held for that incarnation after all */
        }
    }
    if (!resumed && !path->ahead) {
        tbi_outbox_begin(link, base);
    }
    path->ahead = false;
    if (link->log != NULL) {
        tbi_log(link->log, TBQ_LOG_DEBUG, "link: connection %llu, the peer %s",
                (unsigned long long)path->number, resumed ? "has its state" : "begins anew");
    }
    tbi_paths_changed(link);
}

struct tbi_link_path *tbi_link_attach(struct tbi_link *link, const struct tbi_link_conn *conn,
                                      const uint64_t base[TBQ_LANES],
                                      const struct tbi_confirm *peer,
                                      const struct tbi_link_limits *limits)
{
    struct tbi_link_path *path = path_new(link, conn);

    if (path != NULL) {
        tbi_list_push(&link->paths, &path->node);
        link->peer_max = limits->max_message_size;
        meet(path, base, peer);
    }
    return path;
}

/* Nothing has a number yet: so the peer, whatever it remembers, has nothing to forget. */
static bool is_fresh(const struct tbi_link *link)
{
    uint64_t used = 0;

    for (size_t i = 0; i < TBQ_LANES; i++) {
        used |= link->tx[i].next;
    }
    return used == 0 && tbi_list_empty(&link->paths);
}

struct tbi_link_path *tbi_link_attach_ahead(struct tbi_link *link, const struct tbi_link_conn *conn,
                                            const struct tbi_link_limits *limits, size_t bytes)
{
    struct tbi_link_path *path = is_fresh(link) ? path_new(link, conn) : NULL;

    if (path != NULL) {
        tbi_list_push(&link->paths, &path->node);
        link->peer_max = limits->max_message_size;
        path->ahead = true;
        path->allowance = bytes;
        tbi_paths_changed(link);
    }
    return path;
}

void tbi_link_confirmed(struct tbi_link_path *path, const struct tbi_confirm *peer)
{
    if (path->failed) {
        return; /* its error is told, and it will be closed */
    }
    meet(path, NULL, peer); /* it is ahead, from the first number on */
}

void tbi_link_detach(struct tbi_link_path *path, int reason)
{
    if (path == NULL) {
        return;
    }
    struct tbi_link *link = path->link;
    if (link->log != NULL) {
        tbi_log(link->log, TBQ_LOG_DEBUG, "link: connection %llu gone: %s",
                (unsigned long long)path->number, tbq_strerror(reason));
    }
    tbi_inbox_leave(path);
    tbi_list_remove(&path->node);
    tbi_outbox_off(link, path->bit);
    link->control = link->control == path ? NULL : link->control;
    link->best = link->best == path ? NULL : link->best;
    tbi_free(link->alloc, path);
    tbi_paths_changed(link);
}

bool tbi_link_attached(const struct tbi_link *link)
{
    return !tbi_list_empty(&link->paths);
}

void tbi_link_suspect(struct tbi_link_path *path, bool suspect)
{
    if (path->suspect != suspect) {
        path->suspect = suspect;
        tbi_paths_changed(path->link);
    }
}
