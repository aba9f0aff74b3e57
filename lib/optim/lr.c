/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Learning-rate schedules: pure functions of the step. The rates at the ends of each
 * part are returned as given, never as the sum and difference that would round.
 * Sources: Goyal et al. 2017 (warm-up, steps, linear scaling); Loshchilov and Hutter
 * 2017 (cosine); You et al. 2017 (polynomial); Smith and Topin 2018, Smith 2018
 * (one-cycle, and its momentum).
 */
#include "dml/lr.h"

#include "core/core.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

static bool ends_at_total(const dml_lr *lr)
{
    return lr->shape == DML_LR_COSINE || lr->shape == DML_LR_POLY ||
           lr->shape == DML_LR_ONECYCLE;
}

void dml_lr_init(dml_lr *lr)
{
    *lr = (dml_lr){
        .size = sizeof *lr,
        .shape = DML_LR_CONSTANT,
        .base = 0.1,
        .total_steps = 1,
        .power = 1,
        .gamma = 0.1,
        .momentum = 0.9,
        .momentum_low = 0.9,
    };
}

static dml_status check_milestones(dml_ctx *ctx, const char *where, const dml_lr *lr)
{
    if (lr->nmilestones > 0 && lr->milestones == NULL)
        return dml__fail(ctx, DML_EINVAL, where,
                         "milestones is NULL, nmilestones is %zu", lr->nmilestones);
    for (size_t k = 1; k < lr->nmilestones; k++)
        if (lr->milestones[k] <= lr->milestones[k - 1])
            return dml__fail(ctx, DML_EINVAL, where,
                             "milestones[%zu] is %llu, not above the one before, %llu",
                             k, (unsigned long long)lr->milestones[k],
                             (unsigned long long)lr->milestones[k - 1]);
    return DML_OK;
}

dml_status dml_lr_check(dml_ctx *ctx, const dml_lr *lr)
{
    if (lr == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "lr is NULL");
    DML_TRY(dml__check_size(ctx, __func__, lr->size, sizeof *lr, "dml_lr_init"));
    switch (lr->shape) {
#define CASE(NAME, number, name) case DML_LR_##NAME:
        DML_LR_MAP(CASE)
#undef CASE
        break;
    default:
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "shape %d is unknown; use one of dml_lr_shape",
                         (int)lr->shape);
    }
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"base", lr->base},   {"end", lr->end},     {"warmup_start", lr->warmup_start},
        {"power", lr->power}, {"gamma", lr->gamma},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!isfinite(numbers[i].value))
            return dml__fail(ctx, DML_EINVAL, __func__, "%s is %g; use a finite number",
                             numbers[i].name, numbers[i].value);
    if (lr->power <= 0)
        return dml__fail(ctx, DML_EINVAL, __func__, "power is %g; use a number > 0",
                         lr->power);
    const double momenta[] = {lr->momentum, lr->momentum_low};
    for (size_t i = 0; i < 2; i++)
        if (!(momenta[i] >= 0 && momenta[i] < 1))
            return dml__fail(ctx, DML_EINVAL, __func__,
                             "momentum%s is %g; use a number from 0 to below 1",
                             i == 0 ? "" : "_low", momenta[i]);
    if (ends_at_total(lr) && lr->warmup_steps > lr->total_steps)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "warmup_steps is %llu, longer than total_steps, %llu",
                         (unsigned long long)lr->warmup_steps,
                         (unsigned long long)lr->total_steps);
    if (lr->shape == DML_LR_ONECYCLE &&
        lr->warmup_steps > lr->total_steps - lr->warmup_steps)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "warmup_steps is %llu: up and down are longer than "
                         "total_steps, %llu",
                         (unsigned long long)lr->warmup_steps,
                         (unsigned long long)lr->total_steps);
    return check_milestones(ctx, __func__, lr);
}

static double step_rate(const dml_lr *lr, uint64_t step)
{
    size_t passed = 0;
    while (passed < lr->nmilestones && lr->milestones[passed] <= step)
        passed++;
    return lr->base * pow(lr->gamma, (double)passed);
}

/* From "from" at step 0 of "length" towards "to". */
static double on_line(double from, double to, uint64_t step, uint64_t length)
{
    return from + (to - from) * (double)step / (double)length;
}

/* The power of the two usual exponents does without pow(), which may round. */
static double polynomial(double x, double power)
{
    return power == 1 ? x : power == 2 ? x * x : pow(x, power);
}

/* After the warm-up, which leads up. */
static double cycle_rate(const dml_lr *lr, uint64_t step)
{
    uint64_t length = lr->warmup_steps, turn = 2 * length;
    if (step < turn)
        return on_line(lr->base, lr->warmup_start, step - length, length);
    double from = length > 0 ? lr->warmup_start : lr->base;
    return step == turn ? from
                        : on_line(from, lr->end, step - turn, lr->total_steps - turn);
}

/* Shapes with an end. For cosine and poly "left" is the part of the way from end to
 * base that is left. */
static double falling_rate(const dml_lr *lr, uint64_t step)
{
    if (step >= lr->total_steps)
        return lr->end;
    if (step == lr->warmup_steps)
        return lr->base;
    if (lr->shape == DML_LR_ONECYCLE)
        return cycle_rate(lr, step);
    double t = (double)(step - lr->warmup_steps) /
               (double)(lr->total_steps - lr->warmup_steps);
    double left = lr->shape == DML_LR_COSINE ? (1 + cos(pi * t)) / 2
                                             : polynomial(1 - t, lr->power);
    return lr->end + (lr->base - lr->end) * left;
}

double dml_lr_at(const dml_lr *lr, uint64_t step)
{
    if (step < lr->warmup_steps)
        return on_line(lr->warmup_start, lr->base, step, lr->warmup_steps);
    if (ends_at_total(lr))
        return falling_rate(lr, step);
    return lr->shape == DML_LR_STEP ? step_rate(lr, step) : lr->base;
}

double dml_lr_momentum_at(const dml_lr *lr, uint64_t step)
{
    const uint64_t length = lr->warmup_steps;
    if (lr->shape != DML_LR_ONECYCLE || step >= 2 * length)
        return lr->momentum;
    if (step < length)
        return on_line(lr->momentum, lr->momentum_low, step, length);
    return on_line(lr->momentum_low, lr->momentum, step - length, length);
}

double dml_lr_scale_linear(double base, double factor)
{
    return base * factor;
}

double dml_lr_scale_sqrt(double base, double factor)
{
    return base * sqrt(factor);
}
