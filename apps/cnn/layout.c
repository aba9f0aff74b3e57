/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which rank holds which training image: evenly, or as unequal as data often come that
 * were written by different nodes, and then balanced by a partition plan.
 *
 * All ranks read the whole set here, so a layout costs nothing: it stands for what
 * files on each node would hold, and shows what that does to training. The plan is made
 * as it would be for records on disk: from a histogram of keys, where a key is a small
 * block of neighbouring images on one rank, which may move together.
 */
#include "layout.h"

#include "onednn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STREAM     UINT64_C(0x6c61796f7574) /* keeps these draws apart from others */
#define MAX_SKEW   20
#define LEAST_PART 8   /* images of a block: plans look at keys that often come */
#define BLOCKS     256 /* of a rank; a plan may be a half of one off */

enum kind { EVEN, SIZE_SKEW, CLASS_SKEW };

/* ---- options -------------------------------------------------------------------- */

/* "even", "size-skew" or "class-skew:1.5"; false: none of them. */
static bool parse_kind(const char *text, enum kind *kind, double *skew)
{
    static const char *const names[] = {"even", "size-skew", "class-skew"};
    size_t length = strcspn(text, ":");
    *skew = 1;
    for (int i = 0; i < 3; i++) {
        if (strlen(names[i]) != length || strncmp(names[i], text, length) != 0)
            continue;
        *kind = (enum kind)i;
        if (text[length] == '\0')
            return true;
        char *end = NULL;
        *skew = strtod(text + length + 1, &end);
        return i != EVEN && end != text + length + 1 && *end == '\0' && *skew >= 0 &&
               *skew <= MAX_SKEW;
    }
    return false;
}

/* "1,1,0.5" as one number above 0 for each rank. */
static bool parse_capacity(const char *text, int nranks, double *capacity)
{
    for (int r = 0; r < nranks; r++) {
        char *end = NULL;
        capacity[r] = strtod(text, &end);
        bool last = r == nranks - 1;
        if (end == text || !(capacity[r] > 0) || capacity[r] > 1e6 ||
            *end != (last ? '\0' : ','))
            return false;
        text = end + 1;
    }
    return true;
}

static bool is_balanced(const struct cnn_options *options)
{
    return strcmp(options->balance, "none") != 0;
}

dml_uneven layout_uneven(const struct cnn_options *options)
{
    return strcmp(options->uneven, "drop") == 0   ? DML_UNEVEN_DROP
           : strcmp(options->uneven, "join") == 0 ? DML_UNEVEN_JOIN
                                                  : DML_UNEVEN_SHARE;
}

dml_status layout_check(struct job *job, const struct cnn_options *options)
{
    enum kind kind = EVEN;
    double skew;
    if (!parse_kind(options->layout, &kind, &skew))
        return job_fail(
            job, DML_EINVAL,
            "--layout needs even, size-skew or class-skew, the latter two "
            "with an exponent of 0 .. %d as in size-skew:1.5, not \"%.40s\"",
            MAX_SKEW, options->layout);
    if (options->capacity && !is_balanced(options))
        return job_fail(job, DML_EINVAL,
                        "--capacity is what --balance goes by: give that too, such as "
                        "--balance ksrp");
    return DML_OK;
}

/* ---- how images came ------------------------------------------------------------ */

/* Rank at which a share "at" of the whole lies, where ranks have shares of 1 / k^S. */
static uint32_t zipf_rank(int nranks, double skew, double at)
{
    double total = 0, sum = 0;
    for (int k = 1; k <= nranks; k++)
        total += pow(k, -skew);
    for (int k = 1; k < nranks; k++) {
        sum += pow(k, -skew);
        if (at < sum / total)
            return (uint32_t)(k - 1);
    }
    return (uint32_t)(nranks - 1);
}

/* Random images each, rank 0 the most. */
static dml_status skew_sizes(struct job *job, uint64_t seed, double skew,
                             struct layout *layout)
{
    uint32_t count = (uint32_t)layout->count;
    uint32_t *order = malloc(count * sizeof *order);
    if (!order)
        return job_fail(job, DML_ENOMEM, "out of memory");
    dml_rng_permutation(seed, STREAM, count, order);
    for (uint32_t i = 0; i < count; i++)
        layout->owner[order[i]] = zipf_rank(job->nranks, skew, (i + 0.5) / count);
    free(order);
    return DML_OK;
}

/* Of each class one rank has the most, the next one the second most ... */
static void skew_classes(struct job *job, const dml_images *images, uint64_t seed,
                         double skew, struct layout *layout)
{
    for (size_t i = 0; i < layout->count; i++) {
        int32_t label;
        (void)dml_images_pixels(images, i, &label);
        double at = dml_rng_uniform(seed, STREAM, i);
        uint32_t choice = zipf_rank(job->nranks, skew, at);
        layout->owner[i] = ((uint32_t)label + choice) % (uint32_t)job->nranks;
    }
}

static void cut_evenly(struct layout *layout)
{
    for (size_t i = 0; i < layout->count; i++)
        layout->owner[i] = (uint32_t)(i * (size_t)layout->nranks / layout->count);
}

/* ---- balance -------------------------------------------------------------------- */

static dml_status judge(struct job *job, struct layout *layout, double *imbalance)
{
    dml_balance balance = {0};
    memset(layout->held, 0, (size_t)layout->nranks * sizeof *layout->held);
    for (size_t i = 0; i < layout->count; i++)
        layout->held[layout->owner[i]]++;
    dml_status status = dml_balance_of(job->ctx, layout->held, layout->capacity,
                                       (size_t)layout->nranks, &balance);
    *imbalance = balance.imbalance;
    return job_note(job, status);
}

/* Key of each image: its rank, and the block of the rank's images that it is in. */
static void make_keys(struct layout *layout, uint64_t *keys)
{
    size_t block = layout->count / ((size_t)layout->nranks * BLOCKS);
    block = block < LEAST_PART ? LEAST_PART : block;
    memset(layout->held, 0, (size_t)layout->nranks * sizeof *layout->held);
    for (size_t i = 0; i < layout->count; i++) {
        uint32_t rank = layout->owner[i];
        keys[i] = (uint64_t)rank << 32 | (uint64_t)layout->held[rank] / block;
        layout->held[rank]++;
    }
}

/* A plan for the keys, by the planner that --balance names. */
static dml_status make_plan(struct job *job, const struct layout *layout,
                            const char *name, const dml_keys *keys, dml_plan **plan)
{
    dml_sampler_opts opts;
    dml_sampler_opts_init(&opts);
    opts.rate = 1;
    dml_plan_opts plan_opts;
    dml_plan_opts_init(&plan_opts);
    plan_opts.capacities = layout->capacity;
    dml_sampler *sampler = NULL;
    dml_histogram *histogram = NULL;
    dml_planner planner;
    dml_status status = dml_planner_parse(job->ctx, name, &planner);
    if (status == DML_OK)
        status = dml_sampler_create(job->ctx, &opts, &sampler);
    if (status == DML_OK)
        status = dml_sampler_add(sampler, keys, NULL);
    if (status == DML_OK)
        status = dml_sampler_finish(sampler, &histogram);
    if (status == DML_OK)
        status = dml_plan_create(job->ctx, planner, (size_t)layout->nranks, histogram,
                                 &plan_opts, plan);
    dml_histogram_destroy(histogram);
    dml_sampler_destroy(sampler);
    return job_note(job, status);
}

static dml_status balance(struct job *job, const char *name, struct layout *layout)
{
    dml_plan *plan = NULL;
    uint64_t *numbers = malloc(layout->count * sizeof *numbers);
    uint32_t *parts = malloc(layout->count * sizeof *parts);
    const dml_keys keys = {.kind = DML_KEY_U64, .count = layout->count, .u64 = numbers};
    dml_status status = DML_OK;
    if (!numbers || !parts)
        status = job_fail(job, DML_ENOMEM, "out of memory");
    if (status == DML_OK) {
        make_keys(layout, numbers);
        status = make_plan(job, layout, name, &keys, &plan);
    }
    if (status == DML_OK)
        status = job_note(job, dml_plan_route(plan, &keys, NULL, 0, parts));
    for (size_t i = 0; i < layout->count && status == DML_OK; i++) {
        layout->moved += parts[i] != layout->owner[i];
        layout->owner[i] = parts[i];
    }
    dml_plan_destroy(plan);
    free(parts);
    free(numbers);
    return status;
}

/* ---- the layout ----------------------------------------------------------------- */

static dml_status fill(struct job *job, const struct cnn_options *options,
                       const struct dataset *set, struct layout *layout)
{
    enum kind kind = EVEN;
    double skew = 1;
    uint64_t seed = (uint64_t)options->seed;
    (void)parse_kind(options->layout, &kind, &skew);
    if (options->capacity &&
        !parse_capacity(options->capacity, job->nranks, layout->capacity))
        return job_fail(job, DML_EINVAL,
                        "--capacity needs %d numbers above 0, one for each rank, such "
                        "as 1,0.5, not \"%.40s\"",
                        job->nranks, options->capacity);
    cut_evenly(layout);
    if (kind == SIZE_SKEW)
        CNN_TRY(skew_sizes(job, seed, skew, layout));
    if (kind == CLASS_SKEW)
        skew_classes(job, set->train, seed, skew, layout);
    CNN_TRY(judge(job, layout, &layout->imbalance_before));
    if (is_balanced(options))
        CNN_TRY(balance(job, options->balance, layout));
    CNN_TRY(judge(job, layout, &layout->imbalance_after));
    for (int r = 0; r < layout->nranks; r++)
        if (layout->held[r] == 0)
            return job_fail(job, DML_EINVAL,
                            "rank %d would hold no images: take fewer ranks, %s", r,
                            is_balanced(options)
                                ? "or give it more of --capacity"
                                : "a smaller exponent in --layout, or --balance ksrp");
    return DML_OK;
}

dml_status layout_create(struct job *job, const struct cnn_options *options,
                         const struct dataset *set, struct layout *layout)
{
    *layout = (struct layout){.count = set->info.count,
                              .nranks = job->nranks,
                              .imbalance_before = 1,
                              .imbalance_after = 1};
    if (strcmp(options->layout, "even") == 0 && !is_balanced(options))
        return DML_OK;
    layout->owner = calloc(layout->count, sizeof *layout->owner);
    layout->capacity = calloc((size_t)layout->nranks, sizeof *layout->capacity);
    layout->held = calloc((size_t)layout->nranks, sizeof *layout->held);
    if (!layout->owner || !layout->capacity || !layout->held)
        return job_fail(job, DML_ENOMEM, "out of memory");
    for (int r = 0; r < layout->nranks; r++)
        layout->capacity[r] = 1;
    return fill(job, options, set, layout);
}

void layout_destroy(struct layout *layout)
{
    free(layout->held);
    free(layout->capacity);
    free(layout->owner);
    *layout = (struct layout){0};
}

json_t *layout_report(const struct layout *layout, const struct cnn_options *options)
{
    return json_pack("{s:s, s:s, s:s, s:f, s:f, s:I}", "layout", options->layout,
                     "balance", options->balance, "uneven", options->uneven,
                     "imbalance_before", layout->imbalance_before, "imbalance_after",
                     layout->imbalance_after, "images_moved",
                     (json_int_t)layout->moved);
}
