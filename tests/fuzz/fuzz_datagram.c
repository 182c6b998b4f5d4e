/* tests/fuzz/fuzz_datagram.c - the engine's datagram input: genuine handshakes whose datagrams are
 * lost, doubled, held back, cut and changed as the input says, and bytes that are no QUIC at all.
 *
 * The input: a byte of flags (1: the node dials), then commands of one byte each, with what they
 * take: 0 the oldest datagram arrives; 1 the newest does; 2 the oldest is lost; 3 doubled; 4 OFFSET
 * XOR: changed; 5 LENGTH: cut; 6 MS: time passes; 7 LENGTH BYTES: these arrive from the peer's
 * address; 8 LENGTH BYTES: from elsewhere; 9: everything arrives for 5 ms. Offsets and lengths have
 * two bytes. Other commands count as their rest by ten. */
#include <string.h>

#include "world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define COMMANDS_MAX 400

static struct world w;

static void change(struct tbi_cursor *c)
{
    uint16_t at = tbi_cur_u16(c);
    uint8_t with = tbi_cur_u8(c);
    if (w.flying > 0 && w.wire[0].size > 0) {
        w.wire[0].data[at % w.wire[0].size] ^= with;
    }
}

static void cut(struct tbi_cursor *c)
{
    uint16_t length = tbi_cur_u16(c);
    if (w.flying > 0 && length < w.wire[0].size) {
        w.wire[0].size = length;
    }
}

static void inject(struct tbi_cursor *c, bool elsewhere)
{
    uint16_t length = tbi_cur_u16(c);
    size_t size = length < tbi_cur_left(c) ? length : tbi_cur_left(c);
    struct tbi_addr from = w.peer_addr;
    const uint8_t *bytes = tbi_cur_take(c, size);

    if (elsewhere) {
        tbi_addr_set_port(&from, 9);
    }
    world_inject(&w, bytes, size, &from);
}

static void command(struct tbi_cursor *c)
{
    switch (tbi_cur_u8(c) % 10) {
    case 0:
        if (w.flying > 0) {
            world_deliver(&w, 0);
        }
        break;
    case 1:
        if (w.flying > 0) {
            world_deliver(&w, w.flying - 1);
        }
        break;
    case 2:
        if (w.flying > 0) {
            memmove(w.wire, w.wire + 1, --w.flying * sizeof w.wire[0]);
        }
        break;
    case 3:
        if (w.flying > 0 && w.flying < WIRE_MAX) {
            w.wire[w.flying] = w.wire[0];
            w.flying++;
        }
        break;
    case 4:
        change(c);
        break;
    case 5:
        cut(c);
        break;
    case 6:
        world_pass(&w, 1 + (uint64_t)tbi_cur_u8(c) * 4);
        break;
    case 7:
        inject(c, false);
        break;
    case 8:
        inject(c, true);
        break;
    case 9:
        world_run(&w, 5);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tbi_cursor c;

    tbi_cur_init(&c, data, size);
    world_begin(&w, (tbi_cur_u8(&c) & 1) != 0);
    world_collect(&w);
    for (int i = 0; i < COMMANDS_MAX && tbi_cur_left(&c) > 0; i++) {
        command(&c);
        world_collect(&w);
        world_look(&w);
    }
    world_end(&w);
    return 0;
}
