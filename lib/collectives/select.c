/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which algorithm runs: the one asked for (by dml_comm_set_algorithm, else by the
 * environment), the one that the tuning table names, or else the cheapest of those that
 * can do the call. Costs are measured or formulas (tuned.c).
 */
#include "collectives/select.h"

#include "collectives/device.h"
#include "collectives/node_task.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Another algorithm must beat MPI's own by this factor to be preferred: measurements
 * are not exact, and MPI's own is what the user would have had. */
static const double clearly_better = 0.97;

static void destroy(struct dml__coll_state *state)
{
    dml__free(state->rules);
    dml__free(state);
}

/* ---- what was asked for ------------------------------------------------------------
 */

/* The algorithm of that name, of which "length" characters count. */
static const struct dml__alg *find(dml_coll coll, const char *name, size_t length)
{
    const struct dml__alg *const *algs = dml__algs(coll);
    while (*algs != NULL &&
           (strncmp((*algs)->name, name, length) != 0 || (*algs)->name[length] != '\0'))
        algs++;
    return *algs;
}

/* "ring", "ipc", or one for either kind of memory: "ring,ipc". What takes both kinds
 * does so where it stands alone. */
static struct dml__forced parse(dml_coll coll, const char *names, const char *by)
{
    struct dml__forced f = {.by = by};
    const char *name = names;
    if (strcmp(names, "auto") == 0)
        return f;
    for (int i = 0; i < 2; i++) {
        const size_t length = strcspn(name, ",");
        const struct dml__alg *alg = find(coll, name, length);
        const bool on_device = alg != NULL && alg->path != DML__ON_HOST;
        if (alg == NULL || f.alg[on_device] != NULL)
            break;
        f.alg[on_device] = alg;
        name += length;
        if (*name == '\0') {
            if (i == 0 && alg->path == DML__BY_HOST)
                f.alg[false] = alg;
            return f;
        }
        name++;
    }
    return (struct dml__forced){.by = by, .wrong = names};
}

bool dml__is_forced(const struct dml__coll_state *state, dml_coll coll, bool on_device)
{
    const struct dml__forced *f = &state->forced[coll];
    return f->wrong != NULL || f->alg[on_device] != NULL;
}

/* Value of DML_<COLLECTIVE>. */
static const char *env_choice(const dml_ctx *ctx, dml_coll coll)
{
    char name[32] = "";
    const char *lower = dml_coll_name(coll);
    for (size_t i = 0; lower[i] != '\0' && i + 1 < sizeof name; i++)
        name[i] = (char)toupper((unsigned char)lower[i]);
    const char *value = dml__ctx_env(ctx, name);
    return value != NULL ? value : "auto";
}

struct dml__coll_state *dml__coll_state(dml_comm *comm)
{
    struct dml__coll_state *state = dml__comm_coll_state(comm);
    if (state != NULL)
        return state;
    dml_ctx *ctx = dml_comm_ctx(comm);
    state = dml__alloc(ctx, sizeof *state);
    if (state == NULL) {
        dml__fail(ctx, DML_ENOMEM, "dml_comm", "no memory for the choices");
        return NULL;
    }
    const char *measure = dml__ctx_env(ctx, "MEASURE"), *name;
    const char *table = dml__comm_tuning(comm, &name);
    bool off = measure != NULL && strcmp(measure, "0") == 0;
    for (int c = 0; c < DML_NCOLLS; c++) {
        state->forced[c] =
            parse((dml_coll)c, env_choice(ctx, (dml_coll)c), "environment");
        state->tuned.settled[0][c] = state->tuned.settled[1][c] = off;
        state->tuned.settled_shared[c] = off;
    }
    if (table != NULL &&
        dml__table_parse(ctx, name, table, &state->rules, &state->nrules) < 0) {
        destroy(state);
        return NULL;
    }
    dml__comm_set_coll_state(comm, state, destroy);
    return state;
}

static dml_status unknown_algorithm(const dml_comm *comm, dml_coll coll,
                                    const char *name, const char *where)
{
    char list[300] = "auto";
    for (const struct dml__alg *const *a = dml__algs(coll); *a != NULL; a++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, ", %s", (*a)->name);
    }
    return dml__fail(dml_comm_ctx(comm), DML_EINVAL, where,
                     "%s has no algorithm \"%s\" (see DML_<COLLECTIVE>, "
                     "dml_comm_set_algorithm); use %s, or one for the host's memory "
                     "and one for a device's (\"ring,ipc\")",
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
        return dml__last_status(comm);
    const struct dml__forced forced = parse(coll, name, "dml_comm_set_algorithm");
    if (forced.wrong != NULL)
        return unknown_algorithm(comm, coll, name, __func__);
    state->forced[coll] = forced;
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
    if (call->on_device && alg->path == DML__ON_HOST)
        return "a buffer is device memory";
    return alg->supports != NULL ? alg->supports(call) : NULL;
}

/* Is an algorithm for the kind of memory that the call has? One for devices takes both
 * only where it is asked for. */
static bool for_memory(const struct dml__alg *alg, const struct dml__call *call)
{
    return (alg->path != DML__ON_HOST) == call->on_device;
}

/* What was asked for such a call, if anything. Paths for devices say nothing before
 * there is one: a program's first calls may come earlier. */
static const struct dml__alg *asked(const struct dml__forced *f,
                                    const struct dml__call *call)
{
    const struct dml__alg *alg = f->alg[call->on_device];
    const bool path = alg != NULL && alg->path != DML__ON_HOST;
    return path && !dml__device_in_use(call->comm) ? NULL : alg;
}

static const struct dml__alg *forced(struct dml__forced *f, const struct dml__alg *alg,
                                     const struct dml__call *call, dml_choice *why)
{
    const char *reason = dml__refusal(alg, call);
    if (reason != NULL) {
        dml__fail(dml_comm_ctx(call->comm), DML_EUNSUPPORTED, call->where,
                  "algorithm %s cannot do this %s (%s %s): %s; use auto or another",
                  alg->name, dml_coll_name(call->coll), dml_dtype_name(call->dtype),
                  dml_op_name(call->op), reason);
        return NULL;
    }
    if (!f->told[call->on_device] && dml_comm_rank(call->comm) == 0)
        dml__log(dml_comm_ctx(call->comm), DML_LOG_INFO, "%s by %s: forced by %s",
                 dml_coll_name(call->coll), alg->name, f->by);
    f->told[call->on_device] = true;
    if (why != NULL) {
        why->algorithm = alg->name;
        why->predicted_s = 0;
        snprintf(why->why, sizeof why->why, "forced by %s", f->by);
    }
    return alg;
}

/* What the tuning table says, or NULL: nothing, or that costs shall decide. */
static const struct dml__alg *by_table(const struct dml__coll_state *state,
                                       const struct dml__call *call, dml_choice *why)
{
    double bytes = (double)call->total * (double)call->elem_bytes;
    for (size_t i = 0; i < state->nrules; i++) {
        i = dml__table_find(state->rules, state->nrules, i, call->coll, call->comm,
                            bytes);
        if (i == state->nrules || state->rules[i].alg == NULL)
            return NULL;
        const struct dml__alg *alg = state->rules[i].alg;
        if (!for_memory(alg, call) || dml__refusal(alg, call) != NULL)
            continue; /* a table holds for calls of every type */
        const char *name;
        dml__comm_tuning(call->comm, &name);
        why->algorithm = alg->name;
        why->predicted_s = 0;
        snprintf(why->why, sizeof why->why, "%.100s, line %d", name,
                 state->rules[i].line);
        return alg;
    }
    return NULL;
}

/* Bits by which a size is rounded down, to one of eight steps between powers of two. */
static unsigned size_shift(uint64_t bytes)
{
    unsigned shift = 0;
    while (bytes >> shift >= 16)
        shift++;
    return shift;
}

/* Is an algorithm not worth looking at for a call in pieces? Where the ranks share a
 * node, what needs the vector together: the copies would cost more than the rest. */
static bool must_pack(const struct dml__alg *alg, const struct dml__call *call)
{
    return call->pieces != NULL && !alg->takes_pieces &&
           dml__node_supports(call) == NULL;
}

/* The cheapest that can do the call, with each one's cost in "why". */
static const struct dml__alg *cheapest(const struct dml__coll_state *state,
                                       const struct dml__call *call, dml_choice *why)
{
    const struct dml__alg *best = NULL;
    uint64_t exact = call->total * call->elem_bytes, shift = size_shift(exact);
    double best_s = 0, bytes = (double)(exact >> shift << shift);
    bool timed = dml__was_timed(&state->tuned, call->coll, call->on_device);
    char *text = why->why;
    size_t room = sizeof why->why;
    size_t used =
        (size_t)snprintf(text, room, "%s:",
                         timed                    ? "measured"
                         : state->tuned.has_model ? "cost model"
                                                  : "cost model, assumed links");
    const struct dml__alg *const *algs = dml__algs(call->coll);
    for (size_t i = 0; algs[i] != NULL; i++) {
        if (!for_memory(algs[i], call) || dml__refusal(algs[i], call) != NULL ||
            must_pack(algs[i], call))
            continue;
        double s = dml__predict_s(call->comm, call->coll, i, bytes);
        if (used < room)
            used += (size_t)snprintf(text + used, room - used, " %s %.3g us",
                                     algs[i]->name, 1e6 * s);
        /* MPI's own is the last of each list. */
        bool favoured = timed && algs[i] == &dml__alg_mpi;
        if (best == NULL || s * (favoured ? clearly_better : 1) < best_s) {
            best = algs[i];
            best_s = s;
        }
    }
    why->algorithm = best->name; /* some algorithm can do any call */
    why->predicted_s = best_s;
    return best;
}

/*
 * Choices are kept for sizes a tenth apart: looking one up costs a few nanoseconds, a
 * comparison of costs a few hundred. A choice is a function of its key, so that ranks
 * whose caches hold different entries choose alike. A table's rules hold to the byte
 * (exact). Zero marks an empty entry.
 */
static uint64_t cache_key(const struct dml__call *call, bool exact)
{
    uint64_t bytes = call->total * call->elem_bytes, shift = size_shift(bytes);
    uint64_t size = exact ? bytes : shift * 16 + (bytes >> shift);
    /* What MPI's own can do depends on these too (native.c). In place at the root alone
     * must not count. */
    bool in_place = call->in_place && call->coll == DML_COLL_REDUCE_SCATTER;
    return 1 | (uint64_t)call->coll << 1 | (uint64_t)call->dtype << 5 |
           (uint64_t)((int)call->op < DML_NOPS ? (int)call->op : DML_NOPS) << 9 |
           size << 12 | (uint64_t)(call->root != 0) << 63 | (uint64_t)in_place << 62 |
           (uint64_t)dml__comm_has_symmetric(call->comm) << 61 |
           (uint64_t)(call->pieces != NULL) << 60 | (uint64_t)call->on_device << 58 |
           (uint64_t)call->mixed << 56;
}

static bool is_settled(const struct dml__coll_state *state,
                       const struct dml__call *call)
{
    return dml__is_settled(call->comm, &state->tuned, call->coll, call->on_device);
}

const struct dml__alg *dml__select(const struct dml__call *call, bool may_measure,
                                   dml_choice *why)
{
    struct dml__coll_state *state = dml__coll_state(call->comm);
    if (state == NULL)
        return NULL;
    struct dml__forced *f = &state->forced[call->coll];
    if (f->wrong != NULL) {
        unknown_algorithm(call->comm, call->coll, f->wrong, call->where);
        return NULL;
    }
    if (asked(f, call) != NULL)
        return forced(f, asked(f, call), call, why);
    if (dml_comm_size(call->comm) == 1 &&
        !call->on_device) { /* any will do: nothing is sent */
        if (why != NULL) {
            *why = (dml_choice){.algorithm = dml__algs(call->coll)[0]->name};
            snprintf(why->why, sizeof why->why, "one rank: nothing to send");
        }
        return dml__algs(call->coll)[0];
    }
    bool cacheable = why == NULL && call->counts == NULL && call->total < INT32_MAX;
    /* Calls that may not measure keep what they chose apart: others measure first. */
    uint64_t key = cache_key(call, state->nrules > 0) | (uint64_t)!may_measure << 59 |
                   (uint64_t)call->captured << 57;
    struct dml__cached *entry = &state->cache[key * 0x9e3779b97f4a7c15u >> 56];
    if (cacheable && entry->key == key)
        return entry->alg;
    dml_choice found = {0};
    dml_choice *reason = why != NULL ? why : &found;
    const struct dml__alg *alg = by_table(state, call, reason);
    bool settled =
        alg != NULL || dml_comm_size(call->comm) == 1 || is_settled(state, call);
    if (alg == NULL && may_measure && !settled) {
        /* Not an error of this call: what could not be measured is estimated. */
        if (call->on_device)
            dml__coll_measure_device(call->comm, call->coll);
        else
            dml__coll_measure(call->comm, call->coll);
        settled = is_settled(state, call);
    }
    if (alg == NULL)
        alg = cheapest(state, call, reason);
    if (cacheable && (settled || !may_measure)) {
        *entry = (struct dml__cached){key, alg};
        if (dml_comm_rank(call->comm) == 0)
            dml__log(dml_comm_ctx(call->comm), DML_LOG_INFO, "%s of %zu %s by %s: %s",
                     dml_coll_name(call->coll), call->total,
                     dml_dtype_name(call->dtype), found.algorithm, found.why);
    }
    return alg;
}
