/* tests/unit/test_way.c - the emulated link of the network tests, over virtual time: what it does
 * to frames is exact there, whatever the machine is busy with. */
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "../net/way.h"

#define MS UINT64_C(1000000)
#define FRAME_SIZE (ETHERNET_HEADER + 1000)
#define MANY 20000U

static struct way way;
static uint32_t numbers[MANY + 10]; /* of the frames that came out, in their order */
static uint64_t times[MANY + 10];
static size_t came;

/* ---- frames ---- */

static void set16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static uint32_t add_up(const uint8_t *at, size_t size)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < size; i++) {
        sum += (uint32_t)at[i] << (i % 2 == 0 ? 8 : 0);
    }
    while (sum >> 16 != 0) {
        sum = (sum & 0xffffU) + (sum >> 16);
    }
    return sum;
}

/* The UDP datagram with its pseudo header (RFC 768, RFC 8200 section 8.1); 0xffff: it is right. */
static uint32_t udp_sum(const uint8_t *frame, size_t size)
{
    const uint8_t *ip = frame + ETHERNET_HEADER;
    bool v4 = frame[12] == 0x08;
    size_t header = v4 ? 20 : 40, udp_size = size - ETHERNET_HEADER - header;
    uint32_t sum = 17 + (uint32_t)udp_size;

    sum += add_up(v4 ? ip + 12 : ip + 8, v4 ? 8 : 32);
    sum += add_up(ip + header, udp_size);
    return (sum & 0xffffU) + (sum >> 16);
}

/* A datagram that carries its number, in a frame of that size. */
static void build(uint8_t *frame, size_t size, bool v4, uint32_t number)
{
    size_t header = v4 ? 20 : 40;
    uint8_t *ip = frame + ETHERNET_HEADER, *udp = ip + header;

    for (size_t i = 0; i < size; i++) {
        frame[i] = (uint8_t)(i * 7);
    }
    frame[0] = 2; /* unicast */
    set16(frame + 12, v4 ? 0x0800 : 0x86dd);
    if (v4) {
        set16(ip, 0x4500);
        set16(ip + 2, (unsigned)size - ETHERNET_HEADER);
        set16(ip + 6, 0x4000); /* not to be fragmented */
        ip[9] = 17;
        set16(ip + 10, 0);
        set16(ip + 10, ~add_up(ip, 20) & 0xffffU);
    } else {
        set16(ip, 0x6000);
        ip[6] = 17;
    }
    memcpy(udp + 8, &number, sizeof number);
    set16(udp + 6, 0);
    set16(udp + 6, ~udp_sum(frame, size) & 0xffffU);
}

/* The stories that use this do not look at the checksum, which is of the first number. */
static void put(uint64_t now, uint32_t number)
{
    static uint8_t frame[FRAME_SIZE];

    if (frame[0] == 0) {
        build(frame, sizeof frame, true, number);
    }
    memcpy(frame + ETHERNET_HEADER + 28, &number, sizeof number);
    way_put(&way, now, frame, sizeof frame);
}

/* Takes out all that ever comes, each when it is due, and lets go of the link. */
static void drain(void)
{
    struct frame *f;

    for (came = 0; way_due(&way) != WAY_NEVER; came++) {
        uint64_t due = way_due(&way);
        ck_assert_ptr_null(way_take(&way, due - 1));
        f = way_take(&way, due);
        ck_assert_uint_eq(f->size, FRAME_SIZE);
        memcpy(&numbers[came], f->bytes + ETHERNET_HEADER + 28, sizeof numbers[came]);
        times[came] = due;
        free(f);
    }
    /* Every frame is accounted for. */
    const struct way_counters *c = &way.count;
    ck_assert_uint_eq(c->in + c->duplicated,
                      c->out + c->down + c->mtu + c->lost + c->queue + c->overflow);
    ck_assert_uint_eq(c->out, came);
    ck_assert_uint_eq(way.flight, 0);
}

/* A link with these settings takes that many frames, one each ms from the second one on. */
static void carry(const struct way_settings *set, uint64_t seed, uint32_t many)
{
    way_init(&way);
    way_seed(&way, seed);
    way.set = *set;
    way.set.queue = WAY_QUEUE_DEFAULT;
    for (uint32_t i = 0; i < many; i++) {
        put((1000 + i) * MS, i);
    }
    drain();
}

/* ---- stories ---- */

START_TEST(every_frame_is_late_by_the_delay_exactly)
{
    const struct way_settings set = {.delay_ns = 20 * MS};

    carry(&set, 1, 100);
    ck_assert_uint_eq(came, 100);
    for (uint32_t i = 0; i < came; i++) {
        ck_assert_uint_eq(numbers[i], i);
        ck_assert_uint_eq(times[i], (1020 + i) * MS);
    }
    ck_assert_uint_eq(way.count.out_bytes, 100 * 1000);
}
END_TEST

START_TEST(jitter_spreads_and_keeps_the_order)
{
    const struct way_settings set = {.delay_ns = 20 * MS, .jitter_ns = 5 * MS};
    uint64_t least = UINT64_MAX, most = 0;

    carry(&set, 1, 1000);
    ck_assert_uint_eq(came, 1000);
    for (uint32_t i = 0; i < came; i++) {
        uint64_t late = times[i] - (1000 + i) * MS;
        ck_assert_uint_eq(numbers[i], i);
        ck_assert(late >= 15 * MS && late <= 25 * MS);
        least = late < least ? late : least;
        most = late > most ? late : most;
    }
    ck_assert_uint_lt(least, 18 * MS);
    ck_assert_uint_gt(most, 24 * MS);
}
END_TEST

START_TEST(a_shorter_delay_lets_nobody_overtake)
{
    way_init(&way);
    way.set.delay_ns = 50 * MS;
    put(0, 0);
    way.set.delay_ns = 10 * MS;
    put(1 * MS, 1);
    put(60 * MS, 2);
    drain();
    ck_assert(numbers[0] == 0 && times[0] == 50 * MS);
    ck_assert(numbers[1] == 1 && times[1] == 50 * MS);
    ck_assert(numbers[2] == 2 && times[2] == 70 * MS);
}
END_TEST

START_TEST(reordered_frames_overtake)
{
    const struct way_settings set = {.delay_ns = 20 * MS, .reorder = 0.1};
    uint32_t early = 0;

    carry(&set, 1, 10000);
    ck_assert_uint_eq(came, 10000);
    for (uint32_t i = 0; i < came; i++) {
        early += times[i] == (1000 + numbers[i]) * MS;
    }
    ck_assert_uint_eq(early, way.count.reordered);
    ck_assert(early > 850 && early < 1150);
}
END_TEST

START_TEST(as_many_are_lost_as_was_said)
{
    const struct way_settings set = {.loss = 0.05};

    carry(&set, 1, MANY);
    ck_assert(way.count.lost > MANY / 20 * 9 / 10 && way.count.lost < MANY / 20 * 11 / 10);
}
END_TEST

START_TEST(bursts_are_as_long_as_was_said)
{
    const struct way_settings set = {.loss = 0.05, .burst = 5};
    uint32_t bursts = 0, next = 0;

    carry(&set, 1, MANY);
    for (size_t i = 0; i < came; i++) {
        bursts += numbers[i] != next;
        next = numbers[i] + 1;
    }
    ck_assert(way.count.lost > MANY / 20 * 7 / 10 && way.count.lost < MANY / 20 * 13 / 10);
    ck_assert(way.count.lost > 4 * bursts && way.count.lost < 6 * bursts);
}
END_TEST

/* The numbers that come out are what a seed decides. */
START_TEST(a_seed_gives_the_same_losses)
{
    static uint32_t before[1000];
    struct way_settings set = {.loss = 0.3};
    size_t many;

    carry(&set, 42, 1000);
    many = came;
    memcpy(before, numbers, many * sizeof *before);
    carry(&set, 42, 1000);
    ck_assert(came == many && memcmp(before, numbers, many * sizeof *before) == 0);
    set.jitter_ns = 1 * MS; /* a chance of another kind */
    set.delay_ns = 1 * MS;
    carry(&set, 42, 1000);
    ck_assert(came == many && memcmp(before, numbers, many * sizeof *before) == 0);
    carry(&set, 43, 1000);
    ck_assert(came != many || memcmp(before, numbers, many * sizeof *before) != 0);
}
END_TEST

START_TEST(duplicates_come_twice)
{
    const struct way_settings set = {.duplicate = 0.1};
    uint32_t twice = 0;

    carry(&set, 1, 10000);
    for (size_t i = 1; i < came; i++) {
        twice += numbers[i] == numbers[i - 1];
    }
    ck_assert_uint_eq(twice, way.count.duplicated);
    ck_assert_uint_eq(came, 10000 + twice);
    ck_assert(twice > 850 && twice < 1150);
}
END_TEST

/* 8 Mbit/s carry 1000 bytes of IP in 1 ms. */
START_TEST(the_rate_is_kept_and_its_queue_has_an_end)
{
    way_init(&way);
    way.set.rate = 8000000;
    way.set.queue = 10000;
    way.set.delay_ns = 5 * MS;
    for (uint32_t i = 0; i < 100; i++) {
        put(0, i);
    }
    /* Half of the queue has passed: there is room for as many again. */
    for (uint32_t i = 100; i < 200; i++) {
        put(5 * MS, i);
    }
    drain();
    ck_assert_uint_eq(came, 15);
    ck_assert_uint_eq(way.count.queue, 185);
    for (uint32_t i = 0; i < came; i++) {
        ck_assert_uint_eq(numbers[i], i < 10 ? i : 90 + i);
        ck_assert_uint_eq(times[i], (i + 1 + 5) * MS);
    }
}
END_TEST

START_TEST(an_idle_rate_saves_nothing_up)
{
    way_init(&way);
    way.set.rate = 8000000;
    put(1000 * MS, 0);
    put(1000 * MS, 1);
    drain();
    ck_assert_uint_eq(times[0], 1001 * MS);
    ck_assert_uint_eq(times[1], 1002 * MS);
}
END_TEST

START_TEST(a_black_hole_swallows_all_and_ends)
{
    way_init(&way);
    way.set.delay_ns = 10 * MS;
    put(0, 0);
    way.set.down = true; /* number 0 is under way */
    put(1 * MS, 1);
    ck_assert_ptr_null(way_take(&way, 10 * MS));
    way.set.down = false;
    put(20 * MS, 2);
    drain();
    ck_assert_uint_eq(came, 1);
    ck_assert_uint_eq(numbers[0], 2);
    ck_assert_uint_eq(way.count.down, 2);
}
END_TEST

START_TEST(long_frames_vanish_and_others_do_not)
{
    uint8_t frame[FRAME_SIZE + 1];

    way_init(&way);
    way.set.mtu = 1000;
    build(frame, FRAME_SIZE + 1, true, 0);
    way_put(&way, MS, frame, FRAME_SIZE + 1);
    put(MS, 1);
    drain();
    ck_assert_uint_eq(came, 1);
    ck_assert_uint_eq(numbers[0], 1);
    ck_assert_uint_eq(way.count.mtu, 1);
}
END_TEST

START_TEST(what_is_under_way_has_a_limit)
{
    way_init(&way);
    way.set.delay_ns = 1000 * MS;
    for (uint32_t i = 0; i <= WAY_FLIGHT_MAX / FRAME_SIZE; i++) {
        put(0, i);
    }
    ck_assert_uint_eq(way.count.overflow, 1);
    ck_assert_uint_le(way.flight, WAY_FLIGHT_MAX);
    way_clear(&way);
    ck_assert_uint_eq(way_due(&way), WAY_NEVER);
    ck_assert_uint_eq(way.flight, 0);
}
END_TEST

/* One bit of the payload differs, and the receiving kernel would not notice. */
START_TEST(corrupt_frames_have_right_checksums)
{
    uint8_t frame[FRAME_SIZE];

    way_init(&way);
    way_seed(&way, 1);
    way.set.corrupt = 1;
    for (uint32_t i = 0; i < 2000; i++) {
        bool v4 = i % 2 == 0, without = i % 10 == 0;
        size_t size = FRAME_SIZE - i % 3, header = ETHERNET_HEADER + (v4 ? 28U : 48U);
        unsigned differ = 0;
        build(frame, size, v4, i);
        ck_assert_uint_eq(udp_sum(frame, size), 0xffff);
        if (without) {
            set16(frame + ETHERNET_HEADER + 26, 0);
        }
        way_put(&way, 0, frame, size);
        struct frame *f = way_take(&way, 0);
        ck_assert_ptr_nonnull(f);
        for (size_t b = header; b < size; b++) {
            differ += (unsigned)__builtin_popcount(f->bytes[b] ^ frame[b]);
        }
        ck_assert_uint_eq(differ, 1);
        ck_assert_int_eq(memcmp(f->bytes, frame, header - 2), 0);
        if (without) {
            ck_assert_uint_eq(add_up(f->bytes + header - 2, 2), 0);
        } else {
            ck_assert_uint_eq(udp_sum(f->bytes, size), 0xffff);
        }
        free(f);
    }
    ck_assert_uint_eq(way.count.corrupted, 2000);
}
END_TEST

/* Sends three frames into a full millisecond of queue each, and says what the third one's ECN
 * bits and header have become. */
static unsigned ecn_after_waiting(bool v4, unsigned ecn)
{
    uint8_t frame[FRAME_SIZE];
    struct frame *f = NULL;
    unsigned got;

    way_init(&way);
    way.set.rate = 8000000;
    way.set.ecn_ns = 2 * MS;
    build(frame, sizeof frame, v4, 0);
    if (v4) {
        frame[ETHERNET_HEADER + 1] = (uint8_t)ecn;
        set16(frame + ETHERNET_HEADER + 10, 0);
        set16(frame + ETHERNET_HEADER + 10, ~add_up(frame + ETHERNET_HEADER, 20) & 0xffffU);
    } else {
        frame[ETHERNET_HEADER + 1] = (uint8_t)(ecn << 4);
    }
    for (int i = 0; i < 3; i++) {
        way_put(&way, 0, frame, sizeof frame);
    }
    for (int i = 0; i < 3; i++) {
        free(f);
        f = way_take(&way, 10 * MS);
        ck_assert_ptr_nonnull(f);
        got = v4 ? f->bytes[ETHERNET_HEADER + 1] & 3U : f->bytes[ETHERNET_HEADER + 1] >> 4 & 3U;
        ck_assert(i == 2 || got == ecn); /* who waits no more than 2 ms is not marked */
        if (v4) {
            ck_assert_uint_eq(add_up(f->bytes + ETHERNET_HEADER, 20), 0xffff);
        }
    }
    free(f);
    ck_assert_uint_eq(way.count.marked, got != ecn || ecn == 3);
    return got;
}

START_TEST(who_waits_is_marked_if_it_can_be)
{
    for (int v4 = 0; v4 < 2; v4++) {
        ck_assert_uint_eq(ecn_after_waiting(v4 != 0, 0), 0);
        ck_assert_uint_eq(ecn_after_waiting(v4 != 0, 1), 3);
        ck_assert_uint_eq(ecn_after_waiting(v4 != 0, 2), 3);
        ck_assert_uint_eq(ecn_after_waiting(v4 != 0, 3), 3);
    }
}
END_TEST

START_TEST(neighbours_and_multicast_are_not_lost_by_chance)
{
    uint8_t frame[FRAME_SIZE];

    way_init(&way);
    way.set.loss = 1;
    build(frame, sizeof frame, true, 1);
    set16(frame + 12, 0x0806); /* ARP */
    way_put(&way, MS, frame, sizeof frame);
    build(frame, sizeof frame, false, 2);
    frame[0] = 0x33; /* IPv6 multicast */
    way_put(&way, MS, frame, sizeof frame);
    put(MS, 3);
    drain();
    ck_assert_uint_eq(came, 2);
    ck_assert_uint_eq(way.count.lost, 1);
}
END_TEST

START_TEST(no_frame_is_too_short)
{
    uint8_t frame[FRAME_SIZE];

    way_init(&way);
    way.set = (struct way_settings){
        .loss = 0.1, .duplicate = 1, .corrupt = 1, .reorder = 0.5, .ecn_ns = 1, .rate = 1000};
    way.set.queue = SIZE_MAX;
    for (int v4 = 0; v4 < 2; v4++) {
        for (size_t size = 0; size < 80; size++) {
            uint8_t *exact = malloc(size + 1); /* so that a checker sees a step beyond */
            build(frame, sizeof frame, v4 != 0, 0);
            memcpy(exact, frame, size);
            way_put(&way, 0, exact, size);
            free(exact);
        }
    }
    ck_assert_uint_eq(way.count.in, 2 * (80 - ETHERNET_HEADER));
    way_clear(&way);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("way");
    TCase *t = tcase_create("way");

    tcase_add_test(t, every_frame_is_late_by_the_delay_exactly);
    tcase_add_test(t, jitter_spreads_and_keeps_the_order);
    tcase_add_test(t, a_shorter_delay_lets_nobody_overtake);
    tcase_add_test(t, reordered_frames_overtake);
    tcase_add_test(t, as_many_are_lost_as_was_said);
    tcase_add_test(t, bursts_are_as_long_as_was_said);
    tcase_add_test(t, a_seed_gives_the_same_losses);
    tcase_add_test(t, duplicates_come_twice);
    tcase_add_test(t, the_rate_is_kept_and_its_queue_has_an_end);
    tcase_add_test(t, an_idle_rate_saves_nothing_up);
    tcase_add_test(t, a_black_hole_swallows_all_and_ends);
    tcase_add_test(t, long_frames_vanish_and_others_do_not);
    tcase_add_test(t, what_is_under_way_has_a_limit);
    tcase_add_test(t, corrupt_frames_have_right_checksums);
    tcase_add_test(t, who_waits_is_marked_if_it_can_be);
    tcase_add_test(t, neighbours_and_multicast_are_not_lost_by_chance);
    tcase_add_test(t, no_frame_is_too_short);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
