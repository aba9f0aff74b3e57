/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Snapshots that cannot be written: calls that fail on one rank, a limit on the length
 * of files, a full disk. All ranks hear of it, and the snapshot before stays.
 */
#include "ckpt_help.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* All ranks must have heard the same. */
static void same_news(struct dml_test *t, const dml_ckpt_news *news)
{
    dml_test_same_on_all(t, "news", news->text, strlen(news->text));
    dml_test_same_on_all(t, "news", &news->rank, sizeof news->rank);
    dml_test_same_on_all(t, "news", &news->status, sizeof news->status);
}

/* A snapshot that fails on a rank, by a call that does; the one before stays. */
static void fail_one(struct dml_test *t, dml_ckpt *ckpt, const char *dir, int call,
                     int error, int rank)
{
    static uint64_t step = 1000;
    dml_ckpt_news news;
    char last[PATH_ROOM];
    dml_test_step(t, "call %d fails on rank %d: %s", call, rank, strerror(error));
    if (t->rank == rank)
        help_fault(call, error);
    help_put(t, ckpt, ++step, 0, t->comm);
    dml_test_status(t, "wait", dml_ckpt_wait(ckpt, &news), DML_OK);
    help_fault(0, 0);
    DML_CHECK(t,
              news.finished && news.status == DML_EIO && news.step == step &&
                  news.rank == rank,
              "status %d of rank %d", news.status, news.rank);
    DML_CHECK(t, strstr(news.text, strerror(error)) && strstr(news.text, dir),
              "it says \"%s\"", news.text);
    same_news(t, &news);
    DML_CHECK(t, help_count(dir, "unnamed-", last) == 0, "%s is left", last);
    MPI_Barrier(t->mpi);
    help_newest(t, dir, 7);
}

void help_a_failing_disk_leaves_the_one_before(struct dml_test *t)
{
    char dir[PATH_ROOM];
    help_folder(t, dir);
    dml_ckpt *ckpt = help_open(t, dir, 1, t->comm);
    if (ckpt)
        help_save(t, ckpt, 7, 0, t->comm);
    for (int rank = 0;
         ckpt && rank<t->nranks; rank += t->nranks> 1 ? t->nranks - 1 : 1) {
        fail_one(t, ckpt, dir, FAULT_FSYNC, EIO, rank);
        fail_one(t, ckpt, dir, FAULT_MKDIR, EROFS, rank);
    }
    if (ckpt)
        fail_one(t, ckpt, dir, FAULT_RENAME, EACCES, 0);
    if (ckpt)
        help_save(t, ckpt, 8, 0, t->comm);
    dml_ckpt_close(ckpt);
    help_newest(t, dir, 8);
    help_remove(t, dir);
}

/* Files may not grow beyond a limit: writing fails in the middle. */
void help_a_file_that_may_not_grow(struct dml_test *t)
{
    char dir[PATH_ROOM];
    struct rlimit before, small;
    dml_ckpt_news news;
    help_folder(t, dir);
    dml_ckpt *ckpt = help_open(t, dir, 1, t->comm);
    if (!ckpt)
        return;
    help_save(t, ckpt, 7, 0, t->comm);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    small = (struct rlimit){.rlim_cur = 1000, .rlim_max = before.rlim_max};
    if (t->rank == t->nranks - 1)
        setrlimit(RLIMIT_FSIZE, &small);
    help_put(t, ckpt, 8, 0, t->comm);
    dml_test_status(t, "wait", dml_ckpt_wait(ckpt, &news), DML_OK);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);
    DML_CHECK(t,
              news.status == DML_EIO && news.rank == t->nranks - 1 &&
                  strstr(news.text, strerror(EFBIG)),
              "status %d: \"%s\"", news.status, news.text);
    help_newest(t, dir, 7);
    help_save(t, ckpt, 9, 0, t->comm);
    dml_ckpt_close(ckpt);
    help_newest(t, dir, 9);
    help_remove(t, dir);
}

void help_a_full_disk(struct dml_test *t)
{
    char dir[PATH_ROOM], last[PATH_ROOM];
    int mounted = 0;
    dml_ckpt_news news;
    help_folder(t, dir);
    if (t->rank == 0)
        mounted = mount("none", dir, "tmpfs", 0, "size=192k") == 0;
    MPI_Bcast(&mounted, 1, MPI_INT, 0, t->mpi);
    if (!mounted) {
        help_remove(t, dir);
        dml_test_skip(t, "a file system cannot be mounted here");
        return;
    }
    /* One snapshot of 40 kB fits; with another one's 200 kB more it is full. */
    dml_ckpt *ckpt = help_open(t, dir, 2, t->comm);
    char *large = dml_test_alloc(200000);
    memset(large, 1, 200000);
    if (ckpt) {
        help_save(t, ckpt, 7, 0, t->comm);
        dml_test_status(t, "begin", dml_ckpt_begin(ckpt, 8), DML_OK);
        dml_test_status(t, "shared", dml_ckpt_add_shared(ckpt, "large", large, 200000),
                        DML_OK);
        dml_test_status(t, "commit", dml_ckpt_commit(ckpt), DML_OK);
        dml_test_status(t, "wait", dml_ckpt_wait(ckpt, &news), DML_OK);
        DML_CHECK(t,
                  news.status == DML_EIO && news.rank == 0 &&
                      strstr(news.text, strerror(ENOSPC)),
                  "status %d: \"%s\"", news.status, news.text);
        same_news(t, &news);
        DML_CHECK(t, help_count(dir, "unnamed-", last) == 0, "%s is left", last);
        help_newest(t, dir, 7);
        help_save(t, ckpt, 9, 0, t->comm);
        help_newest(t, dir, 9);
    }
    dml_ckpt_close(ckpt);
    free(large);
    MPI_Barrier(t->mpi);
    if (t->rank == 0)
        DML_CHECK(t, umount(dir) == 0, "cannot unmount %s", dir);
    help_remove(t, dir);
}

/* Every rank has a folder of its own, as with disks that nodes do not share. */
void help_folders_apart(struct dml_test *t)
{
    char dir[PATH_ROOM], own[PATH_ROOM + 16], last[PATH_ROOM];
    dml_ckpt_news news;
    if (t->nranks == 1) {
        dml_test_skip(t, "one rank has one folder");
        return;
    }
    help_folder(t, dir);
    snprintf(own, sizeof own, "%s/%d", dir, t->rank);
    for (int made = 0; made < 2; made++) {
        if (made && t->rank > 0)
            DML_CHECK(t, mkdir(own, 0700) == 0, "no folder");
        dml_ckpt *ckpt = help_open(t, own, 1, t->comm);
        if (!ckpt)
            break;
        help_put(t, ckpt, 1, 0, t->comm);
        dml_test_status(t, "wait", dml_ckpt_wait(ckpt, &news), DML_OK);
        DML_CHECK(t, news.status == DML_EIO && strstr(news.text, "do all nodes see"),
                  "status %d: \"%s\"", news.status, news.text);
        same_news(t, &news);
        MPI_Barrier(t->mpi);
        DML_CHECK(t, help_count(own, "unnamed-", last) == 0, "%s is left", last);
        dml_ckpt_close(ckpt);
    }
    help_remove(t, dir);
}

/* ---- memory -----------------------------------------------------------------------
 */

static void ignore(void *user, dml_log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)line;
}

/* Everything once, on a communicator whose last rank's n-th allocation fails. Returns
 * whether all went well; what fails is a status, on all ranks that wait for each other.
 */
static bool all_once(struct dml_test *t, const char *dir, dml_comm *comm)
{
    dml_ckpt *ckpt = NULL;
    dml_snapshot *s = NULL;
    dml_ckpt_opts opts;
    dml_ckpt_news news = {0};
    static const char data[3000];
    dml_ckpt_opts_init(&opts);
    opts.sync = false;
    if (dml_ckpt_open(dir, &opts, comm, &ckpt) != DML_OK)
        return false;
    dml_status status = dml_ckpt_begin(ckpt, 1);
    if (status == DML_OK)
        status = dml_ckpt_add_shared(ckpt, "shared", data, sizeof data);
    if (status == DML_OK || status == DML_ENOMEM)
        status = dml_ckpt_add_vector(ckpt, "w", data, DML_U8, 10 * (uint64_t)t->rank,
                                     10, 10 * (uint64_t)t->nranks);
    if (status == DML_OK || status == DML_ENOMEM)
        status = dml_ckpt_commit(ckpt);
    if (status == DML_OK)
        status = dml_ckpt_wait(ckpt, &news);
    bool well = status == DML_OK && news.finished && news.status == DML_OK;
    dml_ckpt_close(ckpt);
    if (status == DML_OK && dml_snapshot_open(dir, comm, &s) != DML_OK)
        well = false;
    dml_snapshot_close(s);
    return well;
}

static bool everywhere(struct dml_test *t, bool mine)
{
    int all = mine;
    MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT, MPI_MIN, t->mpi);
    return all != 0;
}

void help_no_memory(struct dml_test *t)
{
    enum { MOST = 400 };
    char dir[PATH_ROOM], number[16];
    bool well = false;
    int failed = 0;
    help_folder(t, dir);
    for (int n = 1; n < MOST && !well; n += (int)t->every) {
        dml_ctx *ctx = NULL;
        dml_comm *comm = NULL;
        dml_ctx_opts opts;
        dml_test_step(t, "allocation %d fails", n);
        dml_ctx_opts_init(&opts);
        opts.log = ignore;
        snprintf(number, sizeof number, "%d", n);
        if (t->rank == t->nranks - 1)
            setenv("DML_TEST_ALLOC_FAIL", number, 1);
        bool made = dml_ctx_create(&opts, &ctx) == DML_OK;
        if (everywhere(t, made))
            made = dml_comm_from_mpi(ctx, t->mpi, &comm) == DML_OK;
        if (everywhere(t, made)) {
            well = everywhere(t, all_once(t, dir, comm));
            failed += !well;
        }
        unsetenv("DML_TEST_ALLOC_FAIL");
        dml_comm_destroy(comm);
        dml_ctx_destroy(ctx);
    }
    DML_CHECK(t, well && failed > 0, "%d failures before all went well", failed);
    help_remove(t, dir);
}
