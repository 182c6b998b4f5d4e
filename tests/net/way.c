/* tests/net/way.c - see way.h */
#include <stdlib.h>
#include <string.h>

#include "way.h"

#define SECOND_NS 1000000000U
#define IPV4 0x0800U
#define IPV6 0x86ddU
#define IPV4_HEADER 20U
#define IPV6_HEADER 40U
#define UDP_HEADER 8U
#define UDP 17U
#define CE 3U /* "congestion experienced", RFC 3168 section 5 */

/* ---- chance ---- */

/* splitmix64: passes the usual tests, and any seed will do. */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15U;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

/* 0 <= x < 1 */
static double fraction(struct way *w, enum chance by)
{
    return (double)(draw(&w->random[by]) >> 11) / (double)(1ULL << 53);
}

static bool hit(struct way *w, enum chance by, double probability)
{
    return probability > 0 && fraction(w, by) < probability;
}

void way_seed(struct way *w, uint64_t seed)
{
    for (int i = 0; i < CHANCES; i++) {
        w->random[i] = draw(&seed);
    }
    w->bursting = false;
}

/* Two states (Gilbert): a burst ends with probability 1/burst, and begins so often that the share
 * of lost frames is right. */
static bool lost(struct way *w)
{
    double loss = w->set.loss, burst = w->set.burst;

    if (loss >= 1 || burst < 2) {
        return hit(w, BY_LOSS, loss);
    }
    w->bursting =
        w->bursting ? !hit(w, BY_LOSS, 1 / burst) : hit(w, BY_LOSS, loss / (burst * (1 - loss)));
    return w->bursting;
}

/* ---- what is in a frame ---- */

static unsigned get16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

/* Multicast and broadcast addresses have the lowest bit of their first byte set (IEEE 802.3). */
static bool is_unicast_ip(const uint8_t *frame, size_t size)
{
    unsigned type = get16(frame + 12);
    return (frame[0] & 1) == 0 && ((type == IPV4 && size >= ETHERNET_HEADER + IPV4_HEADER) ||
                                   (type == IPV6 && size >= ETHERNET_HEADER + IPV6_HEADER));
}

/* Sets a byte at an even or odd place and mends the Internet checksum that covers it, from the
 * difference alone (RFC 1624, equation 3). */
static void set_byte(uint8_t *at, uint8_t value, bool odd, uint8_t *checksum)
{
    unsigned shift = odd ? 0 : 8;
    unsigned sum = (~get16(checksum) & 0xffffU) + (~((unsigned)*at << shift) & 0xffffU) +
                   ((unsigned)value << shift);

    sum = (sum & 0xffffU) + (sum >> 16);
    sum = (sum & 0xffffU) + (sum >> 16);
    sum = ~sum & 0xffffU;
    *at = value;
    checksum[0] = (uint8_t)(sum >> 8);
    checksum[1] = (uint8_t)sum;
}

/* Marks a unicast IP frame whose sender said that it understands marks. */
static void mark(struct way *w, uint8_t *frame)
{
    uint8_t *ip = frame + ETHERNET_HEADER;

    if (get16(frame + 12) == IPV4 && (ip[1] & CE) != 0) {
        set_byte(&ip[1], ip[1] | CE, true, &ip[10]);
        w->count.marked++;
    } else if (get16(frame + 12) == IPV6 && (ip[1] >> 4 & CE) != 0) {
        ip[1] |= CE << 4; /* IPv6 has no checksum of its own */
        w->count.marked++;
    }
}

/* The UDP header of a unicast IP frame that has one and a payload behind it, or NULL. */
static uint8_t *udp_of(uint8_t *frame, size_t size)
{
    uint8_t *ip = frame + ETHERNET_HEADER, *udp;
    bool v4 = get16(frame + 12) == IPV4;

    if (v4 ? ip[9] != UDP || (get16(ip + 6) & 0x3fffU) != 0 /* a fragment */ : ip[6] != UDP) {
        return NULL;
    }
    udp = ip + (v4 ? (ip[0] & 15U) * 4 : IPV6_HEADER);
    return udp + UDP_HEADER < frame + size ? udp : NULL;
}

/* With the checksum as it was, the kernel would drop the datagram and it would be a loss only. */
static void corrupt(struct way *w, uint8_t *frame, size_t size)
{
    uint8_t *udp = udp_of(frame, size), none[2] = {0, 0};

    if (udp == NULL) {
        return;
    }
    size_t payload = (size_t)(frame + size - udp) - UDP_HEADER;
    uint64_t bit = draw(&w->random[BY_BIT]) % (payload * 8);
    size_t place = UDP_HEADER + (size_t)(bit / 8);
    bool unused = get16(udp + 6) == 0; /* IPv4 may go without */

    set_byte(&udp[place], udp[place] ^ (uint8_t)(1U << bit % 8), place % 2 != 0,
             unused ? none : &udp[6]);
    if (!unused && get16(udp + 6) == 0) {
        udp[6] = udp[7] = 0xff; /* the same number, and not "none" */
    }
    w->count.corrupted++;
}

/* ---- frames under way ---- */

static void append(struct frames *f, struct frame *frame)
{
    /* Nobody leaves before who is in front of it, also when the delay became shorter. */
    if (f->last != NULL && frame->due < f->last->due) {
        frame->due = f->last->due;
    }
    frame->next = NULL;
    *(f->last != NULL ? &f->last->next : &f->first) = frame;
    f->last = frame;
}

static struct frame *remove_first(struct frames *f)
{
    struct frame *frame = f->first;

    f->first = frame->next;
    f->last = f->first != NULL ? f->last : NULL;
    return frame;
}

/* The list whose first frame leaves next; the one without delay when both would. */
static struct frames *next_list(struct way *w)
{
    const struct frame *d = w->delayed.first, *o = w->overtaking.first;
    return o != NULL && (d == NULL || o->due <= d->due) ? &w->overtaking : &w->delayed;
}

static uint64_t propagation(struct way *w)
{
    uint64_t delay = w->set.delay_ns, jitter = w->set.jitter_ns;
    uint64_t most = delay + jitter, least = delay > jitter ? delay - jitter : 0;

    if (jitter == 0) {
        return delay;
    }
    return least + (uint64_t)(fraction(w, BY_JITTER) * (double)(most - least));
}

/* One copy behind the rate: it will have passed that at `passed`. */
static void send_off(struct way *w, uint64_t now, uint64_t passed, const uint8_t *bytes,
                     size_t size)
{
    bool faulty = is_unicast_ip(bytes, size);
    bool overtakes = faulty && hit(w, BY_REORDER, w->set.reorder);
    struct frame *frame = NULL;

    if (w->flight + size <= WAY_FLIGHT_MAX) {
        frame = malloc(sizeof *frame + size);
    }
    if (frame == NULL) {
        w->count.overflow++;
        return;
    }
    memcpy(frame->bytes, bytes, size);
    frame->size = size;
    frame->due = passed + (overtakes ? 0 : propagation(w));
    if (faulty && w->set.ecn_ns > 0 && passed - now > w->set.ecn_ns) {
        mark(w, frame->bytes);
    }
    if (faulty && hit(w, BY_CORRUPT, w->set.corrupt)) {
        corrupt(w, frame->bytes, size);
    }
    append(overtakes ? &w->overtaking : &w->delayed, frame);
    w->count.reordered += overtakes;
    w->flight += size;
}

/* Lets a frame of that many bytes of IP into the queue before the rate: when it will have passed,
 * or WAY_NEVER when there is no room. The queue is what the rate still has to do, so a change of
 * the rate counts for frames that come after it. */
static uint64_t pass_rate(struct way *w, uint64_t now, size_t size)
{
    uint64_t rate = w->set.rate;
    uint64_t begin = w->free_at > now ? w->free_at : now;

    if (rate == 0) {
        return begin; /* a queue from before the limit went is kept in order */
    }
    double waiting = (double)(begin - now) * (double)rate / 8 / SECOND_NS;
    if (waiting + (double)size > (double)w->set.queue) {
        return WAY_NEVER;
    }
    w->free_at = begin + (uint64_t)size * 8 * SECOND_NS / rate;
    return w->free_at;
}

/* ---- the way ---- */

void way_init(struct way *w)
{
    memset(w, 0, sizeof *w);
    w->set.queue = WAY_QUEUE_DEFAULT;
}

void way_clear(struct way *w)
{
    while (next_list(w)->first != NULL) {
        free(remove_first(next_list(w)));
    }
    w->flight = 0;
}

void way_put(struct way *w, uint64_t now, const uint8_t *bytes, size_t size)
{
    if (size < ETHERNET_HEADER) {
        return;
    }
    size_t ip_size = size - ETHERNET_HEADER;
    bool faulty = is_unicast_ip(bytes, size);

    w->count.in++;
    w->count.in_bytes += ip_size;
    if (w->set.down) {
        w->count.down++;
        return;
    }
    if (w->set.mtu > 0 && ip_size > w->set.mtu) {
        w->count.mtu++;
        return;
    }
    if (faulty && lost(w)) {
        w->count.lost++;
        return;
    }
    bool twice = faulty && hit(w, BY_DUPLICATE, w->set.duplicate);
    w->count.duplicated += twice;
    for (int i = 0; i <= twice; i++) {
        uint64_t passed = pass_rate(w, now, ip_size);
        if (passed == WAY_NEVER) {
            w->count.queue++;
        } else {
            send_off(w, now, passed, bytes, size);
        }
    }
}

uint64_t way_due(const struct way *w)
{
    const struct frame *d = w->delayed.first, *o = w->overtaking.first;
    uint64_t due = d != NULL ? d->due : WAY_NEVER;
    return o != NULL && o->due < due ? o->due : due;
}

struct frame *way_take(struct way *w, uint64_t now)
{
    while (way_due(w) <= now) {
        struct frame *frame = remove_first(next_list(w));
        w->flight -= frame->size;
        if (!w->set.down) {
            w->count.out++;
            w->count.out_bytes += frame->size - ETHERNET_HEADER;
            return frame;
        }
        w->count.down++;
        free(frame);
    }
    return NULL;
}
