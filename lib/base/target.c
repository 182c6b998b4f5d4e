/* base/target.c - where to dial, as text: "host:port", "[v6]:port", "tbq://PEERID@host:port", or a
 * peer id alone, with "tbq://" before it or not. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"

/* A port in decimal, 1 to 5 digits, 0..65535, no sign and no leading zero. */
static bool parse_port(const char *text, uint16_t *port)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits] != '\0' || (digits > 1 && text[0] == '0')) {
        return false;
    }
    unsigned value = 0;
    for (size_t i = 0; i < digits; i++) {
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    *port = (uint16_t)value;
    return value <= 65535;
}

/* Splits "host:port" or "[v6]:port"; the host without its brackets. */
static int split(const char *text, char *host, size_t size, bool *bracketed, uint16_t *port)
{
    const char *end;
    const char *after;

    *bracketed = text[0] == '[';
    if (*bracketed) {
        text++;
        end = strchr(text, ']');
        after = end != NULL ? end + 1 : NULL;
    } else {
        end = strchr(text, ':');
        after = end;
    }
    if (end == NULL || end == text || *after != ':' || (size_t)(end - text) >= size ||
        !parse_port(after + 1, port)) {
        return TBQ_ERR_ADDRESS;
    }
    memcpy(host, text, (size_t)(end - text));
    host[end - text] = '\0';
    return 0;
}

/* Whether a host is made of dots and digits only: then it must be an IPv4 address, never a name. */
static bool looks_numeric(const char *host)
{
    return host[strspn(host, "0123456789.")] == '\0';
}

static int parse_ip(struct tbi_addr *a, const char *host, bool bracketed, uint16_t port)
{
    uint8_t ip[16];

    memset(a, 0, sizeof *a);
    if (inet_pton(bracketed ? AF_INET6 : AF_INET, host, ip) != 1) {
        return TBQ_ERR_ADDRESS;
    }
    return tbi_addr_from_bytes(a, ip, bracketed ? 16 : 4, port);
}

int tbi_addr_from_text(struct tbi_addr *a, const char *text)
{
    char host[INET6_ADDRSTRLEN];
    bool bracketed;
    uint16_t port;

    memset(a, 0, sizeof *a);
    if (split(text, host, sizeof host, &bracketed, &port) < 0) {
        return TBQ_ERR_ADDRESS;
    }
    return parse_ip(a, host, bracketed, port);
}

/* RFC 1123 names, and underscores as they occur in practice: labels of 1 to 63 characters. */
static bool is_name(const char *host)
{
    size_t label = 0;
    char before = '\0';
    for (; *host != '\0'; before = *host++) {
        bool word = (*host >= 'a' && *host <= 'z') || (*host >= 'A' && *host <= 'Z') ||
                    (*host >= '0' && *host <= '9') || *host == '_';
        if (*host == '.') {
            if (label == 0 || before == '-') {
                return false;
            }
            label = 0;
        } else if (!(word || (*host == '-' && label > 0)) || ++label > 63) {
            return false;
        }
    }
    return before != '-'; /* a dot at the end is allowed: the name is then complete */
}

/* "PEERID@" before an address; *text goes on behind it. */
static int parse_pin(struct tbi_target *t, const char **text)
{
    char id[TBQ_PEER_ID_TEXT_SIZE];
    const char *at = strchr(*text, '@');

    if (at == NULL || (size_t)(at - *text) >= sizeof id) {
        return TBQ_ERR_INVALID;
    }
    memcpy(id, *text, (size_t)(at - *text));
    id[at - *text] = '\0';
    *text = at + 1;
    t->pinned = true;
    return tbq_peer_id_from_text(&t->id, id);
}

int tbi_target_parse(struct tbi_target *t, const char *text)
{
    static const char scheme[] = "tbq://";
    bool with_scheme = strncmp(text, scheme, sizeof scheme - 1) == 0;
    bool bracketed;

    memset(t, 0, sizeof *t);
    text += with_scheme ? sizeof scheme - 1 : 0;
    if (strpbrk(text, ":@") == NULL && strlen(text) == TBQ_PEER_ID_TEXT_SIZE - 1) {
        t->pinned = true;
        return tbq_peer_id_from_text(&t->id, text);
    }
    if (with_scheme && parse_pin(t, &text) < 0) {
        return TBQ_ERR_INVALID;
    }
    if (split(text, t->host, sizeof t->host, &bracketed, &t->port) < 0) {
        return TBQ_ERR_ADDRESS;
    }
    t->numeric = bracketed || looks_numeric(t->host);
    if (t->numeric) {
        return parse_ip(&t->addr, t->host, bracketed, t->port);
    }
    return is_name(t->host) ? 0 : TBQ_ERR_ADDRESS;
}

void tbi_target_to_text(const struct tbi_target *t, char text[TBQ_URI_SIZE])
{
    char id[TBQ_PEER_ID_TEXT_SIZE] = "";
    char number[TBI_ADDR_TEXT_SIZE];

    if (t->pinned) {
        tbq_peer_id_to_text(&t->id, id);
    }
    if (t->host[0] == '\0' && !t->numeric) {
        snprintf(text, TBQ_URI_SIZE, "tbq://%s", id);
    } else if (t->numeric) {
        tbi_addr_to_text(&t->addr, number);
        snprintf(text, TBQ_URI_SIZE, "%s%s%s%s", t->pinned ? "tbq://" : "", id,
                 t->pinned ? "@" : "", number);
    } else {
        snprintf(text, TBQ_URI_SIZE, "%s%s%s%s:%u", t->pinned ? "tbq://" : "", id,
                 t->pinned ? "@" : "", t->host, (unsigned)t->port);
    }
}
