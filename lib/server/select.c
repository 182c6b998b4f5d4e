/* server/select.c - see <tbquic/select.h>. */
#include <tbquic/select.h>

#include <string.h>

#include "server/parts.h"

void tbq_select_query_init_sized(tbq_select_query *query, size_t size)
{
    static const tbq_select_query defaults = {.recent_ms = 300000};

    if (query != NULL && size >= sizeof query->size) {
        memcpy(query, &defaults, size < sizeof defaults ? size : sizeof defaults);
        query->size = size;
    }
}

int tbq_select(tbq_server *s, const tbq_select_query *query, tbq_peer_id *out, size_t max)
{
    tbq_select_query q, defaults;

    if (s == NULL || query == NULL || out == NULL || query->size < sizeof query->size) {
        return TBQ_ERR_INVALID;
    }
    tbq_select_query_init(&defaults);
    q = defaults;
    memcpy(&q, query, query->size < sizeof q ? query->size : sizeof q);
    if (q.recent_ms == 0) {
        q.recent_ms = defaults.recent_ms;
    }
    return tbi_node_select(s->node, tbi_server_now(s), &q, out, max);
}
