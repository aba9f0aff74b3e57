/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A forest in a snapshot, and back. A tree depends on data, options and its number
 * alone, so what is finished is all that is kept:
 *
 *     forest       words that tell of which data and version it is
 *     importance   i64 [F] over all trees that are there, whole numbers
 *     tree-list    u64 [n][2] number and bytes of each tree
 *     trees        their records, see record.h, in the list's order
 *
 * Votes out of bag are cast again: the rows that a tree has not drawn follow from its
 * number. Whichever rank wrote a tree, afterwards rank (number modulo ranks) keeps it.
 */
#include "state.h"

#include "fingerprint.h"
#include "record.h"
#include "worker.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#define STATE_VERSION 1
#define PART_BYTES    ((size_t)4 << 20) /* of records that are put at once */
#define MOST_TREES    32768             /* as --trees has */

enum { WORD_VERSION, WORD_ROWS, WORD_FEATURES, WORD_CLASSES, WORD_PRINT, NWORDS };

static void get_words(const struct forest *forest, uint64_t words[NWORDS])
{
    const struct table *train = &forest->set->train;
    words[WORD_VERSION] = STATE_VERSION;
    words[WORD_ROWS] = train->all_rows;
    words[WORD_FEATURES] = train->nfeatures;
    words[WORD_CLASSES] = train->nclasses;
    words[WORD_PRINT] = forest->fingerprint;
}

/* ---- writing -------------------------------------------------------------------- */

static dml_status put_importance(struct forest *forest, dml_ckpt *writer)
{
    struct job *job = forest->job;
    size_t width = forest->set->train.nfeatures;
    int64_t *sum = calloc(width, sizeof *sum);
    dml_status status = job_agree(
        job, sum ? DML_OK : job_fail(job, DML_ENOMEM, "out of memory for a snapshot"));
    if (status == DML_OK)
        status = forest_importance(forest, sum);
    if (status == DML_OK)
        status = job_note(
            job, dml_ckpt_add_shared(writer, "importance", sum, width * sizeof *sum));
    free(sum);
    return job_agree(job, status);
}

/* Trees and bytes of the ranks before this one, and of all. */
struct place {
    uint64_t tree, trees, byte, bytes;
};

static dml_status find_place(const struct forest *forest, struct place *place)
{
    struct job *job = forest->job;
    uint64_t mine[2] = {forest->spool.n, forest->spool.end};
    uint64_t *all = calloc(2 * (size_t)job->nranks, sizeof *all);
    dml_status status = job_agree(
        job, all ? DML_OK : job_fail(job, DML_ENOMEM, "out of memory for a snapshot"));
    if (status == DML_OK)
        status = job_note(job, dml_allgather(mine, all, 2, DML_U64, job->comm));
    *place = (struct place){0};
    for (int r = 0; status == DML_OK && r < job->nranks; r++) {
        place->tree += r < job->rank ? all[2 * r] : 0;
        place->byte += r < job->rank ? all[2 * r + 1] : 0;
        place->trees += all[2 * r];
        place->bytes += all[2 * r + 1];
    }
    free(all);
    return job_agree(job, status);
}

static dml_status put_list(struct forest *forest, dml_ckpt *writer,
                           const struct place *place)
{
    const struct spool *spool = &forest->spool;
    uint64_t *list = calloc(2 * spool->n + 1, sizeof *list);
    if (!list)
        return job_fail(forest->job, DML_ENOMEM, "out of memory for a snapshot");
    for (size_t i = 0; i < spool->n; i++) {
        list[2 * i] = spool->entry[i].number;
        list[2 * i + 1] = spool->entry[i].bytes;
    }
    dml_status status =
        job_note(forest->job,
                 dml_ckpt_add_vector(writer, "tree-list", list, DML_U64,
                                     2 * place->tree, 2 * spool->n, 2 * place->trees));
    free(list);
    return status;
}

static dml_status put_trees(struct forest *forest, dml_ckpt *writer,
                            const struct place *place)
{
    struct job *job = forest->job;
    struct spool *spool = &forest->spool;
    unsigned char *part = malloc(PART_BYTES);
    dml_status status =
        part ? DML_OK : job_fail(job, DML_ENOMEM, "out of memory for a snapshot");
    for (uint64_t at = 0; status == DML_OK && at < spool->end; at += PART_BYTES) {
        size_t bytes = spool->end - at < PART_BYTES ? spool->end - at : PART_BYTES;
        if (!spool_read(spool, at, part, bytes))
            status = job_fail(job, DML_EIO, "a tree cannot be read back from /tmp");
        else
            status = job_note(job, dml_ckpt_add_vector(writer, "trees", part, DML_U8,
                                                       place->byte + at, bytes,
                                                       place->bytes));
    }
    free(part);
    return status;
}

dml_status state_save(void *user, dml_ckpt *writer)
{
    struct forest *forest = user;
    struct job *job = forest->job;
    struct place place;
    uint64_t words[NWORDS];
    dml_status status = put_importance(forest, writer);
    if (status == DML_OK)
        status = find_place(forest, &place);
    if (status != DML_OK)
        return status;
    get_words(forest, words);
    status = job_note(job, dml_ckpt_add_shared(writer, "forest", words, sizeof words));
    if (status == DML_OK && forest->spool.n > 0)
        status = put_list(forest, writer, &place);
    if (status == DML_OK)
        status = put_trees(forest, writer, &place);
    return job_agree(job, status);
}

/* ---- reading -------------------------------------------------------------------- */

/* Trees of a snapshot. */
struct kept {
    uint64_t *list; /* [n][2] */
    uint64_t *at;   /* [n] first byte of each */
    uint64_t n, bytes;
};

static dml_status unusable(struct job *job, const char *what)
{
    return job_fail(job, DML_EFORMAT, "--resume: the snapshot cannot be used: %s",
                    what);
}

static dml_status check_words(struct forest *forest)
{
    struct job *job = forest->job;
    uint64_t was[NWORDS] = {0}, now[NWORDS];
    dml_status status =
        dml_snapshot_get_shared(forest->snapshot, "forest", was, sizeof was);
    if (status == DML_EINVAL ||
        (status == DML_OK && was[WORD_VERSION] != STATE_VERSION))
        return unusable(job, "it is not of this version of dml-prf");
    if (status != DML_OK)
        return job_note(job, status);
    get_words(forest, now);
    bool same_shape = was[WORD_ROWS] == now[WORD_ROWS] &&
                      was[WORD_FEATURES] == now[WORD_FEATURES] &&
                      was[WORD_CLASSES] == now[WORD_CLASSES];
    if (!same_shape)
        return job_fail(
            job, DML_EMISMATCH,
            "--resume: the snapshot was made with other training data, "
            "%llu rows of %llu features, and now it is %llu of %llu: give "
            "the same --data",
            (unsigned long long)was[WORD_ROWS], (unsigned long long)was[WORD_FEATURES],
            (unsigned long long)now[WORD_ROWS], (unsigned long long)now[WORD_FEATURES]);
    if (was[WORD_PRINT] != now[WORD_PRINT])
        return job_fail(job, DML_EMISMATCH,
                        "--resume: the snapshot was made with other training data of "
                        "as many rows and features: give the same --data");
    return DML_OK;
}

/* Rank 0 has the importance of the trees so far. */
static dml_status load_importance(struct forest *forest)
{
    struct job *job = forest->job;
    size_t width = forest->set->train.nfeatures;
    if (job->rank != 0)
        return DML_OK;
    dml_status status = job_note(
        job, dml_snapshot_get_shared(forest->snapshot, "importance", forest->importance,
                                     width * sizeof *forest->importance));
    /* New trees' are added. */
    for (size_t f = 0; f < width && status == DML_OK; f++)
        if (forest->importance[f] > INT64_MAX / 2 ||
            forest->importance[f] < -INT64_MAX / 2)
            status = unusable(job, "an importance makes no sense");
    return status;
}

/* Lengths before memory is asked for. */
static dml_status find_trees(struct forest *forest, struct kept *kept)
{
    struct job *job = forest->job;
    dml_section_info list, trees;
    if (dml_snapshot_find(forest->snapshot, "tree-list", 0, &list) != DML_OK ||
        dml_snapshot_find(forest->snapshot, "trees", 0, &trees) != DML_OK ||
        list.count % 2 != 0 || list.count > 2 * MOST_TREES)
        return unusable(job, "it has no list of trees");
    kept->n = list.count / 2;
    kept->bytes = trees.count;
    kept->list = calloc((size_t)list.count + 1, sizeof *kept->list);
    kept->at = calloc((size_t)kept->n + 1, sizeof *kept->at);
    if (!kept->list || !kept->at)
        return job_fail(job, DML_ENOMEM, "out of memory for a snapshot");
    return job_note(job,
                    dml_snapshot_get_vector(forest->snapshot, "tree-list", kept->list,
                                            DML_U64, 0, list.count, list.count));
}

/* What is there, and so what is to be grown. */
static dml_status look_through(struct forest *forest, struct kept *kept)
{
    struct job *job = forest->job;
    uint8_t *there = calloc(forest->ntrees, 1);
    dml_status status = there ? DML_OK : job_fail(job, DML_ENOMEM, "out of memory");
    uint64_t at = 0;
    for (uint64_t i = 0; status == DML_OK && i < kept->n; i++) {
        uint64_t number = kept->list[2 * i], bytes = kept->list[2 * i + 1];
        kept->at[i] = at;
        if (number >= MOST_TREES || bytes < RECORD_HEAD || bytes > kept->bytes - at)
            status = unusable(job, "its list of trees makes no sense");
        else if (number >= forest->ntrees)
            status = job_fail(job, DML_EMISMATCH,
                              "--resume: the snapshot has tree %llu, and now there "
                              "shall be --trees %zu: give as many as before, or more",
                              (unsigned long long)number + 1, forest->ntrees);
        else if (there[number])
            status = unusable(job, "a tree is in it twice");
        else
            there[number] = 1;
        at += bytes;
    }
    if (status == DML_OK && at != kept->bytes)
        status = unusable(job, "its list of trees makes no sense");
    for (uint64_t t = forest->ntodo = 0; status == DML_OK && t < forest->ntrees; t++)
        if (!there[t])
            forest->todo[forest->ntodo++] = t;
    free(there);
    return status;
}

static dml_status take_one(struct forest *forest, const struct kept *kept, uint64_t i)
{
    struct job *job = forest->job;
    size_t bytes = (size_t)kept->list[2 * i + 1];
    unsigned char *record = malloc(bytes);
    dml_status status =
        record ? DML_OK : job_fail(job, DML_ENOMEM, "out of memory for a snapshot");
    const char *wrong = NULL;
    if (record) {
#pragma omp critical(snapshot)
        status = job_note(job, dml_snapshot_get_vector(forest->snapshot, "trees",
                                                       record, DML_U8, kept->at[i],
                                                       bytes, kept->bytes));
    }
    if (status == DML_OK)
        wrong = worker_take(forest, &forest->workers[omp_get_thread_num()],
                            kept->list[2 * i], record, bytes);
    free(record);
    if (wrong) {
#pragma omp critical(snapshot)
        status = job_fail(job, DML_EFORMAT,
                          "--resume: a tree of the snapshot cannot be used: %s", wrong);
    }
    return status;
}

/* Each tree by the rank that keeps it; where rows are sharded, by all. */
static dml_status take_trees(struct forest *forest, const struct kept *kept)
{
    const struct job *job = forest->job;
    int worst = DML_OK; /* errors are below it */
#pragma omp parallel for num_threads(forest_workers(forest)) schedule(dynamic) \
    reduction(max                                                              \
              : worst)
    for (uint64_t i = 0; i < kept->n; i++) {
        bool mine = kept->list[2 * i] % (uint64_t)job->nranks == (uint64_t)job->rank;
        if (!mine && !forest->set->sharded)
            continue;
        int status = (int)take_one(forest, kept, i);
        worst = status < worst ? status : worst;
    }
    return (dml_status)worst;
}

static dml_status load(struct forest *forest, struct kept *kept)
{
    struct job *job = forest->job;
    dml_status status = job_agree(job, check_words(forest));
    if (status == DML_OK)
        status = job_agree(job, load_importance(forest));
    if (status == DML_OK)
        status = job_agree(job, find_trees(forest, kept));
    if (status == DML_OK)
        status = job_agree(job, look_through(forest, kept));
    if (status == DML_OK)
        status = job_agree(job, take_trees(forest, kept));
    return status;
}

dml_status state_load(struct forest *forest)
{
    struct kept kept = {0};
    dml_status status = DML_OK;
    if (forest->snapshot || forest->checkpoint->writer)
        status = job_agree(forest->job, fingerprint_of(forest->job, forest->set,
                                                       &forest->fingerprint));
    if (status != DML_OK)
        return status;
    if (!forest->snapshot) {
        for (uint64_t t = 0; t < forest->ntrees; t++)
            forest->todo[t] = t;
        forest->ntodo = forest->ntrees;
        return DML_OK;
    }
    status = load(forest, &kept);
    free(kept.list);
    free(kept.at);
    return status;
}
