/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sweeps over all tensors: which thread works on which blocks, and how a run of a
 * tensor comes before a rule.
 *
 * Blocks are counted from the start of a tensor as a whole, and each has its own sum of
 * squares: no result depends on who added what up. A thread takes the blocks that are
 * its part by number.
 */
#include "optim/optim_internal.h"

/* Blocks that are worth waking a thread for. */
enum { BLOCKS_PER_THREAD = 64 };

/* False if something in it is not finite. first_sum: number of the run's first block.
 */
typedef bool sweep_fn(dml_optim *optim, struct dml__optim_run *run, size_t first_sum);

struct sweep {
    dml_optim *optim;
    sweep_fn *work;
    bool reads_grads, writes_params;
    size_t nparts;
};

bool dml__optim_sums_grads(const dml_optim *optim)
{
    const dml_optim_opts *opts = &optim->opts;
    return optim->rule->norms == DML__NORMS_GRAD || opts->clip_norm > 0 ||
           opts->loss_scale > 0 || opts->finite == DML_FINITE_FIRST;
}

size_t dml__optim_grad_width(const dml_optim *optim)
{
    return optim->rule->norms == DML__NORMS_GRAD ? 2 : 1;
}

static const char *grad_at(const dml_param *p, size_t begin)
{
    return (const char *)p->grad + begin * dml_dtype_bytes(p->grad_dtype);
}

/* The gradient as rules see it: where it lies, or in scratch if it must be widened,
 * scaled or clipped. */
static const float *gradient(const dml_optim *optim, const dml_param *p, size_t begin,
                             size_t n, float *scratch)
{
    const double scale = optim->now.grad_scale, limit = optim->opts.clip_value;
    const char *from = grad_at(p, begin);
    if (p->grad_dtype == DML_F32 && scale == 1 && limit == 0)
        return (const float *)(const void *)from;
    optim->kernels->load_scaled[p->grad_dtype](scratch, from, NULL, n, scale);
    if (limit > 0)
        optim->kernels->clip_f32(n, (float)limit, scratch);
    return scratch;
}

static bool visit(const struct sweep *sweep, const struct dml__optim_tensor *tensor,
                  size_t begin, size_t n, size_t first_sum)
{
    dml_optim *optim = sweep->optim;
    const dml_param *p = &tensor->param;
    float scratch[DML__OPTIM_RUN];
    struct dml__optim_run run = {.tensor = tensor, .n = n, .at = p->first + begin};
    run.w = (tensor->master != NULL ? tensor->master : (float *)p->param) + begin;
    for (size_t k = 0; k < optim->nslots; k++)
        run.slot[k] = tensor->slot[k] + begin;
    if (sweep->reads_grads)
        run.g = gradient(optim, p, begin, n, scratch);
    bool finite = sweep->work(optim, &run, first_sum);
    if (sweep->writes_params && tensor->master != NULL) {
        char *to = (char *)p->param + begin * dml_dtype_bytes(p->dtype);
        optim->kernels->store_div[p->dtype](to, run.w, NULL, n, 1);
    }
    return finite;
}

/* The tensor that holds a block of the shards; empty ones hold none. */
static size_t tensor_of(const dml_optim *optim, size_t block)
{
    size_t low = 0, high = optim->nparams; /* first_work <= block < that of high */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (optim->tensors[middle].first_work <= block)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static void sweep_part(void *user, int index)
{
    enum { B = DML_OPTIM_BLOCK, RUN_BLOCKS = DML__OPTIM_RUN / B };
    const struct sweep *sweep = user;
    dml_optim *optim = sweep->optim;
    size_t i = (size_t)index;
    optim->faulty[i] = optim->nparams;
    if (i >= sweep->nparts)
        return;
    size_t share = optim->nwork / sweep->nparts, more = optim->nwork % sweep->nparts;
    size_t block = share * i + (i < more ? i : more);
    size_t end = block + share + (i < more);
    if (block == end)
        return;
    for (size_t t = tensor_of(optim, block); block < end; t++) {
        const struct dml__optim_tensor *tensor = &optim->tensors[t];
        const dml_param *p = &tensor->param;
        size_t last = p->first + p->count; /* in the whole tensor, as at and stop */
        size_t number = p->first / B + (block - tensor->first_work);
        while (block < end && p->count > 0 && number * B < last) {
            size_t blocks = end - block < RUN_BLOCKS ? end - block : RUN_BLOCKS;
            size_t at = number * B > p->first ? number * B : p->first;
            size_t stop = (number + blocks) * B < last ? (number + blocks) * B : last;
            if (!visit(sweep, tensor, at - p->first, stop - at,
                       tensor->first_sum + number) &&
                optim->faulty[i] > t)
                optim->faulty[i] = t;
            blocks = (stop - 1) / B + 1 - number;
            block += blocks;
            number += blocks;
        }
    }
}

static size_t run_sweep(struct sweep *sweep)
{
    dml_optim *optim = sweep->optim;
    size_t worth = optim->nwork / BLOCKS_PER_THREAD, first = optim->nparams;
    size_t threads = (size_t)optim->opts.threads;
    sweep->nparts = worth < 1 ? 1 : worth < threads ? worth : threads;
    if (sweep->nparts > 1)
        dml__team_run(optim->team, sweep_part, sweep);
    else
        sweep_part(sweep, 0);
    for (size_t i = 0; i < sweep->nparts; i++)
        if (optim->faulty[i] < first)
            first = optim->faulty[i];
    return first;
}

/* Sums of squares of x block by block, into each width-th place of sums. */
static void sum_blocks(const dml_optim *optim, const struct dml__optim_run *run,
                       const float *x, double *sums, size_t width)
{
    size_t at = 0, n = DML_OPTIM_BLOCK - run->at % DML_OPTIM_BLOCK;
    for (; at < run->n; at += n, n = DML_OPTIM_BLOCK, sums += width)
        *sums = optim->kernels->sumsq_f32(n < run->n - at ? n : run->n - at, x + at);
}

static bool sum_grads(dml_optim *optim, struct dml__optim_run *run, size_t first_sum)
{
    size_t width = dml__optim_grad_width(optim);
    double *sums = optim->sums + first_sum * width;
    sum_blocks(optim, run, run->g, sums, width);
    if (width == 2)
        sum_blocks(optim, run, run->w, sums + 1, width);
    return true; /* the sums tell */
}

static bool make_moments(dml_optim *optim, struct dml__optim_run *run, size_t first_sum)
{
    float step[DML__OPTIM_RUN];
    double *sums = optim->sums + first_sum * 2;
    optim->rule->moments(optim->kernels, &optim->opts, &optim->now, run, step);
    sum_blocks(optim, run, step, sums, 2);
    sum_blocks(optim, run, run->w, sums + 1, 2);
    return true;
}

static bool update(dml_optim *optim, struct dml__optim_run *run, size_t first_sum)
{
    (void)first_sum;
    optim->rule->update(optim->kernels, &optim->opts, &optim->now, run);
    return true;
}

/* For rules that have no sums to tell: a run that is not finite is left as it was. */
static bool check_and_update(dml_optim *optim, struct dml__optim_run *run,
                             size_t first_sum)
{
    return optim->kernels->finite_f32(run->n, run->g) && update(optim, run, first_sum);
}

void dml__optim_sweep_grads(dml_optim *optim)
{
    run_sweep(&(struct sweep){.optim = optim, .work = sum_grads, .reads_grads = true});
}

void dml__optim_sweep_moments(dml_optim *optim)
{
    run_sweep(
        &(struct sweep){.optim = optim, .work = make_moments, .reads_grads = true});
}

size_t dml__optim_sweep_update(dml_optim *optim)
{
    bool checks = optim->opts.finite == DML_FINITE_RIDE &&
                  optim->rule->norms == DML__NORMS_NONE &&
                  !dml__optim_sums_grads(optim);
    return run_sweep(&(struct sweep){
        .optim = optim,
        .work = checks ? check_and_update : update,
        .reads_grads = optim->rule->norms != DML__NORMS_STEP,
        .writes_params = true,
    });
}
