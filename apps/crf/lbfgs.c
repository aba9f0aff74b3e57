/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * L-BFGS, and OWL-QN where there is an L1 term, over vectors that are spread over
 * ranks.
 *
 * The direction is a linear combination of the kept steps s, the kept changes y of the
 * gradient, and the gradient. Its coefficients follow from the dot products of these
 * 2 m + 1 vectors alone, which one sum over the ranks per iteration brings up to date.
 * Sources: Nocedal 1980 (L-BFGS); Chen, Wang and Zhou 2014 (dot products only); Lewis
 * and Overton 2013 (line search by bracketing for the weak Wolfe conditions); Andrew
 * and Gao 2007 (OWL-QN).
 */
#include "lbfgs_search.h"
#include "owlqn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TRIALS 40
#define SUFFICIENT 1e-4 /* decrease: of what the slope promises */
#define CURVATURE  0.9  /* the slope must have become so much flatter */
#define BLOCK      1024 /* elements of all vectors that are worked on at a time */

static dml_status add_up(struct lbfgs_search *search, double *values, size_t n)
{
    return search->problem->sum(search->problem->user, values, n);
}

static double dot(const struct lbfgs_search *search, const double *a, const double *b)
{
    return search->kernels->dot(search->problem->count, a, b);
}

static dml_status allocate(struct lbfgs_search *search)
{
    size_t count = search->problem->count, nvectors = 4 + 2 * search->memory;
    bool owlqn = search->opts->l1 > 0;
    nvectors += owlqn;
    search->block = calloc(nvectors * count + 1, sizeof *search->block);
    double failed = search->block ? 0 : 1;
    dml_status status = add_up(search, &failed, 1);
    if (status == DML_OK && failed > 0)
        status = job_fail(search->job, DML_ENOMEM,
                          "out of memory for %zu vectors of %zu numbers, here or on "
                          "another rank",
                          nvectors, count);
    if (status != DML_OK)
        return status;
    double *at = search->block;
    search->next_x = at;
    search->gradient = at += count;
    search->next = at += count;
    search->direction = at += count;
    for (size_t i = 0; i < search->memory; i++) {
        search->s[i] = at += count;
        search->y[i] = at += count;
    }
    search->pseudo = owlqn ? at + count : search->gradient;
    return DML_OK;
}

/* ---- direction ------------------------------------------------------------------- */

/* Dot products of the newest pair and of the gradient with all pairs, block by block so
 * that every vector is read once; then over the ranks. */
static dml_status update_products(struct lbfgs_search *search, size_t newest)
{
    size_t count = search->problem->count, n = search->kept;
    double sums[6 * MAX_MEMORY + 2] = {0};
    double (*dots)(size_t, const double *, const double *) = search->kernels->dot;
    for (size_t at = 0; at < count; at += BLOCK) {
        size_t length = count - at < BLOCK ? count - at : BLOCK;
        const double *g = search->pseudo + at;
        sums[6 * n] += dots(length, g, g);
        sums[6 * n + 1] += dots(length, search->x + at, search->x + at);
        for (size_t i = 0; i < n; i++) {
            const double *s = search->s[i] + at, *y = search->y[i] + at;
            sums[6 * i] += dots(length, search->s[newest] + at, s);
            sums[6 * i + 1] += dots(length, search->s[newest] + at, y);
            sums[6 * i + 2] += dots(length, search->y[newest] + at, s);
            sums[6 * i + 3] += dots(length, search->y[newest] + at, y);
            sums[6 * i + 4] += dots(length, g, s);
            sums[6 * i + 5] += dots(length, g, y);
        }
    }
    dml_status status = add_up(search, sums, 6 * n + 2);
    for (size_t i = 0; i < n; i++) {
        search->ss[newest][i] = search->ss[i][newest] = sums[6 * i];
        search->sy[newest][i] = sums[6 * i + 1];
        search->sy[i][newest] = sums[6 * i + 2];
        search->yy[newest][i] = search->yy[i][newest] = sums[6 * i + 3];
        search->gs[i] = sums[6 * i + 4];
        search->gy[i] = sums[6 * i + 5];
    }
    search->gg = sums[6 * n];
    search->state->gradient = sqrt(search->gg);
    search->state->norm = sqrt(sums[6 * n + 1]);
    return status;
}

/* The two loops of L-BFGS on coefficients: the direction is the sum of a[i] s_i, b[i]
 * y_i and c times the gradient; slope is its product with the gradient. */
static void coefficients(struct lbfgs_search *search, double *a, double *b, double *c)
{
    size_t n = search->kept, order[MAX_MEMORY];
    double alpha[MAX_MEMORY];
    for (size_t k = 0; k < n; k++) {
        order[k] = (search->oldest + k) % search->memory;
        a[k] = b[k] = 0;
    }
    *c = -1;
    for (size_t k = n; k-- > 0;) {
        size_t i = order[k];
        double product = *c * search->gs[i];
        for (size_t j = 0; j < n; j++)
            product += a[j] * search->ss[i][j] + b[j] * search->sy[i][j];
        alpha[i] = product / search->sy[i][i];
        b[i] -= alpha[i];
    }
    size_t last = n > 0 ? order[n - 1] : 0;
    double scale = n > 0 ? search->sy[last][last] / search->yy[last][last] : 1;
    for (size_t j = 0; j < n; j++)
        b[j] *= scale;
    *c *= scale;
    for (size_t k = 0; k < n; k++) {
        size_t i = order[k];
        double product = *c * search->gy[i];
        for (size_t j = 0; j < n; j++)
            product += a[j] * search->sy[j][i] + b[j] * search->yy[j][i];
        a[i] += alpha[i] - product / search->sy[i][i];
    }
    search->slope = *c * search->gg;
    for (size_t j = 0; j < n; j++)
        search->slope += a[j] * search->gs[j] + b[j] * search->gy[j];
}

static void set_direction(struct lbfgs_search *search)
{
    double a[MAX_MEMORY], b[MAX_MEMORY], c;
    size_t count = search->problem->count;
    coefficients(search, a, b, &c);
    if (!(search->slope < 0)) {
        search->kept = 0; /* the pairs are of no use: start anew */
        coefficients(search, a, b, &c);
    }
    for (size_t at = 0; at < count; at += BLOCK) {
        size_t length = count - at < BLOCK ? count - at : BLOCK;
        double *to = search->direction + at;
        for (size_t i = 0; i < length; i++)
            to[i] = c * search->pseudo[at + i];
        for (size_t j = 0; j < search->kept; j++) {
            search->kernels->axpy(length, a[j], search->s[j] + at, to);
            search->kernels->axpy(length, b[j], search->y[j] + at, to);
        }
    }
}

/* ---- line search ----------------------------------------------------------------- */

/* Value, slope along the direction, and for OWL-QN the change along the
 * pseudo-gradient, at x + step direction. */
static dml_status try_step(struct lbfgs_search *search, double step, double *value,
                           double *slope)
{
    size_t count = search->problem->count;
    bool owlqn = search->opts->l1 > 0;
    double sums[2] = {0};
    for (size_t i = 0; i < count; i++)
        search->next_x[i] = search->x[i] + step * search->direction[i];
    if (owlqn)
        owlqn_stay(count, search->x, search->pseudo, search->next_x);
    search->state->evaluations++;
    dml_status status = search->problem->evaluate(search->problem->user, search->next_x,
                                                  value, search->next);
    if (status != DML_OK)
        return status;
    if (owlqn) {
        sums[0] = owlqn_sum(count, search->next_x);
        for (size_t i = 0; i < count; i++)
            sums[1] += (search->next_x[i] - search->x[i]) * search->pseudo[i];
    } else {
        sums[1] = dot(search, search->next, search->direction);
    }
    status = add_up(search, sums, 2);
    *value += search->opts->l1 * sums[0];
    *slope = sums[1];
    return status;
}

/* A step that lowers the value enough and, without L1, flattens the slope enough.
 * *found is false when there is none. */
static dml_status line_search(struct lbfgs_search *search, double step, bool *found)
{
    double low = 0, high = INFINITY, value, slope, start = search->state->value;
    bool owlqn = search->opts->l1 > 0;
    *found = false;
    for (int trial = 0; trial < MAX_TRIALS; trial++) {
        dml_status status = try_step(search, step, &value, &slope);
        if (status != DML_OK)
            return status;
        double promised = owlqn ? slope : step * search->slope;
        bool falls = isfinite(value) && value <= start + SUFFICIENT * promised;
        if (falls && (owlqn || slope >= CURVATURE * search->slope)) {
            search->state->value = value;
            search->state->step = step;
            *found = true;
            return DML_OK;
        }
        if (!falls)
            high = step;
        else
            low = step;
        step = isfinite(high) ? (low + high) / 2 : 2 * step;
    }
    return DML_OK;
}

/* next_x becomes x; the step and the change of the gradient become the newest pair. */
static dml_status move(struct lbfgs_search *search)
{
    size_t count = search->problem->count, to;
    if (search->kept < search->memory) {
        to = (search->oldest + search->kept) % search->memory;
        search->kept++;
    } else {
        to = search->oldest;
        search->oldest = (search->oldest + 1) % search->memory;
    }
    double *s = search->s[to], *y = search->y[to];
    for (size_t i = 0; i < count; i++) {
        s[i] = search->next_x[i] - search->x[i];
        y[i] = search->next[i] - search->gradient[i];
        search->x[i] = search->next_x[i];
        search->gradient[i] = search->next[i];
    }
    if (search->opts->l1 > 0)
        owlqn_pseudo(search->problem->count, search->opts->l1, search->x,
                     search->gradient, search->pseudo);
    dml_status status = update_products(search, to);
    /* Without curvature a pair would make the directions useless. */
    if (search->sy[to][to] <= 1e-300 + 1e-16 * search->yy[to][to]) {
        search->kept = 0;
        search->oldest = 0;
    }
    return status;
}

/* ---- the search ------------------------------------------------------------------ */

static bool converged(struct lbfgs_search *search)
{
    const struct lbfgs_opts *opts = search->opts;
    struct lbfgs_state *state = search->state;
    double scale = state->norm > 1 ? state->norm : 1;
    if (state->gradient <= opts->epsilon * scale)
        return true;
    if (opts->delta <= 0 || opts->period == 0 || opts->period > PERIOD_LIMIT)
        return false;
    double *past = &search->past[state->iteration % opts->period];
    bool enough = state->iteration >= opts->period &&
                  *past - state->value < opts->delta * fabs(state->value);
    *past = state->value;
    return enough;
}

static dml_status start(struct lbfgs_search *search)
{
    struct lbfgs_state *state = search->state;
    dml_status status = search->problem->evaluate(search->problem->user, search->x,
                                                  &state->value, search->gradient);
    double sums[3];
    if (status != DML_OK)
        return status;
    if (search->opts->l1 > 0)
        owlqn_pseudo(search->problem->count, search->opts->l1, search->x,
                     search->gradient, search->pseudo);
    sums[0] = dot(search, search->pseudo, search->pseudo);
    sums[1] = dot(search, search->x, search->x);
    sums[2] = search->opts->l1 > 0 ? owlqn_sum(search->problem->count, search->x) : 0;
    status = add_up(search, sums, 3);
    search->gg = sums[0];
    state->gradient = sqrt(sums[0]);
    state->norm = sqrt(sums[1]);
    state->value += search->opts->l1 * sums[2];
    state->evaluations = 1;
    return status;
}

/* One iteration; *end says whether it was the last. */
static dml_status iterate(struct lbfgs_search *search, bool *end)
{
    struct lbfgs_state *state = search->state;
    bool found = false, fresh = search->kept == 0;
    *end = true;
    set_direction(search);
    if (search->opts->l1 > 0)
        owlqn_align(search->problem->count, search->pseudo, search->direction);
    dml_status status = line_search(search, fresh ? 1 / state->gradient : 1, &found);
    if (status == DML_OK && !found && !fresh) {
        search->kept = 0; /* once more, along the gradient */
        *end = false;
        return DML_OK;
    }
    state->end = LBFGS_STUCK;
    if (status != DML_OK || !found)
        return status;
    status = move(search);
    state->iteration++;
    bool stop = false;
    if (status == DML_OK)
        status =
            search->problem->progress(search->problem->user, state, search->x, &stop);
    if (stop)
        state->end = LBFGS_STOPPED;
    else if (converged(search))
        state->end = LBFGS_CONVERGED;
    else if (state->iteration == search->opts->max_iterations)
        state->end = LBFGS_LIMIT;
    else
        *end = false;
    if (status == DML_OK && !*end && search->problem->between) {
        status = search->problem->between(search->problem->user, search, &stop);
        *end = stop;
    }
    return status;
}

/* From a snapshot, of a search that was to go on; with fewer iterations allowed it may
 * be at its end. */
static dml_status go_on(struct lbfgs_search *search, bool *end)
{
    const size_t most = search->opts->max_iterations;
    dml_status status = job_agree(search->job, lbfgs_load(search));
    *end = most > 0 && search->state->iteration >= most;
    if (*end)
        search->state->end = LBFGS_LIMIT;
    return status;
}

dml_status lbfgs_minimise(const struct lbfgs_problem *problem,
                          const struct lbfgs_opts *opts, const struct kernels *kernels,
                          struct job *job, double *x, struct lbfgs_state *state)
{
    struct lbfgs_search *search = calloc(1, sizeof *search);
    *state = (struct lbfgs_state){.end = LBFGS_CONVERGED};
    if (!search)
        return job_fail(job, DML_ENOMEM, "out of memory");
    search->problem = problem;
    search->opts = opts;
    search->kernels = kernels;
    search->job = job;
    search->state = state;
    search->memory = opts->memory < MAX_MEMORY ? opts->memory : MAX_MEMORY;
    search->x = x;
    dml_status status = allocate(search);
    bool end = false;
    if (status == DML_OK)
        status = problem->snapshot ? go_on(search, &end) : start(search);
    if (status == DML_OK && !problem->snapshot)
        end = converged(search);
    while (status == DML_OK && !end)
        status = iterate(search, &end);
    free(search->block);
    free(search);
    return status;
}
