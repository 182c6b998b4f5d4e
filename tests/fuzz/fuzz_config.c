/* tests/fuzz/fuzz_config.c - any tbq_config: what is taken keeps its promises, what is refused is
 * told in a text that names the field.
 *
 * Input: steps of one byte, a row of the table below, then the value: eight bytes for a number, a
 * byte of length and as many for a text. The row behind the last one sets how many fields the
 * caller's struct has, as if it were compiled with an older library. */
#include <stdlib.h>
#include <string.h>

#include <tbquic/error.h>

#include "base/cursor.h"
#include "server/config.h"

#define WINDOW_MAX (UINT64_C(1) << 40) /* what QUIC's credit can tell, and more */
#define TEXTS_MAX 80                   /* a few more than bootstrap_nodes may have */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum kind { NUMBER, TEXT, LIST };

#define FIELD(member, kind)                                                                        \
    {                                                                                              \
#member, kind, offsetof(tbq_config, member), sizeof(((tbq_config *)NULL)->member)          \
    }
static const struct row {
    const char *name;
    enum kind kind;
    size_t at, size;
} rows[] = {
    FIELD(bind_address, TEXT),
    FIELD(bind_port, NUMBER),
    FIELD(cert_path, TEXT),
    FIELD(key_path, TEXT),
    FIELD(network_mode, NUMBER),
    FIELD(bootstrap_nodes, LIST),
    FIELD(bootstrap_nodes_len, NUMBER),
    FIELD(connection_timeout_ms, NUMBER),
    FIELD(max_connections, NUMBER),
    FIELD(max_message_size, NUMBER),
    FIELD(ping_interval_ms, NUMBER),
    FIELD(idle_timeout_ms, NUMBER),
    FIELD(peer_timeout_ms, NUMBER),
    FIELD(outbox_bytes, NUMBER),
    FIELD(outbox_messages, NUMBER),
    FIELD(receive_window, NUMBER),
    FIELD(capabilities, NUMBER),
    FIELD(role, NUMBER),
    FIELD(log_level, NUMBER),
    FIELD(error_text_size, NUMBER),
    FIELD(paths_max, NUMBER),
    FIELD(congestion, NUMBER),
    FIELD(receive_window_max, NUMBER),
    FIELD(receive_budget, NUMBER),
    FIELD(socket_buffer, NUMBER),
    {"schedule", NUMBER, offsetof(tbq_config, schedule), sizeof(tbq_schedule)},
};
#define ROWS (sizeof rows / sizeof rows[0])

struct caller {
    tbq_config c;
    const char *text[TEXTS_MAX]; /* of every kind; freed at the end */
    size_t texts_len;
    const char *bootstrap[TEXTS_MAX];
    size_t bootstrap_len;
    char why[200];
};

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* A copy of exactly that size, so that reading past it is noticed. */
static const char *take_text(struct caller *f, struct tbi_cursor *in)
{
    size_t size = tbi_cur_u8(in);
    size = size < tbi_cur_left(in) ? size : tbi_cur_left(in);
    const uint8_t *bytes = tbi_cur_take(in, size);
    char *text = f->texts_len < TEXTS_MAX ? malloc(size + 1) : NULL;

    if (text != NULL) {
        if (size > 0) {
            memcpy(text, bytes, size);
        }
        text[size] = '\0';
        f->text[f->texts_len++] = text;
    }
    return text;
}

static uint64_t take_number(struct tbi_cursor *in)
{
    uint64_t value = tbi_cur_u32(in);
    return value << 32 | tbi_cur_u32(in);
}

static void set(struct caller *f, const struct row *row, struct tbi_cursor *in)
{
    char *at = (char *)&f->c + row->at;
    uint64_t value;

    switch (row->kind) {
    case NUMBER:
        value = take_number(in);
        memcpy(at, &value, row->size); /* the low bytes, least significant first */
        break;
    case TEXT:
        *(const char **)(void *)at = take_text(f, in);
        break;
    case LIST:
        f->bootstrap[f->bootstrap_len % TEXTS_MAX] = take_text(f, in);
        f->bootstrap_len++;
        f->c.bootstrap_nodes = f->bootstrap;
        f->c.bootstrap_nodes_len = f->bootstrap_len;
        break;
    }
}

/* What a caller answers for itself: that its lengths are true and its pointers lead somewhere. */
static void be_honest(struct caller *f)
{
    if (f->c.bootstrap_nodes_len > TBI_BOOTSTRAP_MAX) {
        f->c.bootstrap_nodes = NULL; /* refused by its number, and never read */
    } else {
        f->c.bootstrap_nodes = f->bootstrap; /* NULL behind those that were set */
    }
    f->c.error_text = f->why;
    if (f->c.error_text_size > sizeof f->why) {
        f->c.error_text_size = sizeof f->why;
    }
    memset(f->why, 'x', sizeof f->why);
    f->why[0] = '\0';
}

static void check_taken(const struct tbi_settings *s)
{
    const tbq_config *c = &s->c;
    char text[TBQ_URI_SIZE];
    struct tbi_target again;

    require(c->network_mode >= TBQ_MODE_CLIENT && c->network_mode <= TBQ_MODE_HYBRID);
    require(s->bind.len > 0 && tbi_addr_port(&s->bind) == c->bind_port);
    require(c->network_mode != TBQ_MODE_CLIENT || c->bind_port == 0);
    require(c->connection_timeout_ms >= 100 && c->connection_timeout_ms <= 600000);
    require(c->max_connections >= 1 && c->max_connections <= 1U << 20);
    require(c->max_message_size >= 1024 && c->max_message_size <= 1U << 30);
    require(c->ping_interval_ms >= 100 && c->ping_interval_ms <= 3600000);
    require(c->idle_timeout_ms / 2 >= c->ping_interval_ms && c->idle_timeout_ms <= 7200000);
    require(c->peer_timeout_ms >= 100 && c->peer_timeout_ms <= 86400000);
    require(c->outbox_bytes >= c->max_message_size && c->outbox_messages > 0);
    require(c->receive_window >= 2 * (size_t)c->max_message_size + 65536);
    require(c->receive_window_max >= c->receive_window && c->receive_window_max <= WINDOW_MAX);
    require(c->receive_budget > 0 && c->receive_budget <= WINDOW_MAX);
    require((unsigned)c->congestion <= TBQ_RENO);
    require(c->socket_buffer >= 4096 && c->socket_buffer <= 1U << 30);
    require((c->cert_path == NULL) == (c->key_path == NULL));
    require(c->capabilities <= TBI_VARINT_MAX); /* else no record could tell them */
    require((int)c->role >= TBQ_ROLE_NONE && (int)c->role <= TBQ_ROLE_TIME_BANDIT);
    require(c->paths_max >= 1 && c->paths_max <= 4);
    for (size_t i = 0; i < TBQ_LANES; i++) {
        require((unsigned)c->schedule[i] <= TBQ_REDUNDANT);
    }
    require(s->bootstrap_len <= TBI_BOOTSTRAP_MAX);
    require(s->bootstrap_len == 0 || c->network_mode != TBQ_MODE_SERVER);
    for (size_t i = 0; i < s->bootstrap_len; i++) {
        require(s->bootstrap[i].port != 0);
        tbi_target_to_text(&s->bootstrap[i], text);
        require(tbi_target_parse(&again, text) == 0);
    }
}

/* Read again, what was read stays as it is: every default is itself a value that is allowed. */
static void check_again(const struct tbi_settings *s)
{
    static struct tbi_settings again;

    require(tbi_settings_read(&again, &s->c) == 0);
    for (size_t i = 0; i < ROWS; i++) {
        require(memcmp((const char *)&again.c + rows[i].at, (const char *)&s->c + rows[i].at,
                       rows[i].size) == 0);
    }
    require(tbi_addr_equal(&again.bind, &s->bind) && again.bootstrap_len == s->bootstrap_len);
}

/* A refusal begins with the name of a field; as much of it as there is room for. */
static void check_refused(const struct caller *f, size_t fields_size, int rv)
{
    size_t room = f->c.error_text_size;

    require(rv == TBQ_ERR_INVALID || rv == TBQ_ERR_MODE);
    if (fields_size < sizeof f->c || room < 40) { /* an older caller has no text to be told in */
        return;
    }
    require(memchr(f->why, '\0', room) != NULL);
    for (size_t i = 0; i < ROWS; i++) {
        if (strncmp(f->why, rows[i].name, strlen(rows[i].name)) == 0) {
            return;
        }
    }
    require(false);
}

/* Writing the defaults into an older caller's struct leaves what is behind it alone. */
static void check_defaults(size_t size)
{
    unsigned char *exact = malloc(size);

    if (exact != NULL) {
        memset(exact, 0xa5, size);
        tbq_config_init_sized((tbq_config *)(void *)exact, size);
        if (size >= sizeof(size_t)) {
            require(memcmp(exact, &size, sizeof size) == 0);
        }
        free(exact);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct caller f;
    static struct tbi_settings s;
    size_t fields_size = sizeof f.c;
    struct tbi_cursor in;

    memset(&f, 0, sizeof f);
    tbq_config_init(&f.c);
    tbi_cur_init(&in, data, size);
    while (tbi_cur_left(&in) > 0) {
        size_t row = tbi_cur_u8(&in) % (ROWS + 1);
        if (row < ROWS) {
            set(&f, &rows[row], &in);
        } else {
            size_t last = tbi_cur_u8(&in) % (ROWS + 1);
            fields_size = last < ROWS ? rows[last].at : sizeof f.c;
        }
    }
    be_honest(&f);
    f.c.size = fields_size;
    check_defaults(fields_size);
    void *exact = malloc(fields_size); /* what this caller has, and not a byte more */
    require(exact != NULL);
    memcpy(exact, &f.c, fields_size);
    int rv = tbi_settings_read(&s, exact);
    free(exact);
    if (rv == 0) {
        require(f.why[0] == '\0');
        check_taken(&s);
        check_again(&s);
    } else {
        check_refused(&f, fields_size, rv);
    }
    for (size_t i = 0; i < f.texts_len; i++) {
        free((void *)(uintptr_t)f.text[i]);
    }
    return 0;
}
