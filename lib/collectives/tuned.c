/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a communicator's collectives cost, and how much time may go into finding out.
 *
 * On one node, and over a network of a few microseconds, every algorithm is timed. Over
 * a slow link that would take far too long: alpha, beta and gamma are measured, and the
 * formulas decide. All that a communicator measures in its life stays below half a
 * second for each kind of memory, of the host and of devices. Paths for devices make
 * connections and mappings at their first call, which is done before and counts apart.
 *
 * Results are kept in the context. A later communicator of the same processes in the
 * same order takes them over if all its ranks have them; one of other processes never.
 */
#include "collectives/device.h"
#include "collectives/select.h"

#include <math.h>
#include <string.h>

/* Used until a model is measured: a network or shared memory of an ordinary cluster. */
static const struct dml__model unmeasured = {
    .node = {.alpha_s = 1e-6, .gap_s = 5e-7, .beta_s = 1 / 5e9},
    .net = {.alpha_s = 2e-5, .gap_s = 5e-6, .beta_s = 1 / 1e9},
    .gamma_s = 1 / 10e9,
};

/* Of all measuring on a communicator; the last quarter is for memory of dml_alloc. */
static const double total_s = 0.36, plain_s = 0.27;

/* Of the model, and of one collective, which may have this part of what is left, so
 * that later ones get some. */
static const double model_s = 0.08, net_model_s = 0.24, collective_s = 0.15,
                    part = 0.45;

/* A network on which many messages can be timed at once. */
static const double fast_alpha_s = 50e-6;

/* ---- predictions -------------------------------------------------------------------
 */

double dml__point_bytes(int i)
{
    return ldexp(16, 2 * i);
}

static struct dml__model model_of(const dml_comm *comm, const struct dml__tuned *tuned)
{
    struct dml__model model = tuned->has_model ? tuned->model : unmeasured;
    model.nranks = dml_comm_size(comm);
    dml__comm_nodes(comm, &model.nnodes);
    return model;
}

struct dml__model dml__model_of(const dml_comm *comm)
{
    return model_of(comm, &dml__comm_coll_state(comm)->tuned);
}

double dml__formula_s(const dml_comm *comm, const struct dml__tuned *tuned,
                      const struct dml__alg *alg, double bytes)
{
    struct dml__model model = model_of(comm, tuned);
    return alg->cost_s(&model, bytes);
}

int dml__timed_below(const double *seconds, int point)
{
    while (point >= 0 && seconds[point] <= 0)
        point--;
    return point;
}

/* From the nearest timed sizes: between two of them on a straight line of logarithms;
 * beyond them the formula's course goes on, as a ratio where bytes make up the cost and
 * as a difference where messages do. */
double dml__predict_s(const dml_comm *comm, dml_coll coll, size_t index, double bytes)
{
    const struct dml__tuned *tuned = &dml__comm_coll_state(comm)->tuned;
    const struct dml__alg *alg = dml__algs(coll)[index];
    const double *t = tuned->seconds[coll][index];
    int above = 0;
    while (above < DML__NPOINTS && (t[above] <= 0 || dml__point_bytes(above) < bytes))
        above++;
    int below = above < DML__NPOINTS ? above : DML__NPOINTS;
    below = dml__timed_below(t, below - 1);
    double formula_s = dml__formula_s(comm, tuned, alg, bytes);
    if (below < 0 && above == DML__NPOINTS)
        return formula_s;
    if (below >= 0 && above < DML__NPOINTS) {
        double x = log(bytes / dml__point_bytes(below)) / log(4.0) / (above - below);
        return t[below] * pow(t[above] / t[below], x);
    }
    int known = below >= 0 ? below : above;
    double known_s = dml__formula_s(comm, tuned, alg, dml__point_bytes(known));
    if (bytes <= dml__point_bytes(0) && known == 0)
        return t[0];
    if (below < 0 || known_s > 2 * dml__formula_s(comm, tuned, alg, 1))
        return t[known] * formula_s / known_s;
    return t[known] + formula_s - known_s;
}

bool dml__is_settled(const dml_comm *comm, const struct dml__tuned *tuned,
                     dml_coll coll, bool on_device)
{
    bool shared = !on_device && dml__comm_has_symmetric(comm);
    return tuned->settled[on_device][coll] && (tuned->settled_shared[coll] || !shared);
}

static bool is_for(const struct dml__alg *alg, bool on_device)
{
    return (alg->path != DML__ON_HOST) == on_device;
}

bool dml__was_timed(const struct dml__tuned *tuned, dml_coll coll, bool on_device)
{
    const struct dml__alg *const *algs = dml__algs(coll);
    for (int i = 0; algs[i] != NULL; i++)
        if (is_for(algs[i], on_device) &&
            dml__timed_below(tuned->seconds[coll][i], DML__NPOINTS - 1) >= 0)
            return true;
    return false;
}

/* ---- what the context keeps --------------------------------------------------------
 */

struct kept {
    struct kept *next;
    uint64_t members; /* dml__comm_members */
    struct dml__tuned tuned;
};

static void destroy_kept(void *shelf)
{
    for (struct kept *k = shelf; k != NULL;) {
        struct kept *next = k->next;
        dml__free(k);
        k = next;
    }
}

/* What "from" knows of a collective, with one kind of memory, and the model, if it is
 * new. */
static void copy_knowledge(struct dml__tuned *to, const struct dml__tuned *from,
                           dml_coll coll, bool on_device)
{
    const struct dml__alg *const *algs = dml__algs(coll);
    if (!to->has_model)
        to->model = from->model;
    to->has_model = to->has_model || from->has_model;
    to->spent_s[on_device] = fmax(to->spent_s[on_device], from->spent_s[on_device]);
    to->settled[on_device][coll] = from->settled[on_device][coll];
    if (!on_device)
        to->settled_shared[coll] = from->settled_shared[coll];
    for (int i = 0; algs[i] != NULL; i++)
        if (is_for(algs[i], on_device))
            memcpy(to->seconds[coll][i], from->seconds[coll][i],
                   sizeof to->seconds[coll][i]);
}

static struct kept *find_kept(dml_ctx *ctx, uint64_t members)
{
    struct kept *k = dml__ctx_shelf(ctx);
    while (k != NULL && k->members != members)
        k = k->next;
    return k;
}

/* Keeps a copy for later communicators; where memory is short they measure anew. */
static void keep(dml_comm *comm, const struct dml__tuned *tuned, dml_coll coll,
                 bool on_device)
{
    dml_ctx *ctx = dml_comm_ctx(comm);
    uint64_t members = dml__comm_members(comm);
    struct kept *fresh = members != 0 ? dml__alloc(ctx, sizeof *fresh) : NULL;
    if (fresh == NULL)
        return;
    dml__ctx_lock(ctx);
    struct kept *k = find_kept(ctx, members);
    if (k == NULL) {
        k = fresh;
        fresh = NULL;
        k->members = members;
        k->next = dml__ctx_shelf(ctx);
        dml__ctx_set_shelf(ctx, k, destroy_kept);
    }
    copy_knowledge(&k->tuned, tuned, coll, on_device);
    dml__ctx_unlock(ctx);
    dml__free(fresh);
}

/* A number that differs where what is known of a collective differs. */
static double fingerprint(const struct dml__tuned *tuned, dml_coll coll, bool on_device)
{
    const struct dml__alg *const *algs = dml__algs(coll);
    double sum = tuned->model.gamma_s + tuned->model.node.beta_s +
                 tuned->model.net.beta_s + tuned->spent_s[on_device];
    for (int alg = 0; algs[alg] != NULL; alg++)
        for (int i = 0; is_for(algs[alg], on_device) && i < DML__NPOINTS; i++)
            sum += (alg + 1) * (i + 1) * tuned->seconds[coll][alg][i];
    return sum;
}

/* Takes over what the context knows of this collective, if all ranks know the same. */
static dml_status take_over(dml_comm *comm, dml_coll coll, bool on_device,
                            struct dml__tuned *tuned)
{
    dml_ctx *ctx = dml_comm_ctx(comm);
    struct dml__tuned *found = dml__alloc(ctx, sizeof *found);
    bool have = false;
    dml__ctx_lock(ctx);
    const struct kept *k = find_kept(ctx, dml__comm_members(comm));
    if (k != NULL && found != NULL) {
        *found = k->tuned;
        have = dml__is_settled(comm, found, coll, on_device);
    }
    dml__ctx_unlock(ctx);
    double print = have ? fingerprint(found, coll, on_device) : 0;
    double told[] = {!have, print, -print}; /* the last two: is it equal everywhere? */
    dml_status status = dml__comm_max(comm, told, 3);
    if (status == DML_OK && told[0] == 0 && told[1] == -told[2])
        copy_knowledge(tuned, found, coll, on_device);
    dml__free(found);
    return status;
}

/* ---- measuring ---------------------------------------------------------------------
 */

/* Nothing more is measured: the formulas decide. */
static void settle(const dml_comm *comm, struct dml__tuned *tuned, dml_coll coll,
                   bool on_device)
{
    tuned->settled[on_device][coll] = true;
    if (!on_device)
        tuned->settled_shared[coll] = dml__comm_has_symmetric(comm);
}

static void tell(const dml_comm *comm, const struct dml__tuned *tuned, dml_coll coll,
                 bool on_device, double spent_s)
{
    if (dml_comm_rank(comm) != 0)
        return;
    dml__log(dml_comm_ctx(comm), DML_LOG_INFO,
             "measured %s%s in %.0f ms (%.0f ms in all); alpha %.3g us, beta %.3g "
             "ns/B in a node, %.3g us, %.3g ns/B between nodes, gamma %.3g ns/B",
             dml_coll_name(coll), on_device ? " on devices" : "", 1e3 * spent_s,
             1e3 * tuned->spent_s[on_device], 1e6 * tuned->model.node.alpha_s,
             1e9 * tuned->model.node.beta_s, 1e6 * tuned->model.net.alpha_s,
             1e9 * tuned->model.net.beta_s, 1e9 * tuned->model.gamma_s);
}

/* The model, if it is not known, and then the algorithms, as the time suffices. */
static dml_status measure_within(dml_comm *comm, dml_coll coll, bool on_device,
                                 double left_s, struct dml__tuned *tuned)
{
    int nnodes;
    double begin_s = dml__now_s();
    dml__comm_nodes(comm, &nnodes);
    if (!tuned->has_model) {
        dml_status status =
            dml__model_measure(comm, nnodes > 1 ? net_model_s : model_s, &tuned->model);
        tuned->has_model = status == DML_OK;
        DML_TRY(status);
    }
    double so_far_s = dml__now_s() - begin_s;
    DML_TRY(dml__comm_max(comm, &so_far_s, 1));
    left_s -= so_far_s;
    double limit_s = left_s * part < collective_s ? left_s * part : collective_s;
    bool fast = nnodes == 1 || tuned->model.net.alpha_s < fast_alpha_s;
    return fast && limit_s > 0
               ? dml__time_algorithms(comm, coll, on_device, limit_s, tuned)
               : DML_OK;
}

static dml_status measure(dml_comm *comm, dml_coll coll, bool on_device,
                          struct dml__tuned *tuned)
{
    double allowed_s = tuned->settled[on_device][coll] ? total_s : plain_s;
    double left_s = allowed_s - tuned->spent_s[on_device];
    if (left_s < 0.05 * allowed_s) {
        settle(comm, tuned, coll, on_device);
        return DML_OK;
    }
    if (on_device)
        DML_TRY(dml__warm_paths(comm, coll));
    double begin_s = dml__now_s();
    dml_status status = measure_within(comm, coll, on_device, left_s, tuned);
    double spent_s = dml__now_s() - begin_s;
    DML_TRY(status);
    DML_TRY(dml__comm_max(comm, &spent_s, 1));
    tuned->spent_s[on_device] += spent_s;
    settle(comm, tuned, coll, on_device);
    tell(comm, tuned, coll, on_device, spent_s);
    return DML_OK;
}

/* Must anything be known of the collective that is not? */
static bool is_open(const dml_comm *comm, const struct dml__coll_state *state,
                    dml_coll coll, bool on_device)
{
    return !dml__is_settled(comm, &state->tuned, coll, on_device) &&
           !dml__is_forced(state, coll, on_device) && dml_comm_size(comm) > 1;
}

/* What a job calls once or twice, at its beginning say, is not worth measuring: 30 ms
 * for calls of 0.1 ms. */
enum { CALLS_UNMEASURED = 2 };

bool dml__count_call(const struct dml__call *call, struct dml__coll_state *state)
{
    dml_comm *comm = call->comm;
    unsigned char *calls = &state->calls[call->on_device][call->coll];
    if (call->any_place) /* forced; other ranks may have the other kind of memory */
        return false;
    if (*calls == CALLS_UNMEASURED)
        return true;
    if ((*calls)++ == 0 && is_open(comm, state, call->coll, call->on_device)) {
        dml_comm_stats before;
        dml_comm_get_stats(comm, &before);
        /* Its failure is no error of this call. */
        take_over(comm, call->coll, call->on_device, &state->tuned);
        dml__comm_set_stats(comm, &before);
    }
    return false;
}

static dml_status measure_now(dml_comm *comm, dml_coll coll, bool on_device)
{
    struct dml__coll_state *state = dml__coll_state(comm);
    if (state == NULL)
        return dml__last_status(comm);
    if (!is_open(comm, state, coll, on_device))
        return DML_OK;
    dml_comm_stats before;
    dml_comm_get_stats(comm, &before);
    dml_status status = take_over(comm, coll, on_device, &state->tuned);
    if (status == DML_OK && !dml__is_settled(comm, &state->tuned, coll, on_device)) {
        status = measure(comm, coll, on_device, &state->tuned);
        if (status == DML_OK)
            keep(comm, &state->tuned, coll, on_device);
    }
    memset(state->cache, 0, sizeof state->cache);
    dml__comm_set_stats(comm, &before); /* the caller did not ask for this traffic */
    return status;
}

dml_status dml__coll_measure(dml_comm *comm, dml_coll coll)
{
    return measure_now(comm, coll, false);
}

/* Calls that are measured wait for their result, which none does whose stream is being
 * captured on some rank: then another call measures. */
dml_status dml__coll_measure_device(dml_comm *comm, dml_coll coll)
{
    struct dml__coll_state *state = dml__coll_state(comm);
    if (state == NULL || !is_open(comm, state, coll, true))
        return state != NULL ? DML_OK : dml__last_status(comm);
    double captured = !dml__device_waits(comm, true);
    dml_status status = dml__comm_max(comm, &captured, 1);
    if (status == DML_OK && captured == 0)
        status = measure_now(comm, coll, true);
    dml__device_waits(comm, false);
    return status;
}
