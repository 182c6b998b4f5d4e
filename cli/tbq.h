/* cli/tbq.h - what the subcommands share. */
#ifndef TBQ_CLI_H
#define TBQ_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tbquic/tbquic.h>

enum { EXIT_DONE = 0, EXIT_NETWORK = 1, EXIT_USAGE = 2, EXIT_SECOND_SIGNAL = 130 };

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
    const char *help;
};

/* --- options.c: one table of options for all commands --- */

#define PATHS_MAX 64

struct options {
    const char *bind;
    const char *mode;
    const char *bootstrap[PATHS_MAX];
    size_t bootstrap_len;
    const char *trust;
    const char *deny;
    const char *cert;
    const char *key;
    const char *state;
    const char *store;
    const char *serve;
    const char *advertise[PATHS_MAX];
    size_t advertise_len;
    const char *kind;
    uint64_t wait_s;
    const char *send[PATHS_MAX];
    size_t send_len;
    const char *request;
    const char *output;
    const char *log_level;
    uint64_t count;
    uint64_t timeout_ms;
    uint64_t busy_poll_us;
    const char *congestion;
    uint64_t outbox_bytes;
    uint64_t receive_window_max;
    uint64_t receive_budget;
    uint64_t socket_buffer;
    bool lines;
    bool early;
    bool help;
    const char *address; /* the argument that is no option */
};

/* `allowed`: the names of the options that this command takes. 0, or EXIT_USAGE after saying why.
 */
int options_read(struct options *o, const struct command *command, const char *const *allowed,
                 int argc, char **argv);

/* How fast, and in how much memory: of those that move much. */
#define OPTIONS_FLOW                                                                               \
    "congestion", "outbox-bytes", "receive-window-max", "receive-budget", "socket-buffer"

/* What all that run a node have in common. 0 or EXIT_USAGE. */
int options_to_config(const struct options *o, tbq_config *c);

/* --- output.c: text for people, or one JSON object a line --- */

extern bool output_json;
extern bool output_to_stderr; /* standard output is for the bytes of an answer */
extern bool output_failed;    /* standard output takes no more; was told on standard error */

/* After text that no say() wrote: `status`, or EXIT_USAGE when it did not get out. */
int output_end(int status);

/* Fields: a NULL-terminated list; numbers are passed as text; what follows is the line for people.
 */
struct field {
    const char *key;
    const char *value;
    bool number;
};
void say(const char *event, const struct field *fields, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int fail(int status, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* --- files.c --- */

struct loop;

/* The whole file, "-": standard input; freed by the caller. 0 or EXIT_USAGE after saying why.
 * Waiting for standard input ends when the loop is stopping: see there before using the data. */
int file_read(struct loop *l, const char *path, uint8_t **data, size_t *size);
/* Reads into *data and *size, NULL and 0 before, until that is more than `most` bytes; *end: that
 * was all, or the loop is stopping. 0 or an errno. */
int read_some(struct loop *l, int fd, bool waits, size_t most, uint8_t **data, size_t *size,
              bool *end);

/* NULL: standard output. 0 or an errno. */
int file_write(const char *path, const void *data, size_t size);

/* Writes the bytes to DIR/SHA256, whole or not at all, on the disk before it returns. */
int store_put(const char *dir, const char *name, const void *data, size_t size);
void sha256_text(const void *data, size_t size, char text[65]);
void hash_text(const uint8_t hash[32], char text[65]);
int write_all(int fd, const uint8_t *data, size_t size); /* 0, or -1 and errno */
int sync_dir(const char *dir);                           /* the same */

/* --- input.c: a file that is sent --- */

struct input {
    uint8_t *data; /* what was read to begin with: all of it, where fd is -1 */
    size_t size;
    size_t given;    /* of that, to input_read() */
    int fd;          /* the rest */
    bool waits;      /* it is no file on a disk: there may be nothing for a while */
    uint64_t length; /* bytes in all, or TBQ_LENGTH_UNKNOWN */
};

/* "-": standard input. Reads it whole where it has at most `most` bytes; of more, no more than
 * tells that. 0 or EXIT_USAGE after saying why. */
int input_open(struct loop *l, const char *path, size_t most, struct input *in);
int64_t input_read(struct input *in, void *buffer, size_t size); /* as a tbq_read_fn */
void input_close(struct input *in);

/* --- bodies.c: what arrives in parts --- */

struct arrivals {
    const char *dir; /* where they are stored; NULL: not at all */
    struct arriving *first;
};

/* Removes what a server that was killed has left there; NULL is fine. */
void arrivals_tidy(const char *dir);

/* A part of a TBQ_EVENT_BODY. 0; 1: it was the last, and all is stored, `hash` and `size` are set;
 * -1 and errno: it cannot be stored, and what there was of the body is removed. */
int arrivals_add(struct arrivals *a, const tbq_event *e, char hash[65], uint64_t *size);

/* No more of it comes, and what there was is removed: so many bytes. */
uint64_t arrivals_end(struct arrivals *a, tbq_body body);
void arrivals_free(struct arrivals *a);

/* --- serve.c --- */

/* Answers a request with the file that it names inside `dir`, of at most `most` bytes; NULL:
 * nothing is served. The event stays the caller's. */
void serve_request(tbq_server *server, const char *dir, size_t most, tbq_event *e);

/* --- loop.c --- */

struct loop {
    tbq_server *server; /* set before loop_run() */
    int signals;        /* signalfd */
    unsigned stops;     /* how many signals came */
    uint64_t deadline;  /* ms, monotonic; 0: none */
    bool timed_out;
    bool told_output;            /* that standard output is gone */
    bool reloads;                /* SIGHUP reads the trust lists again */
    bool hangup;                 /* it came */
    void (*on_tick)(void *user); /* called every tick_ms, where it is set */
    uint64_t tick_ms;
    void (*on_input)(void *user); /* called once when `input` can be read */
    int input;                    /* counts where on_input is set */
    uint64_t next_tick;           /* ms, monotonic */
    bool trims;                   /* freed memory goes back to the system */
    uint64_t next_trim;           /* ms, monotonic; not sooner */
    uint64_t trimmed;             /* what was over at the last; see memory.c */
};

/* From here on signals wait for the loop, and the time runs; 0: no limit. 0 or EXIT_USAGE after
 * saying why. */
int loop_open(struct loop *l, uint64_t timeout_ms);

/* From here on SIGHUP reads the trust lists again, and says so. */
void loop_reload_on_hangup(struct loop *l);

/* A signal came, the time is up, or nobody reads what we say: nothing new is begun. */
bool loop_stopping(const struct loop *l);

/* Waits until `fd` can be read, or until loop_stopping(): then false. */
bool loop_wait_readable(struct loop *l, int fd);

/* Waits, works, and calls on_event for every event; false from it ends the loop. */
int loop_run(struct loop *l, bool (*on_event)(void *user, tbq_event *e), void *user);
uint64_t loop_now_ms(void);

/* --- memory.c --- */

uint64_t memory_when(const struct loop *l); /* the time of the next trim, ms; UINT64_MAX: none */
void memory_trim(struct loop *l);           /* if it is time; nothing else is to be done now */

int run_server(int argc, char **argv);
int run_client(int argc, char **argv);
int run_keygen(int argc, char **argv);
int run_id(int argc, char **argv);
int run_broadcast(int argc, char **argv);
extern const struct command commands[];
const struct command *command_named(const char *name); /* which is in the table */

#endif
