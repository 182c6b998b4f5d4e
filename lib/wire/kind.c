/* wire/kind.c - the bodies of the ten kinds of message, encode beside decode. */
#include "wire/kind.h"

#include <string.h>

#include <tbquic/error.h>

#include "wire/fields.h"

_Static_assert(TBQ_BODY_LENGTH_MAX == TBI_VARINT_MAX - 1, "a length and 1 is a varint too");

static void put_wall(struct tbi_writer *w, uint64_t wall_ms)
{
    tbi_put_varint(w, tbi_clamp(wall_ms, 0, TBI_WALL_MS_MAX));
}

static uint64_t get_wall(struct tbi_cursor *c)
{
    return tbi_clamp(tbi_cur_varint(c), 0, TBI_WALL_MS_MAX);
}

/* --- Load: fields of PING and PONG, each of a fixed size, so that both fit beside the rest ------
 */

enum { FIELD_LOAD = 0x05, FIELD_CAPACITY = 0x07 };

static void put_field_u16(struct tbi_writer *w, uint64_t type, uint16_t value)
{
    tbi_put_varint(w, type);
    tbi_put_varint(w, 2);
    tbi_put_u16(w, value);
}

static void put_load(struct tbi_writer *w, const struct tbi_load *l)
{
    if (l->told) {
        put_field_u16(w, FIELD_LOAD, l->load);
    }
    if (l->capacity != 0) {
        put_field_u16(w, FIELD_CAPACITY, l->capacity);
    }
}

static int get_load(struct tbi_cursor *c, struct tbi_load *l)
{
    struct tbi_fields f;
    struct tbi_cursor value;
    uint64_t type;

    *l = (struct tbi_load){0};
    tbi_fields_init(&f, c);
    while (tbi_fields_next(&f, &type, &value)) {
        if (type == FIELD_LOAD) {
            l->told = true;
            l->load = tbi_cur_u16(&value);
            tbi_fields_done(&f, &value);
        } else if (type == FIELD_CAPACITY) {
            l->capacity = (uint16_t)tbi_clamp(tbi_cur_u16(&value), 1, UINT16_MAX);
            tbi_fields_done(&f, &value);
        } else {
            tbi_fields_unknown(&f, type);
        }
    }
    return tbi_cur_finish(c);
}

/* The end of a kind without payload: fields that may come one day. */
static int finish(struct tbi_cursor *c)
{
    tbi_fields_skip(c);
    return tbi_cur_finish(c);
}

void tbi_put_ping(struct tbi_writer *w, const struct tbi_ping *m)
{
    tbi_put_u64(w, m->id);
    put_wall(w, m->wall_ms);
    put_load(w, &m->load);
}

int tbi_get_ping(struct tbi_cursor c, struct tbi_ping *m)
{
    m->id = tbi_cur_u64(&c);
    m->wall_ms = get_wall(&c);
    return get_load(&c, &m->load);
}

void tbi_put_pong(struct tbi_writer *w, const struct tbi_pong *m)
{
    tbi_put_u64(w, m->id);
    put_wall(w, m->echo_wall_ms);
    put_wall(w, m->wall_ms);
    put_load(w, &m->load);
}

int tbi_get_pong(struct tbi_cursor c, struct tbi_pong *m)
{
    m->id = tbi_cur_u64(&c);
    m->echo_wall_ms = get_wall(&c);
    m->wall_ms = get_wall(&c);
    return get_load(&c, &m->load);
}

void tbi_put_discover(struct tbi_writer *w, const struct tbi_discover *m)
{
    tbi_put_varint(w, tbi_clamp(m->max, 1, TBI_PEER_LIST_MAX));
    tbi_put_varint(w, m->capabilities);
}

int tbi_get_discover(struct tbi_cursor c, struct tbi_discover *m)
{
    m->max = tbi_clamp(tbi_cur_varint(&c), 1, TBI_PEER_LIST_MAX);
    m->capabilities = tbi_cur_varint(&c);
    return finish(&c);
}

void tbi_put_announce(struct tbi_writer *w, const struct tbi_announce *m)
{
    tbi_put_sealed(w, m->record, m->record_size);
}

int tbi_get_announce(struct tbi_cursor c, struct tbi_announce *m)
{
    m->record = tbi_get_sealed(&c, &m->record_size);
    return finish(&c);
}

void tbi_put_peer_list(struct tbi_writer *w, const struct tbi_peer_list *m)
{
    if (m->len > TBI_PEER_LIST_MAX) {
        tbi_put_fail(w, TBQ_ERR_INTERNAL);
        return;
    }
    tbi_put_varint(w, m->len);
    for (size_t i = 0; i < m->len; i++) {
        tbi_put_sealed(w, m->at[i].record, m->at[i].size);
    }
}

int tbi_get_peer_list(struct tbi_cursor c, struct tbi_peer_list *m)
{
    memset(m, 0, sizeof *m);
    m->len = (size_t)tbi_cur_varint_in(&c, 0, TBI_PEER_LIST_MAX);
    for (size_t i = 0; i < m->len && tbi_cur_error(&c) == 0; i++) {
        m->at[i].record = tbi_get_sealed(&c, &m->at[i].size);
    }
    return finish(&c);
}

/* Ids of requests and bodies are never 0, on either side. */
static void put_own_id(struct tbi_writer *w, uint64_t id)
{
    if (id == 0) {
        tbi_put_fail(w, TBQ_ERR_INTERNAL);
        return;
    }
    tbi_put_u64(w, id);
}

void tbi_put_resource_request(struct tbi_writer *w, const struct tbi_resource_request *m)
{
    put_own_id(w, m->id);
    tbi_put_varint(w, tbi_clamp(m->timeout_ms, 0, TBI_REQUEST_TIMEOUT_MAX_MS));
}

int tbi_get_resource_request(struct tbi_cursor c, struct tbi_resource_request *m)
{
    m->id = tbi_get_id(&c);
    m->timeout_ms = tbi_clamp(tbi_cur_varint(&c), 0, TBI_REQUEST_TIMEOUT_MAX_MS);
    m->data = tbi_cur_rest(&c, &m->size);
    return tbi_cur_finish(&c);
}

void tbi_put_resource_response(struct tbi_writer *w, const struct tbi_resource_response *m)
{
    put_own_id(w, m->id);
    tbi_put_varint(w, tbi_clamp(m->status, 0, TBQ_RESPONSE_FAILED));
}

int tbi_get_resource_response(struct tbi_cursor c, struct tbi_resource_response *m)
{
    m->id = tbi_get_id(&c);
    m->status = tbi_clamp(tbi_cur_varint(&c), 0, TBQ_RESPONSE_FAILED);
    m->data = tbi_cur_rest(&c, &m->size);
    return tbi_cur_finish(&c);
}

void tbi_put_error_body(struct tbi_writer *w, const struct tbi_error_body *m)
{
    bool fits = m->code <= INT32_MAX && m->text_size <= TBI_ERROR_TEXT_MAX &&
                (!m->has_subject || (m->lane < TBQ_LANES && m->number <= TBI_NUMBER_MAX));

    if (!fits) {
        tbi_put_fail(w, TBQ_ERR_INTERNAL);
        return;
    }
    tbi_put_varint(w, m->code);
    tbi_put_varint(w, m->has_subject ? 1 : 0);
    if (m->has_subject) {
        tbi_put_varint(w, m->lane);
        tbi_put_varint(w, m->number);
    }
    tbi_put_prefixed(w, m->text, m->text_size);
}

int tbi_get_error_body(struct tbi_cursor c, struct tbi_error_body *m)
{
    struct tbi_cursor text;

    memset(m, 0, sizeof *m);
    m->code = tbi_cur_varint_in(&c, 0, INT32_MAX);
    m->has_subject = tbi_cur_varint_in(&c, 0, 1) == 1;
    if (m->has_subject) {
        m->lane = tbi_cur_varint_in(&c, 0, TBQ_LANES - 1);
        m->number = tbi_cur_varint_in(&c, 0, TBI_NUMBER_MAX);
    }
    text = tbi_cur_prefixed(&c, TBI_ERROR_TEXT_MAX);
    m->text = tbi_cur_rest(&text, &m->text_size);
    return finish(&c);
}

void tbi_put_body_part(struct tbi_writer *w, const struct tbi_body_part *m)
{
    bool told = m->length != TBQ_LENGTH_UNKNOWN;

    if (m->what > TBI_BODY_GIVEN_UP || m->offset > TBQ_BODY_LENGTH_MAX ||
        (told && m->length > TBQ_BODY_LENGTH_MAX)) {
        tbi_put_fail(w, TBQ_ERR_INTERNAL);
        return;
    }
    put_own_id(w, m->id);
    tbi_put_varint(w, m->what);
    tbi_put_varint(w, m->offset);
    tbi_put_varint(w, told ? m->length + 1 : 0);
}

int tbi_get_body_part(struct tbi_cursor c, struct tbi_body_part *m)
{
    uint64_t length;

    m->id = tbi_get_id(&c);
    m->what = tbi_cur_varint_in(&c, TBI_BODY_MORE, TBI_BODY_GIVEN_UP);
    m->offset = tbi_cur_varint_in(&c, 0, TBQ_BODY_LENGTH_MAX);
    length = tbi_cur_varint(&c);
    m->length = length == 0 ? TBQ_LENGTH_UNKNOWN : length - 1;
    m->data = tbi_cur_rest(&c, &m->size);
    if (m->size > TBQ_BODY_LENGTH_MAX - m->offset ||
        (m->what == TBI_BODY_GIVEN_UP ? m->size > 0 : m->size == 0 && m->what == TBI_BODY_MORE)) {
        tbi_cur_fail(&c, TBQ_ERR_MALFORMED);
    }
    return tbi_cur_finish(&c);
}
