/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Orthant-wise L-BFGS: within one orthant the L1 term is smooth, so each step stays in
 * one. Source: Andrew and Gao 2007.
 */
#include "owlqn.h"

#include <math.h>

void owlqn_pseudo(size_t count, double l1, const double *x, const double *gradient,
                  double *pseudo)
{
    for (size_t i = 0; i < count; i++) {
        double g = gradient[i];
        if (x[i] != 0)
            pseudo[i] = g + (x[i] > 0 ? l1 : -l1);
        else if (g < -l1)
            pseudo[i] = g + l1;
        else
            pseudo[i] = g > l1 ? g - l1 : 0;
    }
}

void owlqn_align(size_t count, const double *pseudo, double *direction)
{
    for (size_t i = 0; i < count; i++)
        if (direction[i] * pseudo[i] >= 0)
            direction[i] = 0;
}

void owlqn_stay(size_t count, const double *x, const double *pseudo, double *next)
{
    for (size_t i = 0; i < count; i++) {
        double side = x[i] != 0 ? x[i] : -pseudo[i];
        if (next[i] * side <= 0)
            next[i] = 0;
    }
}

double owlqn_sum(size_t count, const double *x)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += fabs(x[i]);
    return sum;
}
