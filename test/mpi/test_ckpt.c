/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Snapshots over ranks: what was put comes back, to any number of ranks; a snapshot is
 * whole or absent; all ranks hear the same of it; and a fault of one rank's disk leaves
 * the snapshot before as it was.
 */
#include "ckpt_help.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void path_of(const char *dir, const char *a, const char *b, char path[PATH_ROOM])
{
    int n = snprintf(path, PATH_ROOM, "%s/%s%s%s", dir, a, b[0] ? "/" : "", b);
    if (n >= PATH_ROOM)
        abort();
}

static int mode_of(const char *dir, const char *a, const char *b)
{
    char path[PATH_ROOM];
    struct stat info = {0};
    path_of(dir, a, b, path);
    return stat(path, &info) == 0 ? (int)(info.st_mode & 0777) : -1;
}

static void what_was_put_comes_back(struct dml_test *t)
{
    char dir[PATH_ROOM], inner[PATH_ROOM], last[PATH_ROOM];
    help_folder(t, dir);
    path_of(dir, "run", "", inner);
    for (uint64_t cuts = 0; cuts < 3; cuts++) {
        dml_ckpt *ckpt = help_open(t, inner, 2, t->comm);
        if (!ckpt)
            break;
        for (uint64_t i = 1; i <= 3; i++)
            help_save(t, ckpt, 100 * cuts + 10 * i, cuts, t->comm);
        dml_ckpt_stats stats;
        dml_ckpt_get_stats(ckpt, &stats);
        DML_CHECK(t, stats.committed == 3 && stats.failed == 0 && stats.last_s >= 0,
                  "%llu committed", (unsigned long long)stats.committed);
        dml_ckpt_close(ckpt);
        help_newest(t, inner, 100 * cuts + 30);
        DML_CHECK(t, help_count(inner, "snapshot-", last) == 2, "not 2 are kept");
        DML_CHECK(t, help_count(inner, "unnamed-", last) == 0, "%s is left", last);
    }
    help_count(inner, "snapshot-", last);
    DML_CHECK(t, strcmp(last, "snapshot-000009-step-230") == 0, "named %s", last);
    DML_CHECK(t, mode_of(inner, ".", "") == 0700 && mode_of(inner, last, "") == 0700,
              "folders are not private");
    DML_CHECK(t,
              mode_of(inner, last, "manifest") == 0600 &&
                  mode_of(inner, last, "shard-000000") == 0600 &&
                  mode_of(inner, "lock", "") == 0600,
              "files are not private");
    help_remove(t, dir);
}

/* Written by the first "from" ranks, read by the first "to". */
static void reshard(struct dml_test *t, const char *dir, int from, int to)
{
    dml_comm *writers = NULL, *readers = NULL;
    uint64_t step = dml_test_random(t) % 1000 + 1, cuts = dml_test_random(t);
    dml_test_step(t, "from %d ranks to %d", from, to);
    dml_comm_split(t->comm, t->rank < from ? 0 : -1, t->rank, &writers);
    dml_comm_split(t->comm, t->rank < to ? 0 : -1, t->rank, &readers);
    if (writers) {
        dml_ckpt *ckpt = help_open(t, dir, 1, writers);
        if (ckpt)
            help_save(t, ckpt, step, cuts, writers);
        dml_ckpt_close(ckpt);
    }
    MPI_Barrier(t->mpi);
    dml_snapshot *s = NULL;
    if (readers && dml_test_status(t, "dml_snapshot_open",
                                   dml_snapshot_open(dir, readers, &s), DML_OK)) {
        help_check(t, s, step, cuts / 3, readers);
        dml_snapshot_close(s);
    }
    dml_comm_destroy(readers);
    dml_comm_destroy(writers);
    MPI_Barrier(t->mpi);
}

static void any_number_of_ranks_to_any(struct dml_test *t)
{
    static const int numbers[] = {1, 2, 3, 5, 8};
    char dir[PATH_ROOM];
    help_folder(t, dir);
    for (size_t i = 0; i < DML_TEST_COUNT(numbers); i++)
        for (size_t k = 0; k < DML_TEST_COUNT(numbers); k++)
            if (numbers[i] <= t->nranks && numbers[k] <= t->nranks)
                reshard(t, dir, numbers[i], numbers[k]);
    help_remove(t, dir);
}

/* Changes, or cuts, a file of a snapshot on rank 0. */
static void damage(struct dml_test *t, const char *dir, const char *snapshot,
                   const char *file, long cut_at)
{
    char path[PATH_ROOM];
    path_of(dir, snapshot, file, path);
    MPI_Barrier(t->mpi);
    if (t->rank == 0 && cut_at >= 0) {
        DML_CHECK(t, truncate(path, cut_at) == 0, "cannot cut %s", path);
    } else if (t->rank == 0) {
        int fd = open(path, O_RDWR);
        struct stat info = {0};
        unsigned char byte = 0;
        DML_CHECK(t, fd >= 0 && fstat(fd, &info) == 0 && info.st_size > 0, "%s", path);
        off_t at = (off_t)(dml_test_hash(t->seed, 5, 1) % (uint64_t)info.st_size);
        DML_CHECK(t, pread(fd, &byte, 1, at) == 1, "cannot read %s", path);
        byte ^= 16;
        DML_CHECK(t, pwrite(fd, &byte, 1, at) == 1, "cannot write %s", path);
        close(fd);
    }
    MPI_Barrier(t->mpi);
}

static void damaged_ones_are_passed_over(struct dml_test *t)
{
    char dir[PATH_ROOM], shard[32], one[PATH_ROOM];
    help_folder(t, dir);
    dml_ckpt *ckpt = help_open(t, dir, 5, t->comm);
    for (uint64_t step = 1; ckpt && step <= 5; step++)
        help_save(t, ckpt, step, 0, t->comm);
    dml_ckpt_close(ckpt);
    snprintf(shard, sizeof shard, "shard-%06d", t->nranks - 1);
    help_newest(t, dir, 5);
    damage(t, dir, "snapshot-000005-step-5", shard, -1);
    help_newest(t, dir, 4);
    damage(t, dir, "snapshot-000004-step-4", shard, 100);
    help_newest(t, dir, 3);
    damage(t, dir, "snapshot-000003-step-3", "manifest", -1);
    help_newest(t, dir, 2);
    path_of(dir, "snapshot-000002-step-2", "shard-000000", one);
    MPI_Barrier(t->mpi);
    if (t->rank == 0)
        DML_CHECK(t, unlink(one) == 0, "cannot remove %s", one);
    MPI_Barrier(t->mpi);
    help_newest(t, dir, 1);

    /* By its name a damaged one is refused; and so is a folder of none but such. */
    dml_snapshot *s = NULL;
    path_of(dir, "snapshot-000004-step-4", "", one);
    dml_test_error(t, "a damaged one", dml_snapshot_open(one, t->comm, &s),
                   DML_EFORMAT);
    damage(t, dir, "snapshot-000001-step-1", "manifest", 0);
    dml_test_error(t, "all damaged", dml_snapshot_open(dir, t->comm, &s), DML_EFORMAT);
    path_of(dir, "absent", "", one);
    dml_test_error(t, "no folder", dml_snapshot_open(one, t->comm, &s), DML_EEND);
    help_remove(t, dir);
}

static void leftovers_are_removed(struct dml_test *t)
{
    char dir[PATH_ROOM], left[PATH_ROOM], file[PATH_ROOM], last[PATH_ROOM];
    help_folder(t, dir);
    path_of(dir, "unnamed-0123456789abcdef-7", "", left);
    path_of(dir, "unnamed-0123456789abcdef-7", "shard-000001", file);
    if (t->rank == 0) {
        DML_CHECK(t, mkdir(left, 0700) == 0, "no folder");
        int fd = open(file, O_WRONLY | O_CREAT, 0600);
        DML_CHECK(t, fd >= 0 && write(fd, "half", 4) == 4, "no file");
        close(fd);
    }
    MPI_Barrier(t->mpi);
    dml_ckpt *ckpt = help_open(t, dir, 1, t->comm);
    DML_CHECK(t, help_count(dir, "unnamed-", last) == 0, "%s is left", last);
    MPI_Barrier(t->mpi);
    help_save(t, ckpt, 1, 0, t->comm);

    /* While one writes no other does. */
    dml_ckpt *second = NULL;
    dml_ckpt_opts opts;
    dml_ckpt_opts_init(&opts);
    opts.lock_s = 0.05;
    dml_test_error(t, "a second writer", dml_ckpt_open(dir, &opts, t->comm, &second),
                   t->rank == 0 ? DML_EIO : DML_EMISMATCH);
    dml_ckpt_close(ckpt);
    ckpt = help_open(t, dir, 1, t->comm);
    dml_ckpt_close(ckpt);
    help_remove(t, dir);
}

/* A folder that is removed and made anew while a job writes there: the job takes its
 * lock again, or where somebody else has it by then, has no snapshot to show. */
static void replaced_folders_are_noticed(struct dml_test *t)
{
    char dir[PATH_ROOM], path[PATH_ROOM];
    dml_ckpt_news news;
    help_folder(t, dir);
    path_of(dir, "lock", "", path);
    dml_ckpt *ckpt = help_open(t, dir, 1, t->comm);
    dml_ckpt_opts opts;
    dml_ckpt_opts_init(&opts);
    opts.lock_s = 0;
    for (int taken = 0; ckpt && taken < 2; taken++) {
        dml_ckpt *second = NULL;
        dml_test_step(t, taken ? "taken by another" : "removed");
        if (t->rank == 0)
            DML_CHECK(t, unlink(path) == 0, "no lock");
        MPI_Barrier(t->mpi);
        if (taken) {
            dml_test_status(t, "open", dml_ckpt_open(dir, &opts, t->comm, &second),
                            DML_OK);
            help_put(t, ckpt, 2, 0, t->comm);
            dml_test_status(t, "wait", dml_ckpt_wait(ckpt, &news), DML_OK);
            DML_CHECK(t, news.status == DML_EIO && strstr(news.text, "another job"),
                      "status %d: \"%s\"", news.status, news.text);
        } else {
            help_save(t, ckpt, 1, 0, t->comm);
            dml_test_error(t, "a second writer",
                           dml_ckpt_open(dir, &opts, t->comm, &second),
                           t->rank == 0 ? DML_EIO : DML_EMISMATCH);
        }
        dml_ckpt_close(second);
    }
    dml_ckpt_close(ckpt);
    help_newest(t, dir, 1);
    help_remove(t, dir);
}

/* Parts with a gap between them, or sections of two kinds, are no snapshot. */
static void parts_that_do_not_fit(struct dml_test *t)
{
    char dir[PATH_ROOM];
    dml_ckpt_news news;
    help_folder(t, dir);
    dml_ckpt *ckpt = help_open(t, dir, 1, t->comm);
    for (int kind = 0; ckpt && kind < 2; kind++) {
        dml_ckpt_begin(ckpt, 1);
        if (kind == 0)
            dml_ckpt_add_vector(ckpt, "w", "ab", DML_U8, 3 * (uint64_t)t->rank, 2,
                                3 * (uint64_t)t->nranks);
        else if (t->rank == t->nranks - 1)
            dml_ckpt_add_vector(ckpt, "w", "ab", DML_U8, 0, 2, 3);
        else
            dml_ckpt_add_own(ckpt, "w", "ab", 2);
        dml_ckpt_commit(ckpt);
        dml_test_status(t, "wait", dml_ckpt_wait(ckpt, &news), DML_OK);
        DML_CHECK(t, news.status == DML_EIO && strstr(news.text, "section w"),
                  "status %d: \"%s\"", news.status, news.text);
    }
    dml_ckpt_close(ckpt);
    help_remove(t, dir);
}

/* Training goes on: other collectives are under way, wishes travel, and one is due. */
static void poll_through(struct dml_test *t, uint64_t every_steps, double every_s)
{
    enum { STEPS = 400, WISH_AT = 150 };
    char dir[PATH_ROOM];
    dml_ckpt_opts opts;
    dml_ckpt *ckpt = NULL;
    uint64_t saved = 0, wished = 0, finished = 0;
    help_folder(t, dir);
    dml_ckpt_opts_init(&opts);
    opts.every_steps = every_steps;
    opts.every_s = every_s;
    dml_test_status(t, "open", dml_ckpt_open(dir, &opts, t->comm, &ckpt), DML_OK);
    for (uint64_t step = 1; ckpt && step <= STEPS; step++) {
        double sum = t->rank;
        dml_request *request = NULL;
        dml_ckpt_news news;
        int wish = step == WISH_AT && t->rank == t->nranks / 2 ? 3 : 0;
        dml_iallreduce(DML_IN_PLACE, &sum, 1, DML_F64, DML_SUM, t->comm, &request);
        dml_test_status(t, "poll", dml_ckpt_poll(ckpt, step, wish, &news), DML_OK);
        dml_test_status(t, "wait", dml_wait(&request), DML_OK);
        dml_test_same_on_all(t, "news", &news.due, sizeof news.due);
        if (news.wish == 3)
            wished = step;
        if (news.finished) {
            finished++;
            DML_CHECK(t, news.status == DML_OK && news.step == saved, "%s", news.text);
        }
        if (news.due) {
            help_put(t, ckpt, step, step / 25, t->comm);
            saved = step;
        }
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
    DML_CHECK(t, wished == WISH_AT + 1, "the wish came in step %llu",
              (unsigned long long)wished);
    DML_CHECK(t, finished >= 2, "%llu snapshots", (unsigned long long)finished);
    dml_ckpt_close(ckpt);
    help_newest(t, dir, saved);
    help_remove(t, dir);
}

static void polls_between_other_calls(struct dml_test *t)
{
    dml_test_step(t, "by steps");
    poll_through(t, 25, 0);
    dml_test_step(t, "by time");
    poll_through(t, 0, 0.02);
}

static void misuse_is_refused(struct dml_test *t)
{
    char dir[PATH_ROOM], name[DML_CKPT_NAME_MAX + 1];
    dml_ckpt *ckpt = NULL;
    dml_ckpt_opts opts;
    dml_ckpt_news news;
    help_folder(t, dir);
    dml_ckpt_opts_init(&opts);
    opts.keep = 0;
    dml_test_error(t, "keep 0", dml_ckpt_open(dir, &opts, t->comm, &ckpt), DML_EINVAL);
    opts.keep = 1 + t->rank;
    if (t->nranks > 1)
        dml_test_error(t, "options", dml_ckpt_open(dir, &opts, t->comm, &ckpt),
                       DML_EMISMATCH);
    ckpt = help_open(t, dir, 1, t->comm);
    if (!ckpt)
        return;
    dml_test_error(t, "not begun", dml_ckpt_add_own(ckpt, "a", "", 0), DML_EINVAL);
    dml_test_error(t, "not begun", dml_ckpt_commit(ckpt), DML_EINVAL);
    dml_test_error(t, "a wish", dml_ckpt_poll(ckpt, 1, -1, &news), DML_EINVAL);
    dml_ckpt_begin(ckpt, 1);
    dml_test_error(t, "begun twice", dml_ckpt_begin(ckpt, 1), DML_EINVAL);
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    const char *const bad[] = {"", "a b", "\n", name, NULL};
    for (size_t i = 0; i < DML_TEST_COUNT(bad); i++)
        dml_test_error(t, "a name", dml_ckpt_add_own(ckpt, bad[i], "", 0), DML_EINVAL);
    dml_test_status(t, "own", dml_ckpt_add_own(ckpt, "a", "1", 1), DML_OK);
    dml_test_error(t, "twice", dml_ckpt_add_own(ckpt, "a", "1", 1), DML_EINVAL);
    dml_test_error(t, "outside", dml_ckpt_add_vector(ckpt, "v", "12", DML_U8, 2, 2, 3),
                   DML_EINVAL);
    dml_test_error(
        t, "too many",
        dml_ckpt_add_vector(ckpt, "v", "12", DML_F64, 0, SIZE_MAX / 4, SIZE_MAX / 4),
        DML_EINVAL);
    dml_ckpt_close(ckpt);
    help_remove(t, dir);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"what was put comes back", what_was_put_comes_back},
        {"any number of ranks to any", any_number_of_ranks_to_any},
        {"damaged ones are passed over", damaged_ones_are_passed_over},
        {"leftovers are removed, and the lock", leftovers_are_removed},
        {"replaced folders are noticed", replaced_folders_are_noticed},
        {"a failing disk leaves the one before",
         help_a_failing_disk_leaves_the_one_before},
        {"a file that may not grow", help_a_file_that_may_not_grow},
        {"a full disk", help_a_full_disk},
        {"folders apart", help_folders_apart},
        {"no memory", help_no_memory},
        {"parts that do not fit", parts_that_do_not_fit},
        {"polls between other calls", polls_between_other_calls},
        {"misuse is refused", misuse_is_refused},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
