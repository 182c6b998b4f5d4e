/* server/tickets.c - session tickets and address tokens on disk: `state_dir`/tickets, so that a
 * process that comes again resumes. They are secrets, and worth no more than a round trip: a file
 * that cannot be used is said to be so, and a new one takes its place. */
#include "server/parts.h"

#define TICKETS_FILE "tickets"
#define TICKETS_SIZE_MAX ((size_t)32 << 20)

int tbi_server_load_tickets(struct tbq_server *s)
{
    const char *dir = s->settings.c.state_dir;
    char path[TBI_PATH_SIZE], why[TBI_PATH_SIZE + 128] = "";
    uint8_t *data = NULL;
    size_t size = 0;

    if (dir == NULL || tbi_file_join(path, sizeof path, dir, TICKETS_FILE) < 0) {
        return 0;
    }
    int rv = tbi_file_read(&s->alloc, path, TICKETS_SIZE_MAX, TBI_FILE_MAY_MISS | TBI_FILE_SECRET,
                           &data, &size, why, sizeof why);
    if (rv == 0 && data != NULL) {
        rv = tbi_node_tickets_read(s->node, data, size);
        tbi_text(why, sizeof why, "%s is damaged, or of another version", path);
        tbi_wipe(data, size);
    }
    tbi_free(&s->alloc, data);
    if (rv < 0 && rv != TBQ_ERR_NOMEM) {
        tbi_log(&s->log, TBQ_LOG_WARNING, "%s: connections begin with full handshakes", why);
        rv = 0;
    }
    return rv;
}

void tbi_server_save_tickets(struct tbq_server *s)
{
    const char *dir = s->settings.c.state_dir;
    char path[TBI_PATH_SIZE], why[TBI_PATH_SIZE + 128];
    struct tbi_block *bytes = NULL;

    if (dir == NULL || s->node == NULL || !tbi_node_tickets_changed(s->node) ||
        tbi_file_join(path, sizeof path, dir, TICKETS_FILE) < 0) {
        return;
    }
    int rv = tbi_node_tickets_write(s->node, &bytes);
    if (rv == 0) {
        rv = tbi_file_replace(path, bytes->data, bytes->size, 0600, why, sizeof why);
        tbi_wipe(bytes->data, bytes->size);
    } else {
        tbi_text(why, sizeof why, "%s", tbq_strerror(rv));
    }
    if (rv < 0) {
        tbi_log(&s->log, TBQ_LOG_WARNING, "session tickets were not written: %s", why);
    }
    tbi_block_unref(bytes);
}
