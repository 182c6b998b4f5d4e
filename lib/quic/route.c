/* quic/route.c - which connection a packet belongs to: by the connection ids that we gave out, or
 * by the stateless reset tokens that the peers gave us.
 *
 * Each connection keeps a list of its own routes, and takes all of them along when it is freed. To
 * ask ngtcp2 for them at the end is not enough: in a handshake that fails early it does not know
 * them yet, and a route that is left behind leads to freed memory. */
#include <string.h>

#include "quic/parts.h"

struct tbi_route {
    struct tbi_list entry; /* of the connection */
    struct tbi_map *in;
    struct tbi_conn *conn;
    uint8_t key[TBI_MAP_KEY_MAX];
};

int tbi_route_add(struct tbi_conn *c, struct tbi_map *in, const void *key)
{
    struct tbi_route *r = tbi_calloc(c->ep->alloc, 1, sizeof *r);
    if (r == NULL) {
        return TBQ_ERR_NOMEM;
    }
    r->in = in;
    r->conn = c;
    memcpy(r->key, key, in->key_size);
    int rv = tbi_map_put(in, key, r);
    if (rv < 0) {
        tbi_free(c->ep->alloc, r);
        return rv;
    }
    tbi_list_push(&c->routes, &r->entry);
    return 0;
}

static void drop(struct tbi_route *r)
{
    tbi_map_remove(r->in, r->key);
    tbi_list_remove(&r->entry);
    tbi_free(r->conn->ep->alloc, r);
}

void tbi_route_remove(struct tbi_conn *c, struct tbi_map *in, const void *key)
{
    struct tbi_route *r = tbi_map_get(in, key);
    if (r != NULL && r->conn == c) {
        drop(r);
    }
}

void tbi_routes_leave(struct tbi_conn *c, const struct tbi_map *in)
{
    TBI_LIST_FOREACH(it, &c->routes)
    {
        struct tbi_route *r = TBI_CONTAINER(it, struct tbi_route, entry);
        if (r->in == in) {
            drop(r);
        }
    }
}

void tbi_routes_free(struct tbi_conn *c)
{
    while (!tbi_list_empty(&c->routes)) {
        drop(TBI_CONTAINER(c->routes.next, struct tbi_route, entry));
    }
}

struct tbi_conn *tbi_route_find(const struct tbi_map *in, const void *key)
{
    struct tbi_route *r = tbi_map_get(in, key);
    return r != NULL ? r->conn : NULL;
}
