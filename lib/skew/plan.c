/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Plans: the table of planners, what is the same for all of them, and inspection.
 */
#include "skew/plan.h"

#include <float.h>

enum { MIN_SAMPLES = 8 };

static const struct {
    const char *name;
    bool ordered;
} planners[DML_NPLANNERS] = {
#define ROW(NAME, number, name, ordered, splits, text) {name, ordered},
    DML_PLANNER_MAP(ROW)
#undef ROW
};

bool dml__planner_ordered(dml_planner planner)
{
    return planners[planner].ordered;
}

static bool make(dml_planner planner, struct dml__planning *planning)
{
    switch (planner) {
    case DML_PLAN_HASH:
        return dml__plan_hash(planning);
    case DML_PLAN_RANGE:
        return dml__plan_range(planning);
    case DML_PLAN_SCID:
        return dml__plan_scid(planning);
    case DML_PLAN_LIBRA:
        return dml__plan_libra(planning);
    case DML_PLAN_KRHP:
        return dml__plan_krhp(planning);
    case DML_PLAN_KSRP:
    default:
        return dml__plan_ksrp(planning);
    }
}

void dml_plan_opts_init(dml_plan_opts *opts)
{
    *opts = (dml_plan_opts){.size = sizeof *opts, .min_samples = MIN_SAMPLES};
}

const char *dml_planner_name(dml_planner planner)
{
    return (unsigned)planner < DML_NPLANNERS ? planners[planner].name : NULL;
}

dml_status dml_planner_parse(dml_ctx *ctx, const char *name, dml_planner *planner)
{
    if (planner == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "the result is NULL");
    for (int i = 0; name != NULL && i < DML_NPLANNERS; i++) {
        if (strcmp(name, planners[i].name) == 0) {
            *planner = (dml_planner)i;
            return DML_OK;
        }
    }
#define NAME(NAME, number, name, ordered, splits, text) " " name
    return dml__fail(ctx, DML_EINVAL, __func__,
                     "\"%s\" is no planner; use one of" DML_PLANNER_MAP(NAME),
                     name == NULL ? "" : name);
#undef NAME
}

/* Shares below what a double holds in full would leave no ratio to tell. */
static dml_status check_shares(dml_ctx *ctx, const char *where,
                               const double *capacities, size_t parts)
{
    double most = 0;
    for (size_t j = 0; capacities != NULL && j < parts; j++)
        most = capacities[j] > most ? capacities[j] : most;
    for (size_t j = 0; capacities != NULL && j < parts; j++)
        if (capacities[j] / most < DBL_MIN * DML__MOST_PARTS)
            return dml__fail(ctx, DML_EINVAL, where,
                             "capacities[%zu] is %g, too small beside the largest, %g",
                             j, capacities[j], most);
    return DML_OK;
}

static dml_status check(dml_ctx *ctx, const char *where, dml_planner planner,
                        size_t parts, const dml_histogram *histogram,
                        const dml_plan_opts *opts)
{
    if ((unsigned)planner >= DML_NPLANNERS)
        return dml__fail(ctx, DML_EINVAL, where, "planner %d is unknown", (int)planner);
    if (parts == 0 || parts > DML__MOST_PARTS)
        return dml__fail(ctx, DML_EINVAL, where, "parts is %zu; use 1 to %d", parts,
                         DML__MOST_PARTS);
    if (histogram == NULL)
        return dml__fail(ctx, DML_EINVAL, where, "histogram is NULL");
    DML_TRY(
        dml__check_size(ctx, where, opts->size, sizeof *opts, "dml_plan_opts_init"));
    for (size_t j = 0; opts->capacities != NULL && j < parts; j++)
        if (!(opts->capacities[j] > 0 && opts->capacities[j] <= DBL_MAX))
            return dml__fail(ctx, DML_EINVAL, where,
                             "capacities[%zu] is %g; capacities are finite and above 0",
                             j, opts->capacities[j]);
    return check_shares(ctx, where, opts->capacities, parts);
}

static bool set_capacities(dml_plan *plan, const double *capacities)
{
    plan->loads = dml__alloc(plan->ctx, dml__mul(plan->parts, sizeof *plan->loads));
    plan->capacities =
        dml__alloc(plan->ctx, dml__mul(plan->parts, sizeof *plan->capacities));
    if (plan->loads == NULL || plan->capacities == NULL)
        return false;
    /* By the largest first: the sum of all could overflow. */
    double most = 0, sum = 0;
    for (size_t j = 0; j < plan->parts; j++) {
        plan->capacities[j] = capacities != NULL ? capacities[j] : 1;
        most = plan->capacities[j] > most ? plan->capacities[j] : most;
    }
    for (size_t j = 0; j < plan->parts; j++)
        sum += plan->capacities[j] /= most;
    for (size_t j = 0; j < plan->parts; j++)
        plan->capacities[j] /= sum;
    return true;
}

dml_status dml_plan_create(dml_ctx *ctx, dml_planner planner, size_t parts,
                           const dml_histogram *histogram, const dml_plan_opts *opts,
                           dml_plan **plan)
{
    if (plan == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "the result is NULL");
    dml_plan_opts own;
    dml_plan_opts_init(&own);
    if (opts == NULL)
        opts = &own;
    DML_TRY(check(ctx, __func__, planner, parts, histogram, opts));
    own = *opts;
    own.min_samples = opts->min_samples > 0 ? opts->min_samples : MIN_SAMPLES;
    dml_plan *p = dml__alloc(ctx, sizeof *p);
    if (p == NULL)
        return dml__fail(ctx, DML_ENOMEM, __func__, "no memory for a plan");
    p->ctx = ctx;
    p->planner = planner;
    p->kind = histogram->kind;
    p->parts = parts;
    p->hash_seed = histogram->hash_seed;
    p->weight = histogram->weight;
    struct dml__planning planning = {.plan = p, .histogram = histogram, .opts = &own};
    if (!set_capacities(p, opts->capacities) || !make(planner, &planning) ||
        !dml__plan_seal(p) || !dml__predict(&planning)) {
        dml_plan_destroy(p);
        return dml__fail(ctx, DML_ENOMEM, __func__,
                         "no memory for a plan of %zu keys and %zu parts",
                         histogram->count, parts);
    }
    *plan = p;
    return DML_OK;
}

void dml_plan_destroy(dml_plan *plan)
{
    if (plan == NULL)
        return;
    dml__free(plan->text);
    dml__free(plan->slots);
    dml__free(plan->pieces);
    dml__free(plan->exceptions);
    dml__free(plan->homes);
    dml__free(plan->behind);
    dml__free(plan->shares);
    dml__free(plan->heads);
    dml__free(plan->bounds);
    dml__free(plan->capacities);
    dml__free(plan->loads);
    dml__free(plan);
}

static size_t split_keys(const dml_plan *plan)
{
    size_t split = 0;
    for (size_t i = 0; i < plan->nexceptions; i++)
        split += plan->exceptions[i].count > 1;
    /* Several cuts through one key follow each other. */
    for (size_t j = 0; j < plan->nbounds; j++) {
        const struct dml__bound *bound = &plan->bounds[j];
        bool cut = bound->share > 0 && bound->share < 1;
        bool again =
            j > 0 && bound[-1].share > 0 && dml__key_equal(&bound[-1].key, &bound->key);
        split += cut && !again;
    }
    return split;
}

void dml_plan_get_info(const dml_plan *plan, dml_plan_info *info)
{
    if (info == NULL)
        return;
    if (plan == NULL) {
        *info = (dml_plan_info){0};
        return;
    }
    dml_balance balance = {0};
    dml_balance_of(plan->ctx, plan->loads, plan->capacities, plan->parts, &balance);
    *info = (dml_plan_info){
        .planner = plan->planner,
        .kind = plan->kind,
        .parts = plan->parts,
        .ordered = planners[plan->planner].ordered,
        .bounds = plan->nbounds,
        .table = plan->nexceptions,
        .split_keys = split_keys(plan),
        .weight = plan->weight,
        .imbalance = balance.imbalance,
        .cv = balance.cv,
        .pack_bytes = dml__plan_pack_bytes(plan),
    };
}

const double *dml_plan_loads(const dml_plan *plan)
{
    return plan != NULL ? plan->loads : NULL;
}

const double *dml_plan_capacities(const dml_plan *plan)
{
    return plan != NULL ? plan->capacities : NULL;
}
