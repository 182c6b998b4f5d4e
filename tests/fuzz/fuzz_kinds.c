/* tests/fuzz/fuzz_kinds.c - any bytes as the body of a message.
 *
 * Input: one byte, the kind, then the body. What was decoded, encoded and decoded again must be
 * encoded to the same bytes, and stay within the documented ranges. */
#include <stdlib.h>
#include <string.h>

#include "wire/kind.h"

#define BODY_MAX (TBI_PEER_LIST_MAX * (TBI_RECORD_SIZE_MAX + 8) + 64)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

typedef int again_fn(struct tbi_cursor body, struct tbi_writer *w);
#define AGAIN(name, check, payload)                                                                \
    static int again_##name(struct tbi_cursor body, struct tbi_writer *w)                          \
    {                                                                                              \
        struct tbi_##name m;                                                                       \
        int rv = tbi_get_##name(body, &m);                                                         \
        if (rv == 0) {                                                                             \
            require(check);                                                                        \
            tbi_put_##name(w, &m);                                                                 \
            payload;                                                                               \
        }                                                                                          \
        return rv;                                                                                 \
    }
AGAIN(ping, m.wall_ms <= TBI_WALL_MS_MAX && (m.load.told || m.load.load == 0), (void)0)
AGAIN(pong, m.wall_ms <= TBI_WALL_MS_MAX && m.echo_wall_ms <= TBI_WALL_MS_MAX, (void)0)
AGAIN(discover, m.max >= 1 && m.max <= TBI_PEER_LIST_MAX, (void)0)
AGAIN(announce, m.record_size >= 1 && m.record_size <= TBI_RECORD_SIZE_MAX, (void)0)
AGAIN(peer_list, m.len <= TBI_PEER_LIST_MAX, (void)0)
AGAIN(resource_request, m.id != 0 && m.timeout_ms <= TBI_REQUEST_TIMEOUT_MAX_MS,
      tbi_put_bytes(w, m.data, m.size))
AGAIN(resource_response, m.id != 0 && m.status <= TBQ_RESPONSE_FAILED,
      tbi_put_bytes(w, m.data, m.size))
AGAIN(body_part,
      m.id != 0 && m.offset <= TBQ_BODY_LENGTH_MAX && m.size <= TBQ_BODY_LENGTH_MAX - m.offset,
      tbi_put_bytes(w, m.data, m.size))
AGAIN(error_body, m.code <= INT32_MAX && m.lane < TBQ_LANES && m.text_size <= TBI_ERROR_TEXT_MAX,
      (void)0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static again_fn *const kinds[] = {
        [TBQ_PING] = again_ping,
        [TBQ_PONG] = again_pong,
        [TBQ_DISCOVER] = again_discover,
        [TBQ_ANNOUNCE] = again_announce,
        [TBQ_PEER_LIST] = again_peer_list,
        [TBQ_RESOURCE_REQUEST] = again_resource_request,
        [TBQ_RESOURCE_RESPONSE] = again_resource_response,
        [TBQ_ERROR] = again_error_body,
        [TBQ_BODY] = again_body_part,
    };
    static uint8_t first[BODY_MAX], second[BODY_MAX];
    struct tbi_writer one, two;
    struct tbi_cursor c;
    int rv;

    if (size < 1 || size > BODY_MAX || data[0] > TBQ_BODY || kinds[data[0]] == NULL) {
        return 0;
    }
    tbi_cur_init(&c, data + 1, size - 1);
    tbi_put_init(&one, first, sizeof first);
    rv = kinds[data[0]](c, &one);
    if (rv != 0) {
        require(rv == TBQ_ERR_MALFORMED || rv == TBQ_ERR_UNSUPPORTED);
        return 0;
    }
    require(tbi_put_error(&one) == 0);
    tbi_cur_init(&c, first, tbi_put_size(&one));
    tbi_put_init(&two, second, sizeof second);
    require(kinds[data[0]](c, &two) == 0 && tbi_put_error(&two) == 0);
    require(tbi_put_size(&one) == tbi_put_size(&two));
    require(memcmp(first, second, tbi_put_size(&one)) == 0);
    return 0;
}
