/* wire/frame.c - the frames of the control, lane and unordered streams, encode beside decode. */
#include "wire/frame.h"

#include <string.h>

#include <tbquic/error.h>

#include "wire/fields.h"
#include "wire/record.h"

enum hello_field {
    HELLO_MINOR = 0,
    HELLO_FEATURES = 1,
    HELLO_BOOT_ID = 2,
    HELLO_IDLE_TIMEOUT = 3,
    HELLO_MAX_MESSAGE_SIZE = 4,
    HELLO_BESIDE = 7
};

enum confirm_field {
    CONFIRM_INCARNATION = 0,
    CONFIRM_OBSERVED = 1,
    CONFIRM_KNOWN = 2,
    CONFIRM_RECORD = 3,
    CONFIRM_BASE = 4
};

/* The length stands before the body, so a control frame is made here first. */
struct draft {
    struct tbi_writer w;
    uint8_t body[TBI_CONTROL_FRAME_MAX];
};

static struct tbi_writer *draft_begin(struct draft *d)
{
    tbi_put_init(&d->w, d->body, sizeof d->body);
    return &d->w;
}

static void draft_end(struct draft *d, struct tbi_writer *to, uint64_t type)
{
    if (tbi_put_error(&d->w) != 0) {
        tbi_put_fail(to, tbi_put_error(&d->w));
        return;
    }
    tbi_put_varint(to, type);
    tbi_put_prefixed(to, d->body, tbi_put_size(&d->w));
}

static void put_lane(struct tbi_writer *w, tbq_lane lane)
{
    if ((unsigned)lane >= TBQ_LANES) {
        tbi_put_fail(w, TBQ_ERR_INTERNAL);
        return;
    }
    tbi_put_varint(w, (uint64_t)lane);
}

static tbq_lane get_lane(struct tbi_cursor *c)
{
    return (tbq_lane)tbi_cur_varint_in(c, 0, TBQ_LANES - 1);
}

/* A number that must be in min..max, or the struct was not one that can be sent. */
static void put_in(struct tbi_writer *w, uint64_t v, uint64_t min, uint64_t max)
{
    if (v < min || v > max) {
        tbi_put_fail(w, TBQ_ERR_INTERNAL);
        return;
    }
    tbi_put_varint(w, v);
}

/* --- HELLO ---------------------------------------------------------------------------------- */

void tbi_put_hello(struct tbi_writer *w, const struct tbi_hello *f)
{
    struct draft d;
    struct tbi_writer *b = draft_begin(&d);

    tbi_put_field_varint(b, HELLO_MINOR, f->minor);
    if (f->features != 0) {
        tbi_put_field_varint(b, HELLO_FEATURES, f->features);
    }
    tbi_put_field(b, HELLO_BOOT_ID, f->boot_id, sizeof f->boot_id);
    if (f->idle_timeout_ms != 0) {
        tbi_put_field_varint(b, HELLO_IDLE_TIMEOUT, f->idle_timeout_ms);
    }
    tbi_put_field_varint(b, HELLO_MAX_MESSAGE_SIZE, f->max_message_size);
    if (f->beside) {
        tbi_put_field(b, HELLO_BESIDE, NULL, 0);
    }
    draft_end(&d, w, TBI_FRAME_HELLO);
}

static bool hello_field(struct tbi_hello *f, uint64_t type, struct tbi_cursor *value)
{
    uint64_t v;

    switch (type) {
    case HELLO_MINOR:
        f->minor = tbi_cur_varint(value);
        return true;
    case HELLO_FEATURES:
        f->features = tbi_cur_varint(value);
        return true;
    case HELLO_BOOT_ID:
        tbi_cur_copy(value, f->boot_id, sizeof f->boot_id);
        return true;
    case HELLO_IDLE_TIMEOUT:
        v = tbi_cur_varint(value);
        f->idle_timeout_ms =
            v == 0 ? 0 : tbi_clamp(v, TBI_IDLE_TIMEOUT_MIN_MS, TBI_IDLE_TIMEOUT_MAX_MS);
        return true;
    case HELLO_MAX_MESSAGE_SIZE:
        v = tbi_cur_varint(value);
        f->max_message_size = tbi_clamp(v, TBI_MESSAGE_SIZE_MIN, TBI_MESSAGE_SIZE_MAX);
        return true;
    case HELLO_BESIDE:
        f->beside = true;
        return true;
    default:
        return false;
    }
}

int tbi_get_hello(struct tbi_cursor body_bytes, struct tbi_hello *f)
{
    const unsigned required =
        1U << HELLO_MINOR | 1U << HELLO_BOOT_ID | 1U << HELLO_MAX_MESSAGE_SIZE;
    struct tbi_cursor *c = &body_bytes;
    struct tbi_cursor value;
    struct tbi_fields fields;
    unsigned seen = 0;
    uint64_t type;

    memset(f, 0, sizeof *f);
    tbi_fields_init(&fields, c);
    while (tbi_fields_next(&fields, &type, &value)) {
        if (!hello_field(f, type, &value)) {
            tbi_fields_unknown(&fields, type);
            continue;
        }
        tbi_fields_done(&fields, &value);
        seen |= 1U << type;
    }
    if ((seen & required) != required) {
        tbi_cur_fail(c, TBQ_ERR_MALFORMED);
    }
    return tbi_cur_finish(c);
}

/* --- CONFIRM -------------------------------------------------------------------------------- */

static void put_base(struct tbi_writer *w, const uint64_t base[TBQ_LANES])
{
    uint64_t size = 0;

    for (size_t i = 0; i < TBQ_LANES; i++) {
        size += tbi_varint_size(base[i]);
    }
    tbi_put_varint(w, CONFIRM_BASE);
    tbi_put_varint(w, size);
    for (size_t i = 0; i < TBQ_LANES; i++) {
        put_in(w, base[i], 0, TBI_VARINT_MAX);
    }
}

void tbi_put_confirm(struct tbi_writer *w, const struct tbi_confirm *f)
{
    struct draft d;
    struct tbi_writer *b = draft_begin(&d);

    if (f->incarnation == 0 || f->record_size > TBI_RECORD_SIZE_MAX) {
        tbi_put_fail(b, TBQ_ERR_INTERNAL);
    }
    tbi_put_field_u64(b, CONFIRM_INCARNATION, f->incarnation);
    if (f->observed.len != 0) {
        tbi_put_varint(b, CONFIRM_OBSERVED);
        tbi_put_address(b, &f->observed);
    }
    tbi_put_field_u64(b, CONFIRM_KNOWN, f->known);
    if (f->record != NULL) {
        tbi_put_field(b, CONFIRM_RECORD, f->record, f->record_size);
    }
    put_base(b, f->base);
    draft_end(&d, w, TBI_FRAME_CONFIRM);
}

static bool confirm_field(struct tbi_confirm *f, uint64_t type, struct tbi_cursor *value)
{
    switch (type) {
    case CONFIRM_INCARNATION:
        f->incarnation = tbi_cur_u64(value);
        return true;
    case CONFIRM_OBSERVED:
        tbi_get_address(value, &f->observed);
        return true;
    case CONFIRM_KNOWN:
        f->known = tbi_cur_u64(value);
        return true;
    case CONFIRM_RECORD:
        if (tbi_cur_left(value) == 0 || tbi_cur_left(value) > TBI_RECORD_SIZE_MAX) {
            tbi_cur_fail(value, TBQ_ERR_MALFORMED);
        }
        f->record = tbi_cur_rest(value, &f->record_size);
        return true;
    case CONFIRM_BASE:
        for (size_t i = 0; i < TBQ_LANES; i++) {
            f->base[i] = tbi_cur_varint(value);
        }
        return true;
    default:
        return false;
    }
}

int tbi_get_confirm(struct tbi_cursor body_bytes, struct tbi_confirm *f)
{
    const unsigned required = 1U << CONFIRM_INCARNATION | 1U << CONFIRM_KNOWN | 1U << CONFIRM_BASE;
    struct tbi_cursor *c = &body_bytes;
    struct tbi_cursor value;
    struct tbi_fields fields;
    unsigned seen = 0;
    uint64_t type;

    memset(f, 0, sizeof *f);
    tbi_fields_init(&fields, c);
    while (tbi_fields_next(&fields, &type, &value)) {
        if (!confirm_field(f, type, &value)) {
            tbi_fields_unknown(&fields, type);
            continue;
        }
        tbi_fields_done(&fields, &value);
        seen |= 1U << type;
    }
    if ((seen & required) != required || f->incarnation == 0) {
        tbi_cur_fail(c, TBQ_ERR_MALFORMED);
    }
    return tbi_cur_finish(c);
}

/* --- ACK ------------------------------------------------------------------------------------ */

static void put_ack_set(struct tbi_writer *w, const struct tbi_ack_set *s)
{
    uint64_t end = s->below; /* first number that may not be in the set */

    put_in(w, s->below, 0, TBI_VARINT_MAX);
    put_in(w, s->ranges_len, 0, TBI_ACK_RANGES_MAX);
    for (size_t i = 0; i < s->ranges_len && tbi_put_error(w) == 0; i++) {
        const struct tbi_number_range *r = &s->ranges[i];
        put_in(w, r->from - end, 1, TBI_VARINT_MAX - end);
        put_in(w, r->count, 1, TBI_VARINT_MAX - r->from);
        end = r->from + r->count;
    }
}

static void get_ack_set(struct tbi_cursor *c, struct tbi_ack_set *s)
{
    uint64_t end;

    s->below = end = tbi_cur_varint(c);
    s->ranges_len = (size_t)tbi_cur_varint_in(c, 0, TBI_ACK_RANGES_MAX);
    for (size_t i = 0; i < s->ranges_len && tbi_cur_error(c) == 0; i++) {
        struct tbi_number_range *r = &s->ranges[i];
        r->from = end + tbi_cur_varint_in(c, 1, TBI_VARINT_MAX - end);
        r->count = tbi_cur_varint_in(c, 1, TBI_VARINT_MAX - r->from);
        end = r->from + r->count;
    }
}

void tbi_put_ack(struct tbi_writer *w, const struct tbi_ack *f)
{
    struct draft d;
    struct tbi_writer *b = draft_begin(&d);

    put_lane(b, f->lane);
    put_ack_set(b, &f->received);
    put_ack_set(b, &f->taken);
    draft_end(&d, w, TBI_FRAME_ACK);
}

int tbi_get_ack(struct tbi_cursor body_bytes, struct tbi_ack *f)
{
    struct tbi_cursor *c = &body_bytes;

    memset(f, 0, sizeof *f);
    f->lane = get_lane(c);
    get_ack_set(c, &f->received);
    get_ack_set(c, &f->taken);
    return tbi_cur_finish(c);
}

/* --- SKIP, DECLINED, SETTLED, ELSEWHERE ------------------------------------------------------ */

/* Rising numbers: the first as it is, each later one as its distance from the one before. */
static void put_number(struct tbi_writer *w, uint64_t number, const uint64_t *before)
{
    if (before == NULL) {
        put_in(w, number, 0, TBI_NUMBER_MAX);
    } else {
        put_in(w, number - *before, 1, TBI_NUMBER_MAX - *before);
    }
}

static uint64_t get_number(struct tbi_cursor *c, const uint64_t *before)
{
    if (before == NULL) {
        return tbi_cur_varint_in(c, 0, TBI_NUMBER_MAX);
    }
    /* the number before may be the last one: then 1..0 is an empty range, and all are refused */
    return *before + tbi_cur_varint_in(c, 1, TBI_NUMBER_MAX - *before);
}

void tbi_put_numbers(struct tbi_writer *w, const struct tbi_numbers *f)
{
    struct draft d;
    struct tbi_writer *b = draft_begin(&d);

    put_lane(b, f->lane);
    put_in(b, f->len, 1, TBI_NUMBERS_MAX);
    for (size_t i = 0; i < f->len && tbi_put_error(b) == 0; i++) {
        put_number(b, f->number[i], i == 0 ? NULL : &f->number[i - 1]);
    }
    draft_end(&d, w, TBI_FRAME_SKIP);
}

int tbi_get_numbers(struct tbi_cursor body_bytes, struct tbi_numbers *f)
{
    struct tbi_cursor *c = &body_bytes;

    memset(f, 0, sizeof *f);
    f->lane = get_lane(c);
    f->len = (size_t)tbi_cur_varint_in(c, 1, TBI_NUMBERS_MAX);
    for (size_t i = 0; i < f->len && tbi_cur_error(c) == 0; i++) {
        f->number[i] = get_number(c, i == 0 ? NULL : &f->number[i - 1]);
    }
    return tbi_cur_finish(c);
}

void tbi_put_declined(struct tbi_writer *w, const struct tbi_declined *f)
{
    struct draft d;
    struct tbi_writer *b = draft_begin(&d);

    put_lane(b, f->lane);
    put_in(b, f->len, 1, TBI_DECLINED_MAX);
    for (size_t i = 0; i < f->len && tbi_put_error(b) == 0; i++) {
        put_number(b, f->entry[i].number, i == 0 ? NULL : &f->entry[i - 1].number);
        put_in(b, f->entry[i].code, 0, TBI_VARINT_MAX);
    }
    draft_end(&d, w, TBI_FRAME_DECLINED);
}

int tbi_get_declined(struct tbi_cursor body_bytes, struct tbi_declined *f)
{
    struct tbi_cursor *c = &body_bytes;

    memset(f, 0, sizeof *f);
    f->lane = get_lane(c);
    f->len = (size_t)tbi_cur_varint_in(c, 1, TBI_DECLINED_MAX);
    for (size_t i = 0; i < f->len && tbi_cur_error(c) == 0; i++) {
        f->entry[i].number = get_number(c, i == 0 ? NULL : &f->entry[i - 1].number);
        f->entry[i].code = tbi_cur_varint(c);
    }
    return tbi_cur_finish(c);
}

void tbi_put_settled(struct tbi_writer *w, const struct tbi_settled *f)
{
    struct draft d;
    struct tbi_writer *b = draft_begin(&d);

    put_lane(b, f->lane);
    put_in(b, f->below, 0, TBI_VARINT_MAX);
    draft_end(&d, w, TBI_FRAME_SETTLED);
}

int tbi_get_settled(struct tbi_cursor body_bytes, struct tbi_settled *f)
{
    struct tbi_cursor *c = &body_bytes;

    f->lane = get_lane(c);
    f->below = tbi_cur_varint(c);
    return tbi_cur_finish(c);
}

void tbi_put_elsewhere(struct tbi_writer *w, const struct tbi_elsewhere *f)
{
    struct draft d;
    struct tbi_writer *b = draft_begin(&d);

    put_in(b, f->number, 0, TBI_NUMBER_MAX);
    draft_end(&d, w, TBI_FRAME_ELSEWHERE);
}

int tbi_get_elsewhere(struct tbi_cursor body_bytes, struct tbi_elsewhere *f)
{
    struct tbi_cursor *c = &body_bytes;

    f->number = tbi_cur_varint_in(c, 0, TBI_NUMBER_MAX);
    return tbi_cur_finish(c);
}

/* --- BUSY ------------------------------------------------------------------------------------ */

void tbi_put_busy(struct tbi_writer *w, const struct tbi_busy *f)
{
    struct draft d;
    struct tbi_writer *b = draft_begin(&d);

    put_in(b, f->len, 0, TBI_BUSY_RECORDS_MAX);
    for (size_t i = 0; i < f->len && tbi_put_error(b) == 0; i++) {
        tbi_put_sealed(b, f->at[i].record, f->at[i].size);
    }
    draft_end(&d, w, TBI_FRAME_BUSY);
}

int tbi_get_busy(struct tbi_cursor body_bytes, struct tbi_busy *f)
{
    struct tbi_cursor *c = &body_bytes;

    memset(f, 0, sizeof *f);
    f->len = (size_t)tbi_cur_varint_in(c, 0, TBI_BUSY_RECORDS_MAX);
    for (size_t i = 0; i < f->len && tbi_cur_error(c) == 0; i++) {
        f->at[i].record = tbi_get_sealed(c, &f->at[i].size);
    }
    tbi_fields_skip(c);
    return tbi_cur_finish(c);
}

/* --- REST ------------------------------------------------------------------------------------ */

void tbi_put_rest(struct tbi_writer *w, const struct tbi_rest *f)
{
    struct draft d;

    (void)f;
    (void)draft_begin(&d);
    draft_end(&d, w, TBI_FRAME_REST);
}

int tbi_get_rest(struct tbi_cursor body_bytes, struct tbi_rest *f)
{
    struct tbi_cursor *c = &body_bytes;

    memset(f, 0, sizeof *f);
    tbi_fields_skip(c);
    return tbi_cur_finish(c);
}

/* --- 0-RTT ----------------------------------------------------------------------------------- */

void tbi_put_early_ping(struct tbi_writer *w, const struct tbi_early_ping *f)
{
    struct draft d;

    tbi_put_u64(draft_begin(&d), f->id);
    draft_end(&d, w, TBI_FRAME_EARLY_PING);
}

int tbi_get_early_ping(struct tbi_cursor body_bytes, struct tbi_early_ping *f)
{
    struct tbi_cursor *c = &body_bytes;

    f->id = tbi_get_id(c);
    tbi_fields_skip(c);
    return tbi_cur_finish(c);
}

void tbi_put_early_pong(struct tbi_writer *w, const struct tbi_early_pong *f)
{
    struct draft d;
    struct tbi_writer *b = draft_begin(&d);

    tbi_put_u64(b, f->id);
    tbi_put_varint(b, tbi_clamp(f->wall_ms, 0, TBI_WALL_MS_MAX));
    draft_end(&d, w, TBI_FRAME_EARLY_PONG);
}

int tbi_get_early_pong(struct tbi_cursor body_bytes, struct tbi_early_pong *f)
{
    struct tbi_cursor *c = &body_bytes;

    f->id = tbi_get_id(c);
    f->wall_ms = tbi_clamp(tbi_cur_varint(c), 0, TBI_WALL_MS_MAX);
    tbi_fields_skip(c);
    return tbi_cur_finish(c);
}

/* --- MESSAGE -------------------------------------------------------------------------------- */

#define MESSAGE_FLAGS_KNOWN (TBI_MESSAGE_REPEAT | TBI_MESSAGE_SKIPPABLE)

void tbi_put_message_head(struct tbi_writer *w, const struct tbi_message *f, size_t body_size)
{
    uint64_t length = tbi_varint_size(f->number) + tbi_varint_size(f->flags) +
                      tbi_varint_size(f->kind) + (uint64_t)body_size;

    if (length > TBI_FRAME_LENGTH_MAX) {
        tbi_put_fail(w, TBQ_ERR_TOO_LARGE);
        return;
    }
    tbi_put_varint(w, TBI_FRAME_MESSAGE);
    tbi_put_varint(w, length);
    put_in(w, f->number, 0, TBI_NUMBER_MAX);
    put_in(w, f->flags, 0, MESSAGE_FLAGS_KNOWN);
    put_in(w, f->kind, 0, TBI_VARINT_MAX);
}

int tbi_get_message_head(struct tbi_cursor *c, struct tbi_message *f)
{
    f->number = tbi_cur_varint_in(c, 0, TBI_NUMBER_MAX);
    f->flags = tbi_cur_varint(c);
    f->kind = tbi_cur_varint(c);
    if (tbi_cur_error(c) == 0 && (f->flags & ~(uint64_t)MESSAGE_FLAGS_KNOWN) != 0) {
        tbi_cur_fail(c, TBQ_ERR_UNSUPPORTED);
    }
    return tbi_cur_error(c);
}
