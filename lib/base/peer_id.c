/* base/peer_id.c - peer ids as text: RFC 4648 base32, lower case, no padding, read back strictly.
 *
 * 32 bytes are 256 bits, 52 characters 260: the last character's low four bits are always zero,
 * and a text where they are not would be a second name for the same peer, so it is refused. */
#include <string.h>

#include <tbquic/types.h>

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";

void tbq_peer_id_to_text(const tbq_peer_id *id, char text[TBQ_PEER_ID_TEXT_SIZE])
{
    unsigned bits = 0; /* that `pending` holds, above those already written */
    uint32_t pending = 0;
    char *out = text;

    for (size_t i = 0; i < TBQ_PEER_ID_SIZE; i++) {
        pending = (pending << 8 | id->bytes[i]) & 0xffffU;
        bits += 8;
        while (bits >= 5) {
            bits -= 5;
            *out++ = alphabet[pending >> bits & 31U];
        }
    }
    *out++ = alphabet[pending << (5 - bits) & 31U]; /* 256 = 51 * 5 + 1 */
    *out = '\0';
}

int tbq_peer_id_from_text(tbq_peer_id *id, const char *text)
{
    unsigned bits = 0;
    uint32_t pending = 0;
    tbq_peer_id read;
    size_t size = 0;

    if (id == NULL || text == NULL ||
        strnlen(text, TBQ_PEER_ID_TEXT_SIZE) != TBQ_PEER_ID_TEXT_SIZE - 1) {
        return TBQ_ERR_INVALID;
    }
    for (; *text != '\0'; text++) {
        const char *at = strchr(alphabet, *text);
        if (at == NULL) {
            return TBQ_ERR_INVALID;
        }
        pending = (pending << 5 | (uint32_t)(at - alphabet)) & 0xffffU;
        bits += 5;
        if (bits >= 8) {
            bits -= 8;
            read.bytes[size++] = (uint8_t)(pending >> bits);
        }
    }
    if ((pending & ((1U << bits) - 1U)) != 0) {
        return TBQ_ERR_INVALID;
    }
    *id = read;
    return 0;
}

int tbq_peer_id_compare(const tbq_peer_id *a, const tbq_peer_id *b)
{
    return memcmp(a->bytes, b->bytes, TBQ_PEER_ID_SIZE);
}
