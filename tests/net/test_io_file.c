/* tests/net/test_io_file.c - files and locks in a folder of their own, and what people are told. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../unit/harness.h"
#include "base/alloc.h"
#include "io/file.h"
#include <tbquic/error.h>

/* ---- a system that fails: each the errno to answer, 0 to do what was asked ------------------- */

static struct {
    int write;
    int fsync;
    int link;
    int flock;
    int read;
    int random;
} broken;

static bool fails(int error)
{
    errno = error;
    return error != 0;
}

/* Each stands before the C library's; writes only to files, so that Check's own get through. */
ssize_t write(int fd, const void *data, size_t size)
{
    return fd > 2 && fails(broken.write) ? -1 : syscall(SYS_write, fd, data, size);
}

ssize_t read(int fd, void *data, size_t size)
{
    return fails(broken.read) ? -1 : syscall(SYS_read, fd, data, size);
}

int fsync(int fd)
{
    return fails(broken.fsync) ? -1 : (int)syscall(SYS_fsync, fd);
}

int link(const char *from, const char *to)
{
    return fails(broken.link) ? -1 : (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int flock(int fd, int how)
{
    return fails(broken.flock) ? -1 : (int)syscall(SYS_flock, fd, how);
}

ssize_t getrandom(void *to, size_t size, unsigned flags)
{
    return fails(broken.random) ? -1 : syscall(SYS_getrandom, to, size, flags);
}

/* ---- helpers -------------------------------------------------------------------------------- */

static struct tbi_alloc memory;
static char folder[TBI_PATH_SIZE]; /* where the runner is: it cleans up after a failure */
static char path[TBI_PATH_SIZE];
static char why[512];

static void setup(void)
{
    ck_assert_int_eq(tbi_alloc_init(&memory, NULL), 0);
    memset(&broken, 0, sizeof broken);
    ck_assert_ptr_nonnull(getcwd(folder, sizeof folder - 32));
    strcat(folder, "/tbquic-file-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(tbi_file_join(path, sizeof path, folder, "node.key"), 0);
    why[0] = '\0';
}

static void teardown(void)
{
    char command[TBI_PATH_SIZE + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

/* Names in the folder: a temporary file that was left behind would be one. */
static int count_names(const char *in)
{
    int n = 0;
    DIR *d = opendir(in);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        n += e->d_name[0] != '.' ? 1 : 0;
    }
    closedir(d);
    return n;
}

static unsigned mode_of(const char *name)
{
    struct stat st;
    ck_assert_int_eq(stat(name, &st), 0);
    return st.st_mode & 07777;
}

static void expect_content(const char *text)
{
    uint8_t *data;
    size_t size;
    ck_assert_msg(tbi_file_read(&memory, path, 1000, 0, &data, &size, why, sizeof why) == 0, "%s",
                  why);
    ck_assert_uint_eq(size, strlen(text));
    ck_assert_str_eq((const char *)data, text); /* the NUL that follows */
    tbi_free(&memory, data);
}

static void expect_why(const char *part)
{
    ck_assert_msg(strstr(why, part) != NULL, "'%s' is not in '%s'", part, why);
}

START_TEST(a_key_is_created_once_and_never_overwritten)
{
    mode_t old = umask(0277); /* which must not matter */
    ck_assert_int_eq(tbi_file_create(path, "one", 3, 0600, why, sizeof why), 0);
    ck_assert_uint_eq(mode_of(path), 0600);
    ck_assert_int_eq(tbi_file_create(path, "two", 3, 0600, why, sizeof why), TBQ_ERR_EXISTS);
    umask(old);
    expect_why(path);
    expect_why("not overwritten");
    expect_content("one");
    ck_assert_int_eq(count_names(folder), 1);
}
END_TEST

START_TEST(a_link_that_leads_nowhere_is_not_followed_or_overwritten)
{
    char target[TBI_PATH_SIZE];
    ck_assert_int_eq(tbi_file_join(target, sizeof target, folder, "elsewhere"), 0);
    ck_assert_int_eq(symlink(target, path), 0);
    ck_assert_int_eq(tbi_file_create(path, "x", 1, 0600, why, sizeof why), TBQ_ERR_EXISTS);
    ck_assert_int_lt(access(target, F_OK), 0);
}
END_TEST

START_TEST(replacing_is_whole_and_leaves_nothing_behind)
{
    ck_assert_int_eq(tbi_file_replace(path, "first", 5, 0644, why, sizeof why), 0);
    ck_assert_uint_eq(mode_of(path), 0644);
    expect_content("first");
    int before = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(tbi_file_replace(path, "", 0, 0600, why, sizeof why), 0);
    expect_content("");
    ck_assert_uint_eq(mode_of(path), 0600);

    /* Who had it open still reads the old one, whole. */
    char text[8] = "";
    ck_assert_int_eq(read(before, text, sizeof text), 5);
    ck_assert_str_eq(text, "first");
    close(before);
    ck_assert_int_eq(count_names(folder), 1);
}
END_TEST

START_TEST(a_write_that_fails_names_the_file_and_leaves_nothing)
{
    char missing[TBI_PATH_SIZE];
    char long_path[TBI_PATH_SIZE + 10];

    ck_assert_int_eq(tbi_file_join(missing, sizeof missing, folder, "no/such/place"), 0);
    ck_assert_int_eq(tbi_file_replace(missing, "x", 1, 0600, why, sizeof why), TBQ_ERR_FILE);
    expect_why(missing);
    ck_assert_int_eq(tbi_file_create(missing, "x", 1, 0600, why, sizeof why), TBQ_ERR_FILE);
    expect_why(missing);

    /* A folder cannot be replaced by a file: rename() fails after the bytes were written. */
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(tbi_file_replace(path, "x", 1, 0600, why, sizeof why), TBQ_ERR_FILE);
    ck_assert_int_eq(count_names(folder), 1);

    memset(long_path, 'x', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    ck_assert_int_eq(tbi_file_replace(long_path, "x", 1, 0600, NULL, 0), TBQ_ERR_FILE);

    /* A folder that takes no new files, from root neither. */
    ck_assert_int_eq(tbi_file_create("/proc/tbquic", "x", 1, 0600, why, sizeof why), TBQ_ERR_FILE);
    expect_why("/proc/tbquic");
}
END_TEST

START_TEST(a_secret_that_others_can_read_is_refused)
{
    static const unsigned modes[] = {0640, 0604, 0620, 0601};
    uint8_t *data;
    size_t size;
    char mode[8];

    ck_assert_int_eq(tbi_file_create(path, "key", 3, (mode_t)modes[_i], why, sizeof why), 0);
    ck_assert_int_eq(
        tbi_file_read(&memory, path, 100, TBI_FILE_SECRET, &data, &size, why, sizeof why),
        TBQ_ERR_FILE);
    ck_assert_ptr_null(data);
    snprintf(mode, sizeof mode, "%04o", modes[_i]);
    expect_why(path);
    expect_why(mode);
    expect_why("chmod 600");
    expect_content("key"); /* which is fine for what is not secret */
    ck_assert_int_eq(chmod(path, 0400), 0);
    ck_assert_int_eq(
        tbi_file_read(&memory, path, 100, TBI_FILE_SECRET, &data, &size, why, sizeof why), 0);
    tbi_free(&memory, data);
}
END_TEST

START_TEST(a_file_is_read_up_to_its_limit)
{
    uint8_t *data;
    size_t size;

    ck_assert_int_eq(tbi_file_create(path, "0123456789", 10, 0600, why, sizeof why), 0);
    ck_assert_int_eq(tbi_file_read(&memory, path, 10, 0, &data, &size, why, sizeof why), 0);
    ck_assert_uint_eq(size, 10);
    tbi_free(&memory, data);
    ck_assert_int_eq(tbi_file_read(&memory, path, 9, 0, &data, &size, why, sizeof why),
                     TBQ_ERR_TOO_LARGE);
    ck_assert_ptr_null(data);
    expect_why(path);
    expect_why("9 bytes");
    /* A file that says it is empty and is not. */
    ck_assert_int_eq(
        tbi_file_read(&memory, "/proc/self/status", 60000, 0, &data, &size, why, sizeof why), 0);
    ck_assert_uint_gt(size, 100);
    tbi_free(&memory, data);
}
END_TEST

START_TEST(what_is_no_file_is_told_so)
{
    uint8_t *data = NULL;
    size_t size;

    ck_assert_int_eq(tbi_file_read(&memory, path, 10, 0, &data, &size, why, sizeof why),
                     TBQ_ERR_FILE);
    expect_why(path);
    expect_why("No such file");
    ck_assert_int_eq(
        tbi_file_read(&memory, path, 10, TBI_FILE_MAY_MISS, &data, &size, why, sizeof why), 0);
    ck_assert_ptr_null(data);
    ck_assert_int_eq(tbi_file_read(&memory, folder, 10, 0, &data, &size, why, sizeof why),
                     TBQ_ERR_FILE);
    expect_why("is a folder");
    ck_assert_int_eq(mkfifo(path, 0600), 0); /* nobody writes to it: must not wait */
    ck_assert_int_eq(tbi_file_read(&memory, path, 10, 0, &data, &size, why, sizeof why),
                     TBQ_ERR_FILE);
    expect_why("not a file");
}
END_TEST

static void read_key(const struct tbi_alloc *a, void *arg)
{
    uint8_t *data;
    size_t size;
    int rv = tbi_file_read(a, path, 10, 0, &data, &size, why, sizeof why);

    (void)arg;
    if (rv != 0) {
        ck_assert_int_eq(rv, TBQ_ERR_NOMEM);
        ck_assert_ptr_null(data);
        expect_why(path);
        expect_why("memory");
    }
    tbi_free(a, data);
}

START_TEST(without_memory_reading_says_so)
{
    ck_assert_int_eq(tbi_file_create(path, "key", 3, 0600, why, sizeof why), 0);
    tbi_walk_allocations(read_key, NULL);
}
END_TEST

START_TEST(a_disk_that_fails_leaves_neither_file_nor_scraps)
{
    ck_assert_int_eq(tbi_file_replace(path, "old", 3, 0600, why, sizeof why), 0);
    broken.write = _i == 0 ? ENOSPC : 0;
    broken.fsync = _i == 1 ? EIO : 0;
    broken.random = _i == 2 ? EIO : 0;
    ck_assert_int_eq(tbi_file_replace(path, "new", 3, 0600, why, sizeof why), TBQ_ERR_FILE);
    expect_why(path);
    if (_i == 0) {
        expect_why("make room");
    }
    memset(&broken, 0, sizeof broken);
    expect_content("old");
    ck_assert_int_eq(count_names(folder), 1);

    ck_assert_int_eq(unlink(path), 0);
    broken.write = _i == 0 ? ENOSPC : 0;
    broken.fsync = _i == 1 ? EIO : 0;
    broken.random = _i == 2 ? EIO : 0;
    ck_assert_int_eq(tbi_file_create(path, "new", 3, 0600, why, sizeof why), TBQ_ERR_FILE);
    memset(&broken, 0, sizeof broken);
    ck_assert_int_eq(count_names(folder), 0);
}
END_TEST

START_TEST(without_hard_links_a_key_is_still_never_overwritten)
{
    static const int errors[] = {EPERM, EOPNOTSUPP, ENOSYS};
    broken.link = errors[_i];
    ck_assert_int_eq(tbi_file_create(path, "one", 3, 0600, why, sizeof why), 0);
    ck_assert_uint_eq(mode_of(path), 0600);
    ck_assert_int_eq(tbi_file_create(path, "two", 3, 0600, why, sizeof why), TBQ_ERR_EXISTS);
    expect_content("one");
    ck_assert_int_eq(count_names(folder), 1);
}
END_TEST

START_TEST(a_filesystem_without_locks_says_so)
{
    struct tbi_file_lock lock;

    ck_assert_int_eq(tbi_file_create(path, "key", 3, 0600, why, sizeof why), 0);
    broken.flock = ENOLCK;
    ck_assert_int_eq(tbi_file_lock(&lock, path, why, sizeof why), TBQ_ERR_UNSUPPORTED);
    ck_assert_int_eq(lock.fd, -1);
    expect_why(path);
}
END_TEST

START_TEST(a_file_that_cannot_be_read_to_its_end_is_an_error)
{
    uint8_t *data;
    size_t size;

    ck_assert_int_eq(tbi_file_create(path, "key", 3, 0600, why, sizeof why), 0);
    broken.read = EIO;
    ck_assert_int_eq(tbi_file_read(&memory, path, 10, 0, &data, &size, why, sizeof why),
                     TBQ_ERR_FILE);
    broken.read = 0;
    ck_assert_ptr_null(data);
    ck_assert_uint_eq(size, 0);
    expect_why(path);
}
END_TEST

START_TEST(a_key_in_use_is_locked_within_and_between_processes)
{
    struct tbi_file_lock mine, other;
    int status;

    ck_assert_int_eq(tbi_file_lock(&mine, path, why, sizeof why), TBQ_ERR_FILE); /* not there */
    expect_why(path);
    ck_assert_int_eq(tbi_file_create(path, "key", 3, 0400, why, sizeof why), 0);
    ck_assert_int_eq(tbi_file_lock(&mine, path, why, sizeof why), 0);
    ck_assert_int_eq(tbi_file_lock(&other, path, why, sizeof why), TBQ_ERR_FILE);
    ck_assert_int_eq(other.fd, -1);
    expect_why(path);
    expect_why("in use by another server");
    tbi_file_unlock(&other); /* does no harm */

    pid_t child = fork();
    if (child == 0) {
        _exit(tbi_file_lock(&other, path, NULL, 0) == TBQ_ERR_FILE ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child got the lock as well");

    tbi_file_unlock(&mine);
    tbi_file_unlock(&mine);
    ck_assert_int_eq(tbi_file_lock(&other, path, why, sizeof why), 0);
    tbi_file_unlock(&other);
}
END_TEST

START_TEST(a_lock_ends_with_its_process)
{
    struct tbi_file_lock lock;
    int status, pipe_fds[2];
    char byte;

    ck_assert_int_eq(tbi_file_create(path, "key", 3, 0600, why, sizeof why), 0);
    ck_assert_int_eq(pipe(pipe_fds), 0);
    pid_t child = fork();
    if (child == 0) {
        close(pipe_fds[0]);
        int rv = tbi_file_lock(&lock, path, NULL, 0);
        ssize_t n = write(pipe_fds[1], rv == 0 ? "y" : "n", 1);
        pause(); /* until it is killed */
        _exit(n == 1 ? 0 : 1);
    }
    close(pipe_fds[1]);
    ck_assert_int_eq(read(pipe_fds[0], &byte, 1), 1);
    ck_assert_int_eq(byte, 'y');
    ck_assert_int_eq(tbi_file_lock(&lock, path, why, sizeof why), TBQ_ERR_FILE);
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(tbi_file_lock(&lock, path, why, sizeof why), 0);
    tbi_file_unlock(&lock);
    close(pipe_fds[0]);
}
END_TEST

START_TEST(folders_are_made_for_the_owner_alone)
{
    char deep[TBI_PATH_SIZE], part[TBI_PATH_SIZE], on_file[TBI_PATH_SIZE];

    ck_assert_int_eq(tbi_file_join(deep, sizeof deep, folder, "a//b/c/"), 0);
    ck_assert_int_eq(tbi_file_make_dir(deep, why, sizeof why), 0);
    ck_assert_uint_eq(mode_of(deep), 0700);
    ck_assert_int_eq(tbi_file_join(part, sizeof part, folder, "a"), 0);
    ck_assert_uint_eq(mode_of(part), 0700);
    ck_assert_int_eq(chmod(part, 0755), 0);
    ck_assert_int_eq(tbi_file_make_dir(deep, why, sizeof why), 0); /* again, and it stays */
    ck_assert_uint_eq(mode_of(part), 0755);

    ck_assert_int_eq(tbi_file_create(path, "x", 1, 0600, why, sizeof why), 0);
    ck_assert_int_eq(tbi_file_join(on_file, sizeof on_file, path, "sub"), 0);
    ck_assert_int_eq(tbi_file_make_dir(on_file, why, sizeof why), TBQ_ERR_FILE);
    expect_why(path);
    ck_assert_int_eq(tbi_file_make_dir("", why, sizeof why), TBQ_ERR_FILE);
    ck_assert_int_eq(tbi_file_make_dir("/proc/tbquic/x", why, sizeof why), TBQ_ERR_FILE);
    expect_why("/proc/tbquic");
}
END_TEST

START_TEST(paths_are_joined_with_one_slash_or_not_at_all)
{
    char to[8];
    ck_assert_int_eq(tbi_file_join(to, sizeof to, "/a", "b"), 0);
    ck_assert_str_eq(to, "/a/b");
    ck_assert_int_eq(tbi_file_join(to, sizeof to, "/a/", "b"), 0);
    ck_assert_str_eq(to, "/a/b");
    ck_assert_int_eq(tbi_file_join(to, sizeof to, "/a/b", "cd"), 0);
    ck_assert_int_eq(tbi_file_join(to, sizeof to, "/a/b", "cde"), TBQ_ERR_TOO_LARGE);
}
END_TEST

START_TEST(the_state_folder_comes_from_the_environment)
{
    char dir[64];

    setenv("STATE_DIRECTORY", "/var/lib/one:/var/lib/two", 1);
    setenv("XDG_STATE_HOME", "/xdg", 1);
    setenv("HOME", "/home/somebody", 1);
    ck_assert_int_eq(tbi_file_state_dir(dir, sizeof dir, why, sizeof why), 0);
    ck_assert_str_eq(dir, "/var/lib/one");
    ck_assert_int_eq(tbi_file_state_dir(dir, 5, why, sizeof why), TBQ_ERR_TOO_LARGE);
    unsetenv("STATE_DIRECTORY");
    ck_assert_int_eq(tbi_file_state_dir(dir, sizeof dir, why, sizeof why), 0);
    ck_assert_str_eq(dir, "/xdg/tbquic");
    setenv("XDG_STATE_HOME", "relative", 1); /* is to be ignored, its specification says */
    ck_assert_int_eq(tbi_file_state_dir(dir, sizeof dir, why, sizeof why), 0);
    ck_assert_str_eq(dir, "/home/somebody/.local/state/tbquic");
    ck_assert_int_eq(tbi_file_state_dir(dir, 8, why, sizeof why), TBQ_ERR_TOO_LARGE);
    unsetenv("HOME");
    ck_assert_int_eq(tbi_file_state_dir(dir, sizeof dir, why, sizeof why), TBQ_ERR_FILE);
    expect_why("$XDG_STATE_HOME");
    expect_why("--state");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("io/file");
    TCase *t = tcase_create("file");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_key_is_created_once_and_never_overwritten);
    tcase_add_test(t, a_link_that_leads_nowhere_is_not_followed_or_overwritten);
    tcase_add_test(t, replacing_is_whole_and_leaves_nothing_behind);
    tcase_add_test(t, a_write_that_fails_names_the_file_and_leaves_nothing);
    tcase_add_loop_test(t, a_secret_that_others_can_read_is_refused, 0, 4);
    tcase_add_test(t, a_file_is_read_up_to_its_limit);
    tcase_add_test(t, what_is_no_file_is_told_so);
    tcase_add_test(t, without_memory_reading_says_so);
    tcase_add_loop_test(t, a_disk_that_fails_leaves_neither_file_nor_scraps, 0, 3);
    tcase_add_loop_test(t, without_hard_links_a_key_is_still_never_overwritten, 0, 3);
    tcase_add_test(t, a_filesystem_without_locks_says_so);
    tcase_add_test(t, a_file_that_cannot_be_read_to_its_end_is_an_error);
    tcase_add_test(t, a_key_in_use_is_locked_within_and_between_processes);
    tcase_add_test(t, a_lock_ends_with_its_process);
    tcase_add_test(t, folders_are_made_for_the_owner_alone);
    tcase_add_test(t, paths_are_joined_with_one_slash_or_not_at_all);
    tcase_add_test(t, the_state_folder_comes_from_the_environment);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
