/* tests/unit/link_world.c - see link_world.h. */
#include "link_world.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- Bytes and memory ----------------------------------------------------------------------- */

static void bytes_add(struct world_bytes *b, const void *data, size_t size)
{
    if (b->size + size > b->capacity) {
        b->capacity = 2 * (b->size + size);
        b->data = realloc(b->data, b->capacity);
        ck_assert_ptr_nonnull(b->data);
    }
    if (size > 0) {
        memcpy(b->data + b->size, data, size);
    }
    b->size += size;
}

static void bytes_drop(struct world_bytes *b, size_t size)
{
    memmove(b->data, b->data + size, b->size - size);
    b->size -= size;
}

static void *hook_alloc(void *user, size_t size)
{
    struct world *w = user;
    return ++w->allocs == w->fail_at ? NULL : malloc(size);
}

static void *hook_realloc(void *user, void *ptr, size_t size)
{
    struct world *w = user;
    return ++w->allocs == w->fail_at ? NULL : realloc(ptr, size);
}

static void hook_free(void *user, void *ptr)
{
    (void)user;
    free(ptr);
}

/* --- The story ------------------------------------------------------------------------------ */

void world_say(struct world *w, const char *format, ...)
{
    va_list args;

    if (!w->keep_story) {
        return;
    }
    va_start(args, format);
    int n = vsnprintf(w->story + w->story_len, sizeof w->story - w->story_len, format, args);
    va_end(args);
    ck_assert_int_ge(n, 0);
    w->story_len += (size_t)n;
    ck_assert_uint_lt(w->story_len, sizeof w->story);
    if (w->aloud) {
        fputs(w->story, stderr);
        w->story_len = 0;
    }
}

void world_expect(struct world *w, const char *story)
{
    ck_assert_str_eq(w->story, story);
    w->story_len = 0;
    w->story[0] = '\0';
}

static char name(int at)
{
    return at == A ? 'A' : 'B';
}

static void say_set(struct world *w, const struct tbi_ack_set *s)
{
    world_say(w, " <%llu", (unsigned long long)s->below);
    for (size_t i = 0; i < s->ranges_len; i++) {
        world_say(w, "+%llu", (unsigned long long)s->ranges[i].from);
        if (s->ranges[i].count > 1) {
            world_say(w, "..%llu",
                      (unsigned long long)(s->ranges[i].from + s->ranges[i].count - 1));
        }
    }
}

static void say_control(struct world *w, int from, uint64_t type, struct tbi_cursor body)
{
    union {
        struct tbi_ack ack;
        struct tbi_numbers skip;
        struct tbi_declined declined;
        struct tbi_settled settled;
    } f;

    world_say(w, "  %c: ", name(from));
    if (type == TBI_FRAME_ACK && tbi_get_ack(body, &f.ack) == 0) {
        world_say(w, "ACK %d", (int)f.ack.lane);
        say_set(w, &f.ack.received);
        say_set(w, &f.ack.taken);
    } else if (type == TBI_FRAME_SKIP && tbi_get_numbers(body, &f.skip) == 0) {
        world_say(w, "SKIP %d", (int)f.skip.lane);
        for (size_t i = 0; i < f.skip.len; i++) {
            world_say(w, " %llu", (unsigned long long)f.skip.number[i]);
        }
    } else if (type == TBI_FRAME_DECLINED && tbi_get_declined(body, &f.declined) == 0) {
        world_say(w, "DECLINED %d", (int)f.declined.lane);
        for (size_t i = 0; i < f.declined.len; i++) {
            world_say(w, " %llu:%llu", (unsigned long long)f.declined.entry[i].number,
                      (unsigned long long)f.declined.entry[i].code);
        }
    } else if (type == TBI_FRAME_SETTLED && tbi_get_settled(body, &f.settled) == 0) {
        world_say(w, "SETTLED %d <%llu", (int)f.settled.lane, (unsigned long long)f.settled.below);
    } else {
        ck_abort_msg("a control frame that nobody can read: %llu", (unsigned long long)type);
    }
    world_say(w, "\n");
}

/* --- The connection, as a link sees it ------------------------------------------------------ */

static struct world_bytes *queue(struct world_end *e, int stream)
{
    return stream == TBI_LINK_CONTROL ? &e->control : &e->lane[stream];
}

static size_t conn_room(void *user, int stream)
{
    struct world_end *e = user;
    size_t used = queue(e, stream)->size;
    return used < e->world->room ? e->world->room - used : 0;
}

static void add_frame(struct world_bytes *to, const struct tbi_headed *frame)
{
    bytes_add(to, frame->head, frame->head_size);
    if (frame->body != NULL) {
        bytes_add(to, frame->body->data, frame->body->size);
    }
}

static int conn_write(void *user, int stream, const struct tbi_headed *frames, size_t count)
{
    struct world_end *e = user;

    if (e->no_write) {
        return TBQ_ERR_NOMEM;
    }
    ck_assert_uint_gt(count, 0);
    count = e->world->takes > 0 && e->world->takes < count ? e->world->takes : count;
    for (size_t i = 0; i < count; i++) {
        ck_assert_uint_gt(conn_room(e, stream), 0);
        add_frame(queue(e, stream), &frames[i]);
    }
    return (int)count;
}

static int conn_write_aside(void *user, tbq_lane lane, bool unordered,
                            const struct tbi_headed *frame)
{
    struct world_end *e = user;

    if (e->no_write) {
        return TBQ_ERR_NOMEM;
    }
    for (size_t i = 0; i < WORLD_STREAMS; i++) {
        struct world_stream *s = &e->stream[i];
        if (s->open) {
            continue;
        }
        s->open = true;
        s->ended = false;
        s->id = e->next_stream++;
        s->lane = lane;
        s->unordered = unordered;
        s->in = NULL;
        s->bytes.size = 0;
        add_frame(&s->bytes, frame);
        return 0;
    }
    return TBQ_ERR_AGAIN;
}

struct world_end *world_end_of(struct world *w, int path, int at)
{
    return path == 0 ? &w->end[at] : &w->more[path - 1][at];
}

static struct world_end *other(struct world_end *e)
{
    return world_end_of(e->world, e->at_path, 1 - e->me);
}

static struct tbi_link *link_of(struct world_end *e)
{
    return e->world->end[e->me].link;
}

static void conn_consume(void *user, tbq_lane lane, uint64_t bytes)
{
    struct world_end *from = other(user);

    from->consumed[lane] += bytes;
    ck_assert_uint_le(from->consumed[lane], from->passed[lane]);
}

static void conn_consume_stream(void *user, uint64_t stream_id, uint64_t bytes)
{
    (void)user;
    (void)stream_id;
    ck_assert_uint_gt(bytes, 0);
}

static void conn_stream_done(void *user, uint64_t stream_id)
{
    struct world_end *from = other(user);

    for (size_t i = 0; i < WORLD_STREAMS; i++) {
        if (from->stream[i].open && from->stream[i].id == stream_id) {
            from->stream[i].open = false;
            return;
        }
    }
    ck_abort_msg("stream %llu was given back twice", (unsigned long long)stream_id);
}

static void conn_facts(void *user, struct tbi_path_facts *facts)
{
    const struct world_end *e = user;

    for (size_t i = 0; i < WORLD_STREAMS; i++) {
        facts->streams += !e->stream[i].open;
    }
    facts->rtt_ns = e->rtt_ns;
    facts->rate = e->rate;
    for (size_t i = 0; i < TBQ_LANES; i++) {
        facts->waiting += e->lane[i].size;
    }
}

/* --- Life ----------------------------------------------------------------------------------- */

struct tbi_link *world_link(struct world *w, int at)
{
    struct tbi_link_config config = {.alloc = &w->alloc,
                                     .rng = &w->rng,
                                     .outbox_messages = w->outbox_messages,
                                     .outbox_bytes = w->outbox_bytes,
                                     .max_message_size = w->end[at].max_message_size};
    memcpy(config.schedule, w->schedule, sizeof config.schedule);
    return tbi_link_new(&config);
}

void world_init(struct world *w, uint64_t seed)
{
    static const tbq_schedule plain[TBQ_LANES];
    world_init_as(w, seed, plain);
}

void world_init_as(struct world *w, uint64_t seed, const tbq_schedule schedule[TBQ_LANES])
{
    uint8_t key[TBI_RNG_SEED_SIZE] = {0};
    const tbq_allocator hook = {
        .alloc = hook_alloc, .realloc = hook_realloc, .free = hook_free, .user = w};

    memset(w, 0, sizeof *w);
    memcpy(key, &seed, sizeof seed);
    tbi_rng_init(&w->rng, key);
    ck_assert_int_eq(tbi_alloc_init(&w->alloc, &hook), 0);
    w->now = (struct tbi_now){.mono_ns = 1000 * TBI_NS_PER_S};
    w->room = 4096;
    w->keep_story = true;
    memcpy(w->schedule, schedule, sizeof w->schedule);
    for (int i = 0; i < 2 * WORLD_PATHS; i++) {
        struct world_end *e = world_end_of(w, i / 2, i % 2);
        e->world = w;
        e->me = i % 2;
        e->at_path = i / 2;
        e->max_message_size = WORLD_MAX;
        e->conn = (struct tbi_link_conn){.user = e,
                                         .room = conn_room,
                                         .write = conn_write,
                                         .write_aside = conn_write_aside,
                                         .consume = conn_consume,
                                         .consume_stream = conn_consume_stream,
                                         .stream_done = conn_stream_done,
                                         .facts = conn_facts};
        e->link = e->at_path == 0 ? world_link(w, e->me) : NULL;
        ck_assert(e->at_path > 0 || e->link != NULL);
    }
}

static void clear_end(struct world_end *e)
{
    e->control.size = e->frame.size = 0;
    for (size_t i = 0; i < TBQ_LANES; i++) {
        e->lane[i].size = 0;
        e->passed[i] = e->consumed[i] = 0;
    }
    for (size_t i = 0; i < WORLD_STREAMS; i++) {
        tbi_link_stream_free(e->stream[i].in);
        e->stream[i].in = NULL;
        e->stream[i].open = false;
        e->stream[i].bytes.size = 0;
    }
    tbi_frame_reader_init(&e->reader);
    e->errors = 0;
}

static void drop_held(struct world *w, int at)
{
    struct world_end *e = &w->end[at];

    while (e->held_len > 0) {
        tbi_delivery_take(e->held[--e->held_len], w->now);
    }
}

static void detach(struct world_end *e)
{
    struct tbi_link_path *path = e->path;

    e->path = NULL;
    e->ahead = false;
    tbi_link_detach(path, TBQ_ERR_LOST);
}

static void free_end(struct world_end *e)
{
    clear_end(e);
    free(e->control.data);
    free(e->frame.data);
    for (size_t k = 0; k < TBQ_LANES; k++) {
        free(e->lane[k].data);
    }
    for (size_t k = 0; k < WORLD_STREAMS; k++) {
        free(e->stream[k].bytes.data);
    }
}

void world_free(struct world *w)
{
    for (int i = 0; i < 2 * WORLD_PATHS; i++) {
        detach(world_end_of(w, i / 2, i % 2));
    }
    for (int i = A; i <= B; i++) {
        tbi_link_free(w->end[i].link);
        drop_held(w, i); /* after the link: they outlive it */
    }
    for (int i = 0; i < 2 * WORLD_PATHS; i++) {
        free_end(world_end_of(w, i / 2, i % 2));
    }
}

static void confirm(struct world *w, int path)
{
    for (int i = A; i <= B; i++) {
        struct world_end *e = world_end_of(w, path, i);
        clear_end(e);
        tbi_link_confirm(link_of(e), &e->confirm);
    }
}

static void attach(struct world *w, int path, int at)
{
    struct world_end *e = world_end_of(w, path, at);
    const struct tbi_link_limits limits = {.max_message_size = other(e)->max_message_size};

    if (e->ahead) {
        e->ahead = false;
        tbi_link_confirmed(e->path, &other(e)->confirm);
        world_drain(w, at);
        return;
    }
    detach(e);
    e->path = tbi_link_attach(link_of(e), &e->conn, e->confirm.base, &other(e)->confirm, &limits);
    e->errors += e->path == NULL; /* out of memory: its owner would close */
    world_drain(w, at);
}

void world_join(struct world *w, int path)
{
    confirm(w, path);
    attach(w, path, A);
    attach(w, path, B);
}

void world_part(struct world *w, int path)
{
    for (int i = A; i <= B; i++) {
        detach(world_end_of(w, path, i));
        world_drain(w, i);
    }
    clear_end(world_end_of(w, path, A));
    clear_end(world_end_of(w, path, B));
}

void world_suspect(struct world *w, int path, bool suspect)
{
    for (int i = A; i <= B; i++) {
        struct world_end *e = world_end_of(w, path, i);
        if (e->path != NULL) {
            tbi_link_suspect(e->path, suspect);
            world_drain(w, i);
        }
    }
}

void world_confirm(struct world *w)
{
    confirm(w, 0);
}

void world_attach(struct world *w, int at)
{
    w->up = true;
    attach(w, 0, at);
}

void world_ahead(struct world *w, int at)
{
    struct world_end *e = &w->end[at];
    const struct tbi_link_limits limits = {.max_message_size = other(e)->max_message_size};

    w->up = true;
    detach(e);
    e->path = tbi_link_attach_ahead(e->link, &e->conn, &limits, TBI_EARLY_BYTES_MAX);
    e->ahead = e->path != NULL;
    world_drain(w, at);
}

void world_connect(struct world *w)
{
    world_confirm(w);
    world_attach(w, A);
    world_attach(w, B);
}

void world_cut(struct world *w)
{
    w->up = false;
    for (int i = 0; i < WORLD_PATHS; i++) {
        world_part(w, i);
    }
}

/* What the process had is gone with it. */
static void kill_link(struct world *w, int at)
{
    struct world_end *e = &w->end[at];

    tbi_link_free(e->link);
    drop_held(w, at);
    e->path = NULL;
    e->link = world_link(w, at);
    ck_assert_ptr_nonnull(e->link);
}

void world_forget(struct world *w, int at)
{
    world_cut(w);
    kill_link(w, at);
}

void world_restart(struct world *w, int at)
{
    struct world_end *e = &w->end[1 - at];
    struct tbi_link *old = e->link;
    struct tbi_link *fresh = world_link(w, 1 - at);

    world_cut(w);
    kill_link(w, at);
    ck_assert_ptr_nonnull(fresh);
    tbi_link_absorb(fresh, old);
    world_drain(w, 1 - at);
    e->link = fresh;
    tbi_link_free(old);
}

/* --- Sending and moving --------------------------------------------------------------------- */

int world_send_more(struct world *w, int from, const struct tbi_outgoing *like, const void *data,
                    size_t size)
{
    struct tbi_outgoing m = *like;
    struct tbi_block *b = tbi_block_copy(&w->alloc, data, size);
    int rv = TBQ_ERR_NOMEM;

    if (b != NULL) {
        m.kind = m.kind != 0 ? m.kind : TBQ_TRANSITION;
        m.payload = b;
        rv = tbi_link_send(w->end[from].link, w->now, &m);
        tbi_block_unref(b);
    }
    world_drain(w, from);
    return rv;
}

int world_send(struct world *w, int from, tbq_lane lane, uint64_t tag, const char *text)
{
    const struct tbi_outgoing m = {.lane = lane, .tag = tag, .want_fate = true};
    return world_send_more(w, from, &m, text, strlen(text));
}

static void control_in(struct world_end *to, const uint8_t *data, size_t size)
{
    struct world *w = to->world;
    struct tbi_cursor c;

    tbi_cur_init(&c, data, size);
    for (;;) {
        const uint8_t *body;
        size_t body_size;
        bool complete;
        struct tbi_cursor whole;
        enum tbi_frame_step step = tbi_frame_step(&to->reader, &c, &body, &body_size, &complete);
        ck_assert_int_ne(step, TBI_STEP_ERROR);
        if (step == TBI_STEP_NEED_MORE) {
            return;
        }
        if (step == TBI_STEP_HEAD) {
            ck_assert_uint_le(to->reader.length, TBI_CONTROL_FRAME_MAX);
            to->frame.size = 0;
            continue;
        }
        bytes_add(&to->frame, body, body_size);
        if (complete) {
            tbi_cur_init(&whole, to->frame.data, to->frame.size);
            if (w->show_control) {
                say_control(w, 1 - to->me, to->reader.type, whole);
            }
            tbi_link_control(to->path, w->now, to->reader.type, whole);
        }
    }
}

static size_t move_own(struct world_end *to, struct world_stream *s, size_t most)
{
    struct world *w = to->world;
    size_t size = s->bytes.size < most ? s->bytes.size : most;

    if (!s->open || s->ended) {
        return 0;
    }
    if (s->in == NULL) {
        s->in = tbi_link_stream_new(to->path, s->lane, s->unordered, s->id);
    }
    bool fin = size == s->bytes.size;
    if (s->in != NULL) {
        struct tbi_link_stream *in = s->in;
        s->ended = fin;
        if (fin) {
            s->in = NULL;
        }
        tbi_link_stream_data(in, w->now, s->bytes.data, size, fin);
        if (fin) {
            tbi_link_stream_free(in);
        }
    }
    bytes_drop(&s->bytes, size);
    return size;
}

static size_t move_stream(struct world_end *e, int stream, size_t most)
{
    struct world_bytes *b = queue(e, stream);
    size_t size = b->size < most ? b->size : most;

    if (stream >= 0) {
        uint64_t left = WORLD_WINDOW - (e->passed[stream] - e->consumed[stream]);
        size = size < left ? size : (size_t)left;
        e->passed[stream] += size;
    }
    if (size == 0) {
        return 0;
    }
    uint8_t *copy = malloc(size); /* so that reading past it is seen */
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, b->data, size);
    bytes_drop(b, size);
    if (stream == TBI_LINK_CONTROL) {
        control_in(other(e), copy, size);
    } else {
        tbi_link_lane_data(other(e)->path, e->world->now, (tbq_lane)stream, copy, size);
    }
    free(copy);
    return size;
}

size_t world_move_on(struct world *w, int path, int from, int stream, size_t most)
{
    struct world_end *e = world_end_of(w, path, from);
    size_t size;

    if (e->path == NULL || other(e)->path == NULL || other(e)->ahead) {
        return 0;
    }
    size = stream >= TBQ_LANES ? move_own(other(e), &e->stream[stream - TBQ_LANES], most)
                               : move_stream(e, stream, most);
    world_drain(w, 1 - from);
    if (e->path != NULL) {
        tbi_link_tick(link_of(e), w->now);
    }
    world_drain(w, from);
    return size;
}

size_t world_move(struct world *w, int from, int stream, size_t most)
{
    return world_move_on(w, 0, from, stream, most);
}

void world_flow(struct world *w)
{
    size_t moved;

    do {
        moved = 0;
        for (int i = 0; i < 2 * WORLD_PATHS; i++) {
            for (int s = TBI_LINK_CONTROL; s < TBQ_LANES + WORLD_STREAMS; s++) {
                moved += world_move_on(w, i / 2, i % 2, s, SIZE_MAX);
            }
        }
    } while (moved > 0);
}

void world_wait(struct world *w, uint64_t ms)
{
    uint64_t end = w->now.mono_ns + ms * TBI_NS_PER_MS;

    for (int at = A; at <= B; at++) {
        tbi_link_tick(w->end[at].link, w->now);
        world_drain(w, at);
    }
    world_flow(w);
    while (w->now.mono_ns < end) {
        uint64_t next = end;
        for (int at = A; at <= B; at++) {
            uint64_t due = tbi_link_deadline(w->end[at].link);
            ck_assert_uint_gt(due, w->now.mono_ns); /* or a loop would spin */
            next = due < next ? due : next;
        }
        w->now.mono_ns = next;
        for (int at = A; at <= B; at++) {
            if (tbi_link_deadline(w->end[at].link) <= next) {
                tbi_link_tick(w->end[at].link, w->now);
                world_drain(w, at);
            }
        }
        world_flow(w);
    }
}

/* --- What comes out ------------------------------------------------------------------------- */

static void say_fate(struct world *w, int at, const struct tbi_link_fate *f)
{
    static const char *const what[] = {"?", "delivered", "not delivered", "unknown"};

    world_say(w, "%c %llu %s", name(at), (unsigned long long)f->tag, what[f->fate]);
    if (f->reason != 0) {
        world_say(w, ", %s", tbq_error_name(f->reason));
    }
    world_say(w, "\n");
}

static void say_delivery(struct world *w, int at, const struct tbi_delivery *d)
{
    int size = d->body->size < 20 ? (int)d->body->size : 20;

    world_say(w, "%c gets %d/%llu %.*s%s\n", name(at), (int)d->lane, (unsigned long long)d->number,
              size, (const char *)d->body->data, d->repeat ? ", perhaps again" : "");
}

void world_drain(struct world *w, int at)
{
    struct world_end *e = &w->end[at];
    struct tbi_link_action a;

    tbi_link_tick(e->link, w->now);
    while (tbi_link_next_action(e->link, &a)) {
        switch (a.type) {
        case TBI_LINK_DELIVER:
            say_delivery(w, at, a.u.delivery);
            ck_assert_uint_lt(e->held_len, WORLD_HELD);
            e->held[e->held_len++] = a.u.delivery;
            if (w->on_deliver != NULL) {
                w->on_deliver(w, at, a.u.delivery);
            }
            break;
        case TBI_LINK_FATE:
            say_fate(w, at, &a.u.fate);
            if (w->on_fate != NULL) {
                w->on_fate(w, at, &a.u.fate);
            }
            break;
        case TBI_LINK_WRITABLE:
            world_say(w, "%c writable\n", name(at));
            break;
        case TBI_LINK_ERROR:
            world_say(w, "%c error %llu: %s\n", name(at), (unsigned long long)a.u.error.code,
                      a.u.error.text);
            ((struct world_end *)a.u.error.user)->errors++;
            break;
        }
    }
}

static struct tbi_delivery *release(struct world_end *e, size_t held)
{
    struct tbi_delivery *d = e->held[held];

    memmove(e->held + held, e->held + held + 1, (e->held_len - held - 1) * sizeof(e->held[0]));
    e->held_len--;
    return d;
}

void world_take(struct world *w, int at, size_t held)
{
    tbi_delivery_take(release(&w->end[at], held), w->now);
    world_drain(w, at);
}

void world_take_all(struct world *w, int at)
{
    while (w->end[at].held_len > 0) {
        world_take(w, at, 0);
    }
}

void world_refuse(struct world *w, int at, size_t held, enum tbi_decline_code code)
{
    tbi_delivery_refuse(release(&w->end[at], held), w->now, code);
    world_drain(w, at);
}
