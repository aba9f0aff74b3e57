/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How even the loads of parts are, relative to their capacities.
 */
#include "dml/plan.h"

#include "core/core.h"

#include <float.h>
#include <math.h>

static dml_status check(dml_ctx *ctx, const char *where, const double *loads,
                        const double *capacities, size_t parts)
{
    for (size_t j = 0; j < parts; j++) {
        if (!(loads[j] >= 0 && loads[j] <= DBL_MAX))
            return dml__fail(ctx, DML_EINVAL, where,
                             "loads[%zu] is %g; loads are finite and not negative", j,
                             loads[j]);
        if (capacities != NULL && !(capacities[j] > 0 && capacities[j] <= DBL_MAX))
            return dml__fail(ctx, DML_EINVAL, where,
                             "capacities[%zu] is %g; capacities are finite and above 0",
                             j, capacities[j]);
    }
    return DML_OK;
}

dml_status dml_balance_of(dml_ctx *ctx, const double *loads, const double *capacities,
                          size_t parts, dml_balance *balance)
{
    if (loads == NULL || parts == 0 || balance == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "no loads, or balance is NULL: parts is %zu", parts);
    DML_TRY(check(ctx, __func__, loads, capacities, parts));
    double total = 0, largest = 0, capacity = 0;
    for (size_t j = 0; j < parts; j++) {
        double here = capacities != NULL ? capacities[j] : 1;
        total += loads[j];
        largest = here > largest ? here : largest;
    }
    if (!(total <= DBL_MAX))
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "the sum of the loads is %g, too large for a double; scale "
                         "them down",
                         total);
    /* By the largest first: the sum of all could overflow. */
    for (size_t j = 0; j < parts; j++)
        capacity += (capacities != NULL ? capacities[j] : 1) / largest;
    double most = 0, squares = 0, mean = 0;
    for (size_t j = 0; total > 0 && j < parts; j++) {
        double here = capacities != NULL ? capacities[j] : 1;
        double ratio = loads[j] / total / (here / largest / capacity);
        if (!(ratio <= DBL_MAX))
            return dml__fail(ctx, DML_EINVAL, __func__,
                             "capacities[%zu] is %g, too small beside the largest, %g",
                             j, here, largest);
        most = ratio > most ? ratio : most;
        mean += ratio / (double)parts;
    }
    /* Relative to the mean, or the squares could overflow. */
    for (size_t j = 0; total > 0 && j < parts; j++) {
        double here = capacities != NULL ? capacities[j] : 1;
        double ratio = loads[j] / total / (here / largest / capacity);
        double off = ratio / mean - 1;
        squares += off * off;
    }
    *balance = (dml_balance){.imbalance = total > 0 ? most : 1,
                             .cv = sqrt(squares / (double)parts),
                             .total = total};
    return DML_OK;
}
