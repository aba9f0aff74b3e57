/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A state of bytes and of a vector that is a function of the step; and calls of the
 * system that fail where a test wants them to: this program's own take their place.
 */
#include "ckpt_help.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- faults -----------------------------------------------------------------------
 */

static atomic_int faulty, fault_error;

void help_fault(int calls, int error)
{
    atomic_store(&fault_error, error);
    atomic_store(&faulty, calls);
}

static int fails(int call)
{
    if (!(atomic_load(&faulty) & call))
        return 0;
    errno = atomic_load(&fault_error);
    return 1;
}

int fsync(int fd)
{
    return fails(FAULT_FSYNC) ? -1 : (int)syscall(SYS_fsync, fd);
}

int mkdir(const char *path, mode_t mode)
{
    if (strstr(path, "unnamed-") && fails(FAULT_MKDIR))
        return -1;
    return mkdirat(AT_FDCWD, path, mode);
}

int rename(const char *from, const char *to)
{
    if (strstr(to, "snapshot-") && fails(FAULT_RENAME))
        return -1;
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

/* ---- folders ----------------------------------------------------------------------
 */

void help_folder(struct dml_test *t, char path[PATH_ROOM])
{
    const char *base = getenv("TMPDIR");
    snprintf(path, PATH_ROOM, "%s/dml-ckpt-XXXXXX", base ? base : "/tmp");
    if (t->rank == 0)
        DML_CHECK(t, mkdtemp(path) != NULL, "no folder for snapshots");
    MPI_Bcast(path, PATH_ROOM, MPI_CHAR, 0, t->mpi);
}

void help_remove(struct dml_test *t, const char *path)
{
    char command[PATH_ROOM + 16];
    MPI_Barrier(t->mpi);
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    if (t->rank == 0)
        DML_CHECK(t, system(command) == 0, "cannot remove %s", path);
    MPI_Barrier(t->mpi);
}

int help_count(const char *path, const char *begin, char last[PATH_ROOM])
{
    int count = 0;
    DIR *dir = opendir(path);
    last[0] = '\0';
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (strncmp(e->d_name, begin, strlen(begin)) != 0)
            continue;
        count++;
        if (strcmp(e->d_name, last) > 0)
            snprintf(last, PATH_ROOM, "%s", e->d_name);
    }
    if (dir)
        closedir(dir);
    return count;
}

/* ---- state ------------------------------------------------------------------------
 */

/* Where part r of n begins; different "cuts" cut differently, and leave parts empty. */
static uint64_t cut(uint64_t cuts, uint64_t r, uint64_t n)
{
    if (r == 0 || r >= n)
        return r == 0 ? 0 : NTOTAL;
    if (cuts % 3 == 0)
        return r * NTOTAL / n;
    if (cuts % 3 == 1)
        return r * r * NTOTAL / (n * n);
    return NTOTAL; /* all is the first one's */
}

static uint32_t element(uint64_t step, uint64_t i)
{
    return (uint32_t)dml_test_hash(3, step, i);
}

static size_t own_bytes(uint64_t rank, uint64_t step)
{
    return (size_t)(rank * 37 + step) % 100;
}

dml_ckpt *help_open(struct dml_test *t, const char *dir, int keep, dml_comm *comm)
{
    dml_ckpt *ckpt = NULL;
    dml_ckpt_opts opts;
    dml_ckpt_opts_init(&opts);
    opts.keep = keep;
    opts.lock_s = 0;
    dml_test_status(t, "dml_ckpt_open", dml_ckpt_open(dir, &opts, comm, &ckpt), DML_OK);
    return ckpt;
}

void help_put(struct dml_test *t, dml_ckpt *ckpt, uint64_t step, uint64_t cuts,
              dml_comm *comm)
{
    const uint64_t rank = (uint64_t)dml_comm_rank(comm);
    const uint64_t n = (uint64_t)dml_comm_size(comm);
    uint64_t first = cut(cuts, rank, n), end = cut(cuts, rank + 1, n);
    uint32_t *part = dml_test_alloc((size_t)(end - first + 1) * sizeof *part);
    unsigned char own[100];
    for (uint64_t i = first; i < end; i++)
        part[i - first] = element(step, i);
    memset(own, (int)(rank + step), sizeof own);
    /* In two pieces, as a program with several tensors would put them. */
    uint64_t half = (end - first) / 2;
    dml_test_status(t, "begin", dml_ckpt_begin(ckpt, step), DML_OK);
    dml_test_status(t, "shared", dml_ckpt_add_shared(ckpt, "step", &step, sizeof step),
                    DML_OK);
    dml_test_status(t, "own", dml_ckpt_add_own(ckpt, "rng", own, own_bytes(rank, step)),
                    DML_OK);
    dml_test_status(t, "part",
                    dml_ckpt_add_vector(ckpt, "w", part, DML_I32, first, half, NTOTAL),
                    DML_OK);
    dml_test_status(t, "part",
                    dml_ckpt_add_vector(ckpt, "w", part + half, DML_I32, first + half,
                                        end - first - half, NTOTAL),
                    DML_OK);
    dml_test_status(t, "commit", dml_ckpt_commit(ckpt), DML_OK);
    free(part);
}

void help_save(struct dml_test *t, dml_ckpt *ckpt, uint64_t step, uint64_t cuts,
               dml_comm *comm)
{
    dml_ckpt_news news;
    help_put(t, ckpt, step, cuts, comm);
    dml_test_status(t, "wait", dml_ckpt_wait(ckpt, &news), DML_OK);
    DML_CHECK(t, news.finished && news.status == DML_OK && news.step == step,
              "snapshot of step %llu: %s", (unsigned long long)step, news.text);
}

static void check_bytes(struct dml_test *t, const dml_snapshot *s, uint64_t step)
{
    dml_snapshot_info info;
    uint64_t kept = 0;
    unsigned char own[100], want[100];
    dml_snapshot_get_info(s, &info);
    DML_CHECK(t, info.step == step, "step %llu, %llu expected",
              (unsigned long long)info.step, (unsigned long long)step);
    dml_test_status(t, "get_shared",
                    dml_snapshot_get_shared(s, "step", &kept, sizeof kept), DML_OK);
    DML_CHECK(t, kept == step, "shared bytes of step %llu", (unsigned long long)kept);
    for (int r = 0; r < info.ranks; r++) {
        dml_section_info section = {0};
        size_t bytes = own_bytes((uint64_t)r, step);
        dml_test_status(t, "find", dml_snapshot_find(s, "rng", r, &section), DML_OK);
        DML_CHECK(t, section.count == bytes && section.kind == DML_SECTION_OWN,
                  "rank %d has %llu bytes", r, (unsigned long long)section.count);
        memset(want, (int)(r + (int)step), sizeof want);
        dml_test_status(t, "get_own", dml_snapshot_get_own(s, "rng", r, own, bytes),
                        DML_OK);
        dml_test_bytes(t, "own bytes", own, want, bytes);
    }
}

void help_check(struct dml_test *t, const dml_snapshot *s, uint64_t step, uint64_t cuts,
                dml_comm *comm)
{
    const uint64_t rank = (uint64_t)dml_comm_rank(comm);
    const uint64_t n = (uint64_t)dml_comm_size(comm);
    uint64_t first = cut(cuts, rank, n), count = cut(cuts, rank + 1, n) - first;
    uint32_t *got = dml_test_alloc((size_t)(count + 1) * sizeof *got);
    uint32_t *want = dml_test_alloc((size_t)(count + 1) * sizeof *want);
    check_bytes(t, s, step);
    for (uint64_t i = 0; i < count; i++)
        want[i] = element(step, first + i);
    dml_test_status(t, "get_vector",
                    dml_snapshot_get_vector(s, "w", got, DML_I32, first, count, NTOTAL),
                    DML_OK);
    dml_test_bytes(t, "vector", got, want, (size_t)count * sizeof *got);
    free(want);
    free(got);
}

void help_newest(struct dml_test *t, const char *dir, uint64_t step)
{
    dml_snapshot *s = NULL;
    if (!dml_test_status(t, "dml_snapshot_open", dml_snapshot_open(dir, t->comm, &s),
                         DML_OK))
        return;
    help_check(t, s, step, 0, t->comm);
    dml_snapshot_close(s);
}
