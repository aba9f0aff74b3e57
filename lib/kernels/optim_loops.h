/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loops of the optimizers: SGD's and Adam's families, and what gradients go through
 * before. Included once by set.c. See dml_optim_step() for the equations.
 */
#ifndef DML__OPTIM_LOOPS_H
#define DML__OPTIM_LOOPS_H

/* By the bits, as the compiler may take it that arithmetic never traps. */
static bool finite_f32(size_t n, const float *x)
{
    const uint32_t exponent = 0x7f800000u;
    uint32_t bad = 0;
    _Pragma("omp simd reduction(| : bad)") for (size_t i = 0; i < n; i++)
    {
        uint32_t u = dml__f32_bits(get_F32(x, i));
        bad |= (u & exponent) == exponent ? 1u : 0u;
    }
    return bad == 0;
}

static void clip_f32(size_t n, float limit, float *x)
{
    INDEPENDENT
    for (size_t i = 0; i < n; i++)
        put_F32(x, i, dml__clip_element(get_F32(x, i), limit));
}

static void two_sumsq_f32(size_t n, const float *x, const float *y, double sums[2])
{
    double xs[LANES] = {0}, ys[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        add_squares(xs, x + i, LANES);
        add_squares(ys, y + i, LANES);
    }
    add_squares(xs, x + i, n - i);
    add_squares(ys, y + i, n - i);
    sums[0] = fold_lanes(xs);
    sums[1] = fold_lanes(ys);
}

static void sgd_plain(size_t n, float *w, const float *g,
                      const struct dml__sgd_args *args)
{
    const struct dml__sgd_args a = *args;
    INDEPENDENT
    for (size_t i = 0; i < n; i++) {
        float weight = get_F32(w, i);
        put_F32(w, i, weight - a.out * dml__sgd_push(weight, get_F32(g, i), &a));
    }
}

/* Called with a constant "nesterov", so that each has a loop without questions. */
static inline void sgd_with_velocity(size_t n, float *w, const float *g, float *v,
                                     struct dml__sgd_args a, bool nesterov)
{
    a.nesterov = nesterov;
    INDEPENDENT
    for (size_t i = 0; i < n; i++) {
        float weight = get_F32(w, i);
        float push = dml__sgd_push(weight, get_F32(g, i), &a);
        float velocity = dml__sgd_velocity(get_F32(v, i), push, &a);
        put_F32(v, i, velocity);
        put_F32(w, i, weight - a.out * dml__sgd_step(velocity, push, &a));
    }
}

static void sgd_f32(size_t n, float *w, const float *g, float *velocity,
                    const struct dml__sgd_args *args)
{
    if (velocity == NULL)
        sgd_plain(n, w, g, args);
    else if (args->nesterov)
        sgd_with_velocity(n, w, g, velocity, *args, true);
    else
        sgd_with_velocity(n, w, g, velocity, *args, false);
}

static void adam_f32(size_t n, float *w, const float *g, float *m, float *v,
                     const struct dml__adam_args *args)
{
    const struct dml__adam_args a = *args;
    INDEPENDENT
    for (size_t i = 0; i < n; i++) {
        float weight = get_F32(w, i);
        float gradient = get_F32(g, i) + a.grad_decay * weight;
        float first = dml__adam_mean(get_F32(m, i), gradient, &a);
        float second = dml__adam_square(get_F32(v, i), gradient, &a);
        put_F32(m, i, first);
        put_F32(v, i, second);
        put_F32(w, i, weight - a.rate * dml__adam_step(weight, first, second, &a));
    }
}

/* n <= LANES. */
static inline void moments_part(size_t n, const float *w, const float *g, float *m,
                                float *v, float step[LANES],
                                const struct dml__adam_args *args)
{
    const struct dml__adam_args a = *args;
    INDEPENDENT
    for (size_t i = 0; i < n; i++) {
        float gradient = get_F32(g, i);
        float first = dml__adam_mean(get_F32(m, i), gradient, &a);
        float second = dml__adam_square(get_F32(v, i), gradient, &a);
        put_F32(m, i, first);
        put_F32(v, i, second);
        step[i] = dml__adam_step(get_F32(w, i), first, second, &a);
    }
}

static void moments_f32(size_t n, const float *w, const float *g, float *m, float *v,
                        double sums[2], const struct dml__adam_args *args)
{
    double steps[LANES] = {0}, weights[LANES] = {0};
    float step[LANES];
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        moments_part(LANES, w + i, g + i, m + i, v + i, step, args);
        add_squares(steps, step, LANES);
        add_squares(weights, w + i, LANES);
    }
    moments_part(n - i, w + i, g + i, m + i, v + i, step, args);
    add_squares(steps, step, n - i);
    add_squares(weights, w + i, n - i);
    sums[0] = fold_lanes(steps);
    sums[1] = fold_lanes(weights);
}

static void move_f32(size_t n, float *w, const float *m, const float *v,
                     const struct dml__adam_args *args)
{
    const struct dml__adam_args a = *args;
    INDEPENDENT
    for (size_t i = 0; i < n; i++) {
        float weight = get_F32(w, i);
        float step = dml__adam_step(weight, get_F32(m, i), get_F32(v, i), &a);
        put_F32(w, i, weight - a.rate * step);
    }
}

#endif
