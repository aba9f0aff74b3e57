/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sweeps over all tensors: which thread works on which blocks, and how a block
 * comes before a rule.
 *
 * Blocks are counted from the start of a tensor as a whole, and each has its own sum of
 * squares: no result depends on who added what up. A thread takes the blocks that are
 * its part by number.
 */
#include "optim/optimizer.h"

/* Blocks that are worth waking a thread for. */
enum { BLOCKS_PER_THREAD = 64 };

/* What a sweep does to a block; number: of the block's sums. False if something in it
 * is not finite. */
typedef bool sweep_fn(dml_optim *optim, const struct dml__optim_part *part,
                      size_t number);

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
                  size_t begin, size_t n, size_t number)
{
    dml_optim *optim = sweep->optim;
    const dml_param *p = &tensor->param;
    float scratch[DML_OPTIM_BLOCK];
    struct dml__optim_part part = {.tensor = tensor, .n = n};
    part.w = (tensor->master != NULL ? tensor->master : (float *)p->param) + begin;
    for (size_t k = 0; k < optim->nslots; k++)
        part.slot[k] = tensor->slot[k] + begin;
    if (sweep->reads_grads)
        part.g = gradient(optim, p, begin, n, scratch);
    bool finite = sweep->work(optim, &part, number);
    if (sweep->writes_params && tensor->master != NULL) {
        char *to = (char *)p->param + begin * dml_dtype_bytes(p->dtype);
        optim->kernels->store_div[p->dtype](to, part.w, NULL, n, 1);
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

/* The blocks of tensor t from the one that is number "block" of the shards on, but not
 * beyond "end"; returns the number after the last. */
static size_t sweep_tensor(const struct sweep *sweep, size_t t, size_t block,
                           size_t end, size_t *faulty)
{
    enum { B = DML_OPTIM_BLOCK };
    const struct dml__optim_tensor *tensor = &sweep->optim->tensors[t];
    const dml_param *p = &tensor->param;
    const size_t last = p->first + p->count; /* in the whole tensor, as at and stop */
    size_t number = p->first / B + (block - tensor->first_work);
    for (; block < end && p->count > 0 && number * B < last; block++, number++) {
        size_t at = number * B > p->first ? number * B : p->first;
        size_t stop = last - number * B > B ? (number + 1) * B : last;
        if (!visit(sweep, tensor, at - p->first, stop - at,
                   tensor->first_sum + number) &&
            *faulty > t)
            *faulty = t;
    }
    return block;
}

/* Part "index" of the blocks of all shards. */
static void sweep_share(void *user, int index)
{
    const struct sweep *sweep = user;
    dml_optim *optim = sweep->optim;
    size_t i = (size_t)index, nparts = sweep->nparts;
    optim->faulty[i] = optim->nparams;
    if (i >= nparts)
        return;
    size_t share = optim->nwork / nparts, more = optim->nwork % nparts;
    size_t block = share * i + (i < more ? i : more);
    size_t end = block + share + (i < more);
    if (block == end)
        return;
    for (size_t t = tensor_of(optim, block); block < end; t++)
        block = sweep_tensor(sweep, t, block, end, &optim->faulty[i]);
}

static size_t run_sweep(struct sweep *sweep)
{
    dml_optim *optim = sweep->optim;
    size_t worth = optim->nwork / BLOCKS_PER_THREAD, first = optim->nparams;
    size_t threads = (size_t)optim->opts.threads;
    sweep->nparts = worth < 1 ? 1 : worth < threads ? worth : threads;
    if (sweep->nparts > 1)
        dml__team_run(optim->team, sweep_share, sweep);
    else
        sweep_share(sweep, 0);
    for (size_t i = 0; i < sweep->nparts; i++)
        if (optim->faulty[i] < first)
            first = optim->faulty[i];
    return first;
}

static bool sum_grads(dml_optim *optim, const struct dml__optim_part *part,
                      size_t number)
{
    double *sums = optim->sums + number * dml__optim_grad_width(optim);
    if (dml__optim_grad_width(optim) == 2)
        optim->kernels->two_sumsq_f32(part->n, part->g, part->w, sums);
    else
        *sums = optim->kernels->sumsq_f32(part->n, part->g);
    return true; /* the sums tell */
}

static bool make_moments(dml_optim *optim, const struct dml__optim_part *part,
                         size_t number)
{
    double *sums = optim->sums + number * 2;
    optim->rule->moments(optim->kernels, &optim->opts, &optim->now, part, sums);
    return true;
}

static bool update(dml_optim *optim, const struct dml__optim_part *part, size_t number)
{
    (void)number;
    optim->rule->update(optim->kernels, &optim->opts, &optim->now, part);
    return true;
}

/* For rules that have no sums to tell: a block that is not finite is left as it was. */
static bool check_and_update(dml_optim *optim, const struct dml__optim_part *part,
                             size_t number)
{
    return optim->kernels->finite_f32(part->n, part->g) && update(optim, part, number);
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
