/* cli/keys.c - tbq keygen and tbq id. */
#include <stdio.h>

#include "tbq.h"

#define END                                                                                        \
    {                                                                                              \
        NULL, NULL, false                                                                          \
    }

static int state_of(const struct options *o, char *dir, size_t size)
{
    if (o->state != NULL) {
        return snprintf(dir, size, "%s", o->state) < (int)size
                   ? 0
                   : fail(EXIT_USAGE, TBQ_ERR_FILE, "--state is longer than %zu bytes", size - 1);
    }
    if (tbq_state_dir(dir, size) < 0) {
        return fail(EXIT_USAGE, TBQ_ERR_FILE,
                    "there is no folder for the key: give --state DIR, or set HOME");
    }
    return 0;
}

static void tell(const tbq_peer_id *id, const char *event, const char *where)
{
    char text[TBQ_PEER_ID_TEXT_SIZE];
    tbq_peer_id_to_text(id, text);
    say(event, (struct field[]){{"peer_id", text, false}, {"file", where, false}, END}, "%s", text);
}

int run_keygen(int argc, char **argv)
{
    static const char *const allowed[] = {"state", NULL};
    struct options o;
    char dir[4096], file[4200], why[512] = "";
    tbq_peer_id id;
    int rv = options_read(&o, command_named("keygen"), allowed, argc, argv);

    if (rv != 0 || (rv = state_of(&o, dir, sizeof dir)) != 0) {
        return rv;
    }
    rv = tbq_identity_create(dir, &id, why, sizeof why);
    if (rv < 0) {
        return fail(EXIT_USAGE, rv, "%s", why[0] != '\0' ? why : tbq_strerror(rv));
    }
    snprintf(file, sizeof file, "%s/node.key", dir);
    tell(&id, "key", file);
    return output_failed ? EXIT_USAGE : EXIT_DONE;
}

int run_id(int argc, char **argv)
{
    static const char *const allowed[] = {"state", "key", NULL};
    struct options o;
    char dir[4096], file[4200], why[512] = "";
    tbq_peer_id id;
    int rv = options_read(&o, command_named("id"), allowed, argc, argv);

    if (rv != 0) {
        return rv;
    }
    if (o.key != NULL && o.state != NULL) {
        return fail(EXIT_USAGE, TBQ_ERR_INVALID, "give --state or --key, not both");
    }
    if (o.key != NULL) {
        snprintf(file, sizeof file, "%s", o.key);
    } else {
        if ((rv = state_of(&o, dir, sizeof dir)) != 0) {
            return rv;
        }
        snprintf(file, sizeof file, "%s/node.key", dir);
    }
    rv = tbq_identity_read(file, &id, why, sizeof why);
    if (rv < 0) {
        return fail(EXIT_USAGE, rv, "%s", why[0] != '\0' ? why : tbq_strerror(rv));
    }
    tell(&id, "id", file);
    return output_failed ? EXIT_USAGE : EXIT_DONE;
}
