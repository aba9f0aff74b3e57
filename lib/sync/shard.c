/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sharded training: what is registered, checked and compared over the ranks, and the
 * optimizer of this rank's pieces.
 *
 * Source: Rajbhandari et al., ZeRO, SC 2020, section 5.
 */
#include "sync/shard.h"

#include "collectives/collectives.h"
#include "comm/comm.h"
#include "optim/sums.h"
#include "sync/device.h"
#include "sync/reducer.h"

#include <math.h>
#include <string.h>

static const char *const create_name = "dml_sharded_create";

/* Cuts of a cache line where a rule needs no norms; see dml_optim_norms(). */
enum { FINE_GRAIN = 16 };

void dml_sharded_opts_init(dml_sharded_opts *opts)
{
    *opts = (dml_sharded_opts){
        .size = sizeof *opts,
        .bucket_bytes = (size_t)4 << 20,
        .first_bucket_bytes = (size_t)256 << 10,
    };
}

/* ---- checks ------------------------------------------------------------------------
 */

static bool is_float(dml_dtype dtype)
{
    return dtype == DML_F32 || dtype == DML_F16 || dtype == DML_BF16;
}

/* What the plan builds on; options are the optimizer's to check. */
static dml_status check(const dml_param *params, size_t n, const dml_sharded_opts *opts,
                        dml_ctx *ctx)
{
    size_t total = 0;
    if (params == NULL && n > 0)
        return dml__fail(ctx, DML_EINVAL, create_name, "params is NULL");
    DML_TRY(dml__check_size(ctx, create_name, opts->size, sizeof *opts,
                            "dml_sharded_opts_init"));
    if (opts->bucket_bytes == 0)
        return dml__fail(ctx, DML_EINVAL, create_name,
                         "bucket_bytes is 0; use 1 or more");
    for (size_t i = 0; i < n; i++) {
        const dml_param *p = &params[i];
        const char *name = p->name != NULL ? p->name : "no name";
        if (p->first != 0 || (p->whole != 0 && p->whole != p->count))
            return dml__fail(ctx, DML_EINVAL, create_name,
                             "params[%zu] (%s) is a part of a tensor; register whole "
                             "ones, they are cut here",
                             i, name);
        if (!is_float(p->dtype) || !is_float(p->grad_dtype))
            return dml__fail(
                ctx, DML_EINVAL, create_name,
                "params[%zu] (%s): parameters are %s and gradients %s; use "
                "f32, f16 or bf16",
                i, name, dml_dtype_name(p->dtype), dml_dtype_name(p->grad_dtype));
        if (p->count > 0 && (p->param == NULL || p->grad == NULL))
            return dml__fail(ctx, DML_EINVAL, create_name,
                             "params[%zu] (%s) has no memory for its %s", i, name,
                             p->param == NULL ? "values" : "gradient");
        if (p->count > PTRDIFF_MAX / 8 - total)
            return dml__fail(ctx, DML_EINVAL, create_name,
                             "params[%zu] (%s): count %zu is beyond memory", i, name,
                             p->count);
        total += p->count;
    }
    return DML_OK;
}

/* Do the tensors lie on a device? All do, or none. */
static dml_status find_place(const dml_param *params, size_t n, dml_ctx *ctx, bool *on)
{
    size_t first = n;
    *on = false;
    for (size_t i = 0; i < n; i++) {
        bool param = false, grad = false;
        if (params[i].count == 0)
            continue;
        DML_TRY(dml__sync_holds(ctx, params[i].param, &param));
        DML_TRY(dml__sync_holds(ctx, params[i].grad, &grad));
        first = first < n ? first : i;
        *on = first < i ? *on : param;
        if (param != grad || param != *on)
            return dml__fail(
                ctx, DML_EINVAL, create_name,
                "params[%zu] and its gradient, and params[%zu], do not all "
                "lie on the device, or all on the host; put them on one",
                i, first);
    }
    return DML_OK;
}

/* Of all that must be equal but counts and types, which are compared singly. */
static uint64_t fingerprint(dml_optim_rule rule, const dml_optim_opts *o,
                            const dml_sharded_opts *opts, const dml_param *params,
                            size_t n, bool on_device)
{
    const double numbers[] = {
        rule,
        on_device,
        o->momentum,
        o->nesterov,
        o->weight_decay,
        o->velocity,
        o->momentum_correction,
        o->beta1,
        o->beta2,
        o->eps,
        o->bias_correction,
        o->trust,
        o->trust_max,
        o->clip_norm,
        o->clip_value,
        o->loss_scale,
        (double)o->loss_scale_window,
        o->finite,
        (double)opts->bucket_bytes,
        (double)opts->first_bucket_bytes,
    };
    uint64_t hash = dml__hash(1, numbers, sizeof numbers);
    for (size_t i = 0; i < n; i++) {
        const double kind[] = {params[i].flags, params[i].grad_dtype};
        hash = dml__hash(hash, kind, sizeof kind);
    }
    return hash;
}

/* The ranks mean the same: else one error on all. Collective. */
static dml_status compare(const dml_param *params, size_t n, uint64_t hash,
                          dml_comm *comm)
{
    dml_ctx *ctx = dml_comm_ctx(comm);
    dml_tensor *tensors = dml__alloc(ctx, dml__mul(n, sizeof *tensors));
    double missing = tensors == NULL;
    dml_status status = dml__comm_max(comm, &missing, 1);
    if (status == DML_OK && missing > 0)
        status =
            dml__fail(ctx, DML_ENOMEM, create_name, "no memory to compare tensors");
    if (status == DML_OK) {
        for (size_t i = 0; i < n; i++)
            tensors[i] = (dml_tensor){params[i].param, params[i].count, params[i].dtype,
                                      params[i].name};
        status = dml__verify_tensors(tensors, n, comm, create_name);
    }
    dml__free(tensors);
    bool same = false;
    if (status == DML_OK)
        status = dml__same_everywhere(comm, hash, &same);
    if (status == DML_OK && !same)
        status = dml__fail(ctx, DML_EMISMATCH, create_name,
                           "rule, options, flags or gradient type of a tensor, or "
                           "the side it lies on, are not the same on all ranks; make "
                           "them equal");
    return status;
}

/* ---- making ------------------------------------------------------------------------
 */

static dml_sharded *make(const dml_param *params, size_t n,
                         const dml_sharded_opts *opts, dml_comm *comm)
{
    dml_ctx *ctx = dml_comm_ctx(comm);
    dml_sharded *s = dml__alloc(ctx, sizeof *s);
    if (s == NULL)
        return NULL;
    s->comm = comm;
    s->opts = *opts;
    s->n = n;
    s->params = dml__alloc(ctx, dml__mul(n, sizeof *s->params));
    s->order = dml__alloc(ctx, dml__mul(n, sizeof *s->order));
    s->slots = dml__alloc(ctx, dml__mul(n, sizeof *s->slots));
    if (s->params == NULL || s->order == NULL || s->slots == NULL) {
        dml_sharded_destroy(s);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        s->params[i] = params[i];
        s->stats.param_bytes += params[i].count * dml_dtype_bytes(params[i].dtype);
        s->stats.grad_bytes += params[i].count * dml_dtype_bytes(params[i].grad_dtype);
    }
    return s;
}

/* The optimizer of this rank's pieces: all tensors are in its list, with no elements
 * where the piece is empty, so that all ranks' sums are alike. */
static dml_status make_optim(dml_sharded *s, dml_optim_rule rule,
                             const dml_optim_opts *opts)
{
    dml_ctx *ctx = dml_comm_ctx(s->comm);
    dml_param *pieces = dml__alloc(ctx, dml__mul(s->n, sizeof *pieces));
    if (pieces == NULL)
        return dml__fail(ctx, DML_ENOMEM, create_name, "no memory for %zu pieces",
                         s->n);
    for (size_t i = 0; i < s->n; i++) {
        const struct dml__shard_slot *slot = &s->slots[i];
        const struct dml__shard_bucket *b = &s->buckets[slot->bucket];
        dml_param *p = &pieces[i];
        *p = s->params[i];
        p->whole = p->count;
        dml__shard_piece(s, i, dml_comm_rank(s->comm), &p->first, &p->count);
        if (p->count == 0)
            continue;
        p->param = (char *)p->param + p->first * dml_dtype_bytes(p->dtype);
        p->grad = b->part_grads +
                  (slot->start + p->first - b->begin) * dml_dtype_bytes(p->grad_dtype);
    }
    dml_status status = dml_optim_create(ctx, rule, pieces, s->n, opts, &s->optim);
    dml__free(pieces);
    return status;
}

/* What all ranks hold together: every slot of every tensor. */
static void count_state(dml_sharded *s)
{
    bool masters = false;
    for (size_t i = 0; i < s->n; i++)
        masters |= s->params[i].dtype != DML_F32;
    size_t nslots = dml_optim_nslots(s->optim) - masters;
    for (size_t i = 0; i < s->n; i++)
        s->stats.whole_state_bytes +=
            s->params[i].count * (nslots + (s->params[i].dtype != DML_F32)) * 4;
    s->stats.state_bytes = dml_optim_state_bytes(s->optim);
}

/* The first errors of one rank become errors of all. Collective. */
static dml_status agree(dml_status mine, dml_comm *comm)
{
    double refused = mine != DML_OK;
    DML_TRY(dml__comm_max(comm, &refused, 1));
    if (mine == DML_OK && refused > 0)
        return dml__fail(dml_comm_ctx(comm), DML_EMISMATCH, create_name,
                         "another rank failed; see its error");
    return mine;
}

static dml_status measure(const dml_sharded *s, dml_coll coll)
{
    return s->device != NULL ? dml__coll_measure_device(s->comm, coll)
                             : dml__coll_measure(s->comm, coll);
}

static dml_status build(dml_sharded *s, dml_optim_rule rule, const dml_optim_opts *opts)
{
    DML_TRY(dml__shard_plan(s, create_name));
    dml_status made = make_optim(s, rule, opts);
    if (made == DML_OK && s->device != NULL)
        made = dml_optim_set_stream(s->optim, dml__sync_device_stream(s->device));
    DML_TRY(agree(made, s->comm));
    count_state(s);
    dml__comm_enter(s->comm);
    dml_status status = measure(s, DML_COLL_REDUCE_SCATTER);
    if (status == DML_OK)
        status = measure(s, DML_COLL_ALLGATHER);
    dml__comm_leave(s->comm);
    return status;
}

/* The caller's options, or the defaults, as an optimizer of shards must have them. */
static dml_optim_opts optim_opts(dml_optim_rule rule, const dml_optim_opts *user,
                                 int rank)
{
    dml_optim_opts opts;
    dml_optim_opts_init(&opts, rule);
    if (user != NULL)
        opts = *user;
    if (opts.finite == DML_FINITE_RIDE && rule != DML_OPTIM_LARS)
        opts.finite = DML_FINITE_FIRST;
    opts.rank = rank;
    return opts;
}

/* Does a rule's arithmetic depend on sums of squares? */
static bool needs_norms(dml_optim_rule rule, const dml_optim_opts *opts)
{
    return rule == DML_OPTIM_LARS || rule == DML_OPTIM_LAMB || opts->clip_norm > 0;
}

dml_status dml_sharded_create(dml_optim_rule rule, const dml_param *params, size_t n,
                              const dml_optim_opts *user_optim,
                              const dml_sharded_opts *user_opts, dml_comm *comm,
                              dml_sharded **out)
{
    if (comm == NULL)
        return DML_EINVAL;
    dml_ctx *ctx = dml_comm_ctx(comm);
    if (out == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "sharded is NULL");
    dml_sharded_opts opts;
    dml_sharded_opts_init(&opts);
    if (user_opts != NULL)
        opts = *user_opts;
    dml_optim_opts optim = optim_opts(rule, user_optim, dml_comm_rank(comm));
    bool on_device = false;
    dml_status checked = check(params, n, &opts, ctx);
    if (checked == DML_OK)
        checked = find_place(params, n, ctx, &on_device);
    DML_TRY(agree(checked, comm));
    if (on_device)
        optim.rank = -1; /* it finds what is in the sums, not whose it is */
    DML_TRY(compare(params, n, fingerprint(rule, &optim, &opts, params, n, on_device),
                    comm));
    dml_sharded *s = make(params, n, &opts, comm);
    dml_status status = agree(s != NULL ? DML_OK
                                        : dml__fail(ctx, DML_ENOMEM, __func__,
                                                    "no memory for %zu parameters", n),
                              comm);
    if (status == DML_OK && on_device)
        status = dml__sync_device_open(comm, &s->device);
    if (status == DML_OK) {
        s->grain = needs_norms(rule, &optim) ? DML_OPTIM_BLOCK : FINE_GRAIN;
        status = build(s, rule, &optim);
    }
    if (status != DML_OK) {
        dml_sharded_destroy(s);
        return status;
    }
    *out = s;
    return DML_OK;
}

void dml_sharded_destroy(dml_sharded *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->nbuckets; i++) {
        (void)dml_wait(&s->buckets[i].scatter);
        (void)dml_wait(&s->buckets[i].gather);
        dml__sync_device_unmark(s->device, s->buckets[i].gathered);
    }
    if (s->optim != NULL)
        dml__comm_release(s->comm, dml__optim_take_sums(s->optim));
    dml_optim_destroy(s->optim);
    dml__shard_plan_free(s);
    dml__sync_device_close(s->device);
    dml__free(s->slots);
    dml__free(s->order);
    dml__free(s->params);
    dml__free(s);
}
