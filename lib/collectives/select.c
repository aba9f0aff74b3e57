/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which algorithm runs: the one asked for (by dml_comm_set_algorithm, else by the
 * environment), or else the cheapest of those that can do the call. Costs are measured
 * once per communicator and collective (measure.c), before that a formula.
 */
#include "collectives/select.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Another algorithm must beat MPI's own by this factor to be preferred: measurements
 * are not exact, and MPI's own is what the user would have had. */
static const double clearly_better = 0.97;

static void destroy(struct dml__coll_state *state)
{
    dml__free(state);
}

/* Value of DML_<COLLECTIVE>, or NULL. */
static const char *env_choice(const dml_ctx *ctx, dml_coll coll)
{
    char name[32] = "";
    const char *lower = dml_coll_name(coll);
    for (size_t i = 0; lower[i] != '\0' && i + 1 < sizeof name; i++)
        name[i] = (char)toupper((unsigned char)lower[i]);
    const char *value = dml__ctx_env(ctx, name);
    return value != NULL && strcmp(value, "auto") != 0 ? value : NULL;
}

struct dml__coll_state *dml__coll_state(dml_comm *comm)
{
    struct dml__coll_state *state = dml__comm_coll_state(comm);
    if (state != NULL)
        return state;
    dml_ctx *ctx = dml_comm_ctx(comm);
    state = dml__alloc(ctx, sizeof *state);
    if (state == NULL)
        return NULL;
    const char *measure = dml__ctx_env(ctx, "MEASURE");
    bool off = measure != NULL && strcmp(measure, "0") == 0;
    for (int c = 0; c < DML_NCOLLS; c++) {
        state->forced[c] = env_choice(ctx, (dml_coll)c);
        state->forced_by[c] = "environment";
        state->settled[c] = off;
    }
    dml__comm_set_coll_state(comm, state, destroy);
    return state;
}

static dml_status unknown_algorithm(const dml_comm *comm, dml_coll coll,
                                    const char *name, const char *where)
{
    char list[160] = "auto";
    for (const struct dml__alg *const *a = dml__algs(coll); *a != NULL; a++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, ", %s", (*a)->name);
    }
    return dml__fail(dml_comm_ctx(comm), DML_EINVAL, where,
                     "%s has no algorithm \"%s\" (asked for by DML_<COLLECTIVE> or "
                     "dml_comm_set_algorithm); use %s",
                     dml_coll_name(coll), name, list);
}

dml_status dml_comm_set_algorithm(dml_comm *comm, dml_coll coll, const char *name)
{
    if (comm == NULL)
        return DML_EINVAL;
    if (name == NULL || (int)coll < 0 || (int)coll >= DML_NCOLLS)
        return dml__fail(dml_comm_ctx(comm), DML_EINVAL, __func__,
                         "collective %d is unknown, or the name is NULL", (int)coll);
    struct dml__coll_state *state = dml__coll_state(comm);
    if (state == NULL)
        return dml__fail(dml_comm_ctx(comm), DML_ENOMEM, __func__, "no memory");
    const struct dml__alg *alg = dml__alg_find(coll, name);
    bool automatic = strcmp(name, "auto") == 0;
    if (alg == NULL && !automatic)
        return unknown_algorithm(comm, coll, name, __func__);
    state->forced[coll] = automatic ? NULL : alg->name;
    state->forced_by[coll] = "dml_comm_set_algorithm";
    memset(state->cache, 0, sizeof state->cache);
    return DML_OK;
}

static bool is_float(dml_dtype t)
{
    return t == DML_F32 || t == DML_F64 || t == DML_F16 || t == DML_BF16;
}

const char *dml__refusal(const struct dml__alg *alg, const struct dml__call *call)
{
    if (!alg->rank_order && dml__reduces(call->coll) && is_float(call->dtype) &&
        dml__ctx_reproducible(dml_comm_ctx(call->comm)))
        return "reproducible mode adds floats in the order of the ranks only";
    return alg->supports != NULL ? alg->supports(call) : NULL;
}

static const struct dml__alg *forced(const struct dml__coll_state *state,
                                     const struct dml__call *call, dml_choice *why)
{
    const char *name = state->forced[call->coll];
    const struct dml__alg *alg = dml__alg_find(call->coll, name);
    if (alg == NULL) {
        unknown_algorithm(call->comm, call->coll, name, call->where);
        return NULL;
    }
    const char *reason = dml__refusal(alg, call);
    if (reason != NULL) {
        dml__fail(dml_comm_ctx(call->comm), DML_EUNSUPPORTED, call->where,
                  "algorithm %s cannot do this %s (%s %s): %s; use auto or another",
                  name, dml_coll_name(call->coll), dml_dtype_name(call->dtype),
                  dml_op_name(call->op), reason);
        return NULL;
    }
    if (why != NULL) {
        why->algorithm = alg->name;
        why->predicted_s = 0;
        snprintf(why->why, sizeof why->why, "forced by %s",
                 state->forced_by[call->coll]);
    }
    return alg;
}

/* The cheapest that can do the call, with each one's cost in "why". */
static const struct dml__alg *cheapest(const struct dml__coll_state *state,
                                       const struct dml__call *call, dml_choice *why)
{
    const struct dml__alg *best = NULL;
    double best_s = 0, bytes = (double)call->total * (double)call->elem_bytes;
    char *text = why->why;
    size_t room = sizeof why->why;
    size_t used = (size_t)snprintf(
        text, room,
        "%s:", dml__was_timed(state, call->coll) ? "measured" : "cost model");
    const struct dml__alg *const *algs = dml__algs(call->coll);
    for (size_t i = 0; algs[i] != NULL; i++) {
        if (dml__refusal(algs[i], call) != NULL)
            continue;
        double s = dml__predict_s(call->comm, call->coll, i, bytes);
        if (used < room)
            used += (size_t)snprintf(text + used, room - used, " %s %.3g us",
                                     algs[i]->name, 1e6 * s);
        /* MPI's own is the last of each list. */
        bool is_mpi = algs[i] == &dml__alg_mpi;
        if (best == NULL || s * (is_mpi ? clearly_better : 1) < best_s) {
            best = algs[i];
            best_s = s;
        }
    }
    why->algorithm = best->name; /* some algorithm can do any call */
    why->predicted_s = best_s;
    return best;
}

/*
 * Choices are kept for sizes a fifth apart: looking one up costs a few nanoseconds, a
 * comparison of costs a few hundred. Zero marks an empty entry.
 */
static uint64_t cache_key(const struct dml__call *call)
{
    uint64_t bytes = call->total * call->elem_bytes, shift = 0;
    while (bytes >> shift >= 8)
        shift++;
    uint64_t size = shift * 8 + (bytes >> shift);
    return 1 | (uint64_t)call->coll << 1 | (uint64_t)call->dtype << 5 |
           (uint64_t)((int)call->op < DML_NOPS ? (int)call->op : DML_NOPS) << 9 |
           size << 12 |
           /* What MPI's own can do depends on these too (native.c). */
           (uint64_t)(call->root != 0) << 63 | (uint64_t)call->in_place << 62;
}

const struct dml__alg *dml__select(const struct dml__call *call, bool may_measure,
                                   dml_choice *why)
{
    struct dml__coll_state *state = dml__coll_state(call->comm);
    if (state == NULL) {
        dml__fail(dml_comm_ctx(call->comm), DML_ENOMEM, call->where, "no memory");
        return NULL;
    }
    if (state->forced[call->coll] != NULL)
        return forced(state, call, why);
    if (dml_comm_size(call->comm) == 1) { /* any will do: nothing is sent */
        if (why != NULL) {
            *why = (dml_choice){.algorithm = dml__algs(call->coll)[0]->name};
            snprintf(why->why, sizeof why->why, "one rank: nothing to send");
        }
        return dml__algs(call->coll)[0];
    }
    bool cacheable = why == NULL && call->counts == NULL && call->total < INT32_MAX;
    uint64_t key = cache_key(call);
    struct dml__cached *entry = &state->cache[key * 0x9e3779b97f4a7c15u >> 56];
    if (cacheable && entry->key == key)
        return entry->alg;
    if (may_measure && !state->settled[call->coll]) {
        /* Not an error of this call: what could not be measured is estimated. */
        dml__coll_measure(call->comm, call->coll);
    }
    dml_choice found = {0};
    const struct dml__alg *alg = cheapest(state, call, why != NULL ? why : &found);
    if (cacheable && state->settled[call->coll]) {
        *entry = (struct dml__cached){key, alg};
        if (dml_comm_rank(call->comm) == 0)
            dml__log(dml_comm_ctx(call->comm), DML_LOG_INFO, "%s of %zu %s by %s: %s",
                     dml_coll_name(call->coll), call->total,
                     dml_dtype_name(call->dtype), found.algorithm, found.why);
    }
    return alg;
}
