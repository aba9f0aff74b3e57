/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bounds that cut weight in the order of keys into shares by capacity. A cut that falls
 * into a divisible key cuts it at the very point; elsewhere it goes to the nearer side
 * of the key.
 *
 * Where no key may be split, a part takes keys as long as that brings it nearer to its
 * share of what is left; so parts beside a key heavier than a share still share the
 * rest evenly.
 */
#include "skew/plan.h"

/* The cut number j, at "target" of the cumulated weight. "sum" is what lies before mass
 * i, in which the target falls. */
static void cut_at(dml_plan *plan, const struct dml__mass *masses, size_t i, double sum,
                   double target)
{
    const struct dml__mass *mass = &masses[i];
    double into = target - sum;
    if (into < mass->before) {
        if (i > 0 && into < mass->before / 2)
            dml__plan_add_bound(plan, &masses[i - 1].key, 1);
        else
            dml__plan_add_bound(plan, &mass->key, 0);
        return;
    }
    double share = mass->own > 0 ? (into - mass->before) / mass->own : 1;
    if (!mass->divisible)
        share = share < 0.5 ? 0 : 1;
    dml__plan_add_bound(plan, &mass->key, share < 1 ? share : 1);
}

static void cut_anywhere(dml_plan *plan, const struct dml__mass *masses, size_t count,
                         double total)
{
    double sum = 0, filled = plan->capacities[0];
    size_t i = 0;
    for (size_t j = 0; j + 1 < plan->parts; filled += plan->capacities[++j]) {
        double target = total * filled;
        while (i + 1 < count && sum + masses[i].before + masses[i].own <= target)
            sum += masses[i].before + masses[i].own, i++;
        cut_at(plan, masses, i, sum, target);
    }
}

static void cut_between(dml_plan *plan, const struct dml__mass *masses, size_t count,
                        double total)
{
    double capacity = 1;
    size_t i = 0;
    for (size_t j = 0; j + 1 < plan->parts && i < count; j++) {
        double share = total * plan->capacities[j] / capacity, load = 0;
        for (; i < count; i++) {
            double next = masses[i].before + masses[i].own;
            if (load > 0 && load + next / 2 > share)
                break;
            load += next;
        }
        dml__plan_add_bound(plan, &masses[i - 1].key, 1);
        total -= load;
        capacity -= plan->capacities[j];
    }
}

void dml__cut(dml_plan *plan, const struct dml__mass *masses, size_t count,
              bool whole_keys)
{
    double total = 0;
    for (size_t i = 0; i < count; i++)
        total += masses[i].before + masses[i].own;
    if (count == 0 || total <= 0)
        return;
    if (whole_keys)
        cut_between(plan, masses, count, total);
    else
        cut_anywhere(plan, masses, count, total);
}
