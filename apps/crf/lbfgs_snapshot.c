/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A search by L-BFGS to and from snapshots: the point, the gradient and the pairs are
 * vectors over all ranks; dot products, past values and counters are equal on all ranks
 * and stand in one array of doubles. What OWL-QN starts from follows from point and
 * gradient.
 */
#include "../common/checkpoint.h"
#include "lbfgs_search.h"
#include "owlqn.h"

#include <stdlib.h>

#define COUNTERS 5
#define NUMBERS  "lbfgs"

/* ---- numbers ----------------------------------------------------------------------
 */

/* An array that is written or read from front to back. */
struct tape {
    double *at;
    bool load;
};

static void pass(struct tape *tape, double *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (tape->load)
            values[i] = tape->at[i];
        else
            tape->at[i] = values[i];
    }
    tape->at += n;
}

/* Doubles hold every counter; what is loaded was checked. */
static void pass_counter(struct tape *tape, size_t *counter)
{
    double value = (double)*counter;
    pass(tape, &value, 1);
    if (tape->load)
        *counter = (size_t)value;
}

static size_t count_numbers(const struct lbfgs_search *search)
{
    size_t m = search->memory;
    return COUNTERS + 5 + PERIOD_LIMIT + 2 * m + 3 * m * m;
}

static void pass_numbers(struct lbfgs_search *search, struct tape tape)
{
    struct lbfgs_state *state = search->state;
    size_t m = search->memory, *const counters[COUNTERS] = {
                                   &search->memory, &search->kept, &search->oldest,
                                   &state->iteration, &state->evaluations};
    for (size_t i = 0; i < COUNTERS; i++)
        pass_counter(&tape, counters[i]);
    pass(&tape, &state->value, 1);
    pass(&tape, &state->gradient, 1);
    pass(&tape, &state->norm, 1);
    pass(&tape, &state->step, 1);
    pass(&tape, &search->gg, 1);
    pass(&tape, search->past, PERIOD_LIMIT);
    pass(&tape, search->gs, m);
    pass(&tape, search->gy, m);
    for (size_t i = 0; i < m; i++) {
        pass(&tape, search->ss[i], m);
        pass(&tape, search->sy[i], m);
        pass(&tape, search->yy[i], m);
    }
}

/* ---- vectors ----------------------------------------------------------------------
 */

struct vector {
    char name[DML_CKPT_NAME_MAX];
    double *data; /* [count] this rank's part */
};

/* Vector i of the snapshot; false where there are no more. */
static bool vector(const struct lbfgs_search *search, size_t i, struct vector *out)
{
    if (i == 0) {
        *out = (struct vector){"x", search->x};
    } else if (i == 1) {
        *out = (struct vector){"gradient", search->gradient};
    } else {
        size_t pair = (i - 2) / 2;
        bool step = i % 2 == 0;
        if (pair >= search->memory)
            return false;
        out->data = step ? search->s[pair] : search->y[pair];
        snprintf(out->name, sizeof out->name, "%s:%zu", step ? "s" : "y", pair);
    }
    return true;
}

/* ---- both -------------------------------------------------------------------------
 */

dml_status lbfgs_save(const struct lbfgs_search *search, dml_ckpt *writer)
{
    const struct lbfgs_problem *problem = search->problem;
    struct lbfgs_search all = *search; /* numbers are read through plain pointers */
    struct vector v;
    size_t n = count_numbers(search);
    double *numbers = calloc(n, sizeof *numbers);
    if (!numbers)
        return job_fail(search->job, DML_ENOMEM, "out of memory for a snapshot");
    pass_numbers(&all, (struct tape){.at = numbers});
    dml_status status =
        dml_ckpt_add_shared(writer, NUMBERS, numbers, n * sizeof *numbers);
    free(numbers);
    for (size_t i = 0; status == DML_OK && vector(search, i, &v); i++)
        status = dml_ckpt_add_vector(writer, v.name, v.data, DML_F64, problem->first,
                                     problem->count, problem->total);
    return job_note(search->job, status);
}

/* The first of the numbers. */
static dml_status check_counters(const struct lbfgs_search *search,
                                 const double numbers[COUNTERS])
{
    const double memory = (double)search->memory;
    const struct checkpoint_counter counters[COUNTERS] = {
        {"memory", numbers[0], memory, memory},
        {"pairs", numbers[1], 0, memory},
        {"oldest pair", numbers[2], 0, memory - 1},
        {"iterations", numbers[3], 0, UINT32_MAX},
        {"evaluations", numbers[4], 0, UINT32_MAX},
    };
    return checkpoint_counters(search->job, search->problem->snapshot, counters,
                               COUNTERS);
}

static dml_status load_numbers(struct lbfgs_search *search)
{
    size_t n = count_numbers(search);
    double *numbers = calloc(n, sizeof *numbers);
    if (!numbers)
        return job_fail(search->job, DML_ENOMEM, "out of memory for a snapshot");
    dml_status status = job_note(
        search->job, dml_snapshot_get_shared(search->problem->snapshot, NUMBERS,
                                             numbers, n * sizeof *numbers));
    if (status == DML_OK)
        status = check_counters(search, numbers);
    if (status == DML_OK)
        pass_numbers(search, (struct tape){.at = numbers, .load = true});
    free(numbers);
    return status;
}

dml_status lbfgs_load(struct lbfgs_search *search)
{
    const struct lbfgs_problem *problem = search->problem;
    struct vector v;
    dml_status status = load_numbers(search);
    for (size_t i = 0; status == DML_OK && vector(search, i, &v); i++)
        status = job_note(search->job,
                          dml_snapshot_get_vector(problem->snapshot, v.name, v.data,
                                                  DML_F64, problem->first,
                                                  problem->count, problem->total));
    if (status == DML_OK && search->opts->l1 > 0)
        owlqn_pseudo(problem->count, search->opts->l1, search->x, search->gradient,
                     search->pseudo);
    return status;
}
