/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sharded training (lib/sync) against a reducer with an optimizer that holds all of the
 * state: the same bits, step after step, for every rule, type and option.
 *
 * The contexts are in reproducible mode, in which the all-reduce and the reduce-scatter
 * add in the same order; one case runs without it, and compares to rounding.
 */
#include "sharded_misuse.h"
#include "sharded_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 20 };

/* Every slot of every tensor, gathered to the last rank, is that of the reference. */
static void compare_state(struct sharded_run *r)
{
    float *got = dml_test_alloc(70001 * sizeof *got);
    int root = r->t->nranks - 1;
    for (size_t i = 0; i < NTENSORS; i++)
        for (size_t k = 0; k < dml_optim_nslots(r->optim); k++) {
            dml_optim_slot want;
            (void)dml_optim_get_slot(r->optim, i, k, &want);
            dml_test_status(r->t, "dml_sharded_slot_gather",
                            dml_sharded_slot_gather(r->sharded, i, k,
                                                    r->t->rank == root ? got : NULL,
                                                    root),
                            DML_OK);
            if (r->t->rank == root)
                dml_test_bytes(r->t, want.name, got, want.data,
                               want.count * sizeof *got);
        }
    free(got);
}

/* A new object takes the state of the reference, which only rank 0 gives. */
static void restore(struct sharded_run *r)
{
    dml_optim_counters counters;
    dml_sharded_destroy(r->sharded);
    r->sharded = sharded_make(r);
    if (r->sharded == NULL)
        return;
    dml_optim_get_counters(r->optim, &counters);
    dml_test_status(r->t, "dml_optim_set_counters",
                    dml_optim_set_counters(dml_sharded_optim(r->sharded), &counters),
                    DML_OK);
    for (size_t i = 0; i < NTENSORS; i++)
        for (size_t k = 0; k < dml_optim_nslots(r->optim); k++) {
            dml_optim_slot slot;
            (void)dml_optim_get_slot(r->optim, i, k, &slot);
            dml_test_status(r->t, "dml_sharded_slot_scatter",
                            dml_sharded_slot_scatter(r->sharded, i, k,
                                                     r->t->rank == 0 ? slot.data : NULL,
                                                     0),
                            DML_OK);
        }
}

static void run_variant(struct dml_test *t, const struct sharded_variant *v)
{
    struct sharded_run r;
    dml_test_step(t, "%s, %s", t->name, v->text);
    if (sharded_open(&r, t, v, true))
        for (int step = 0; step < STEPS && t->failures == 0; step++) {
            if (step == STEPS / 2) {
                compare_state(&r);
                restore(&r);
                if (r.sharded == NULL)
                    break;
            }
            sharded_gradients(&r, step);
            sharded_step_whole(&r, step);
            sharded_step_cut(&r, step);
            sharded_compare(&r, step);
        }
    if (t->failures == 0) {
        dml_optim_info want, got;
        dml_optim_get_info(r.optim, &want);
        dml_optim_get_info(dml_sharded_optim(r.sharded), &got);
        DML_CHECK(t, want.skipped == got.skipped && want.loss_scale == got.loss_scale,
                  "skipped %d steps, not %d", (int)got.skipped, (int)want.skipped);
        DML_CHECK(t, (v->fault_step >= 0) == (want.skipped == 1), "skipped %d",
                  (int)want.skipped);
    }
    sharded_close(&r);
}

static void test_rules(struct dml_test *t)
{
    static const char *const names[] = {
#define NAME(ID, number, name) [number] = (name),
        DML_OPTIM_MAP(NAME)
#undef NAME
    };
    for (size_t rule = 0; rule < DML_TEST_COUNT(names); rule++) {
        struct sharded_variant v = {.text = names[rule],
                                    .rule = (dml_optim_rule)rule,
                                    .contiguous = rule % 2 == 0,
                                    .forward_order = rule % 4 == 0,
                                    .fault_step = -1};
        run_variant(t, &v);
    }
}

static void test_options(struct dml_test *t)
{
    static const struct sharded_variant variants[] = {
        {"SGD, Nesterov, clip by norm", DML_OPTIM_SGD, .contiguous = true,
         .clip_norm = 0.5, .nesterov = 1, .fault_step = -1},
        {"Adam, clip by norm", DML_OPTIM_ADAM, .clip_norm = 0.01, .fault_step = -1},
        {"LAMB, clip by norm", DML_OPTIM_LAMB, .clip_norm = 1, .fault_step = -1},
        {"LARS, clip by value", DML_OPTIM_LARS, .clip_value = 0.02, .fault_step = -1},
        {"AdamW, loss scale", DML_OPTIM_ADAMW, .loss_scale = 1024, .fault_step = 4},
        {"LAMB, loss scale", DML_OPTIM_LAMB, .contiguous = true, .loss_scale = 256,
         .fault_step = 13},
    };
    for (size_t i = 0; i < DML_TEST_COUNT(variants); i++)
        run_variant(t, &variants[i]);
}

static void test_16_bits(struct dml_test *t)
{
    static const struct sharded_variant variants[] = {
        {"bf16 parameters, f32 gradients, SGD", DML_OPTIM_SGD, DML_BF16, DML_F32,
         .contiguous = true, .fault_step = -1},
        {"bf16, LAMB", DML_OPTIM_LAMB, DML_BF16, DML_BF16, .contiguous = true,
         .forward_order = true, .fault_step = -1},
        {"bf16, LARS", DML_OPTIM_LARS, DML_BF16, DML_BF16, .fault_step = -1},
        {"f16, AdamW, loss scale", DML_OPTIM_ADAMW, DML_F16, DML_F16, .loss_scale = 128,
         .fault_step = 2},
    };
    for (size_t i = 0; i < DML_TEST_COUNT(variants); i++)
        run_variant(t, &variants[i]);
}

/* Without reproducible mode: the same bits on up to two ranks, else close. */
static void test_default_mode(struct dml_test *t)
{
    static const struct sharded_variant v = {"SGD", DML_OPTIM_SGD, .contiguous = true,
                                             .fault_step = -1};
    struct sharded_run r;
    dml_test_step(t, "%s", t->name);
    bool good = sharded_open(&r, t, &v, false);
    for (int step = 0; good && step < STEPS; step++) {
        sharded_gradients(&r, step);
        sharded_step_whole(&r, step);
        sharded_step_cut(&r, step);
    }
    if (good && t->nranks <= 2)
        sharded_compare(&r, STEPS);
    for (size_t i = 0; good && i < NTENSORS; i++) {
        const float *got = r.cut[i].param, *want = r.whole[i].param;
        for (size_t k = 0; k < sharded_sizes[i]; k++)
            if (!(fabsf(got[k] - want[k]) <= 1e-5f)) {
                dml_test_fail(t, "tensor %zu, element %zu: %g, not %g", i, k,
                              (double)got[k], (double)want[k]);
                break;
            }
    }
    sharded_close(&r);
}

/* ---- faults ------------------------------------------------------------------------
 */

static void expect_text(struct sharded_run *r, const char *want)
{
    dml_error error;
    dml_ctx_last_error(r->ctx, &error);
    DML_CHECK(r->t, strstr(error.text, want) != NULL, "\"%s\" does not say \"%s\"",
              error.text, want);
}

/* A NaN on one rank: all fail, it is named, nothing is changed, and training goes on.
 */
static void test_nan(struct dml_test *t)
{
    for (size_t rule = 0; rule <= DML_OPTIM_ADAGRAD; rule++) {
        struct sharded_variant v = {
            .rule = (dml_optim_rule)rule, .contiguous = true, .fault_step = -1};
        struct sharded_run r;
        char want[64];
        int culprit = t->nranks / 2;
        dml_test_step(t, "rule %zu", rule);
        if (sharded_open(&r, t, &v, true)) {
            sharded_gradients(&r, 0);
            sharded_step_whole(&r, 0);
            sharded_step_cut(&r, 0);
            sharded_gradients(&r, 1);
            if (t->rank == culprit)
                ((float *)(uintptr_t)r.cut[4].grad)[69999] = NAN;
            (void)dml_sharded_begin(r.sharded);
            for (size_t i = 0; i < NTENSORS; i++)
                (void)dml_sharded_ready(r.sharded, i);
            dml_test_status(t, "a NaN", dml_sharded_step(r.sharded, 0.1), DML_ENUMERIC);
            expect_text(&r, "fc.weight");
            snprintf(want, sizeof want, "rank %d", culprit);
            expect_text(&r, want);
            expect_text(&r, "step 2");
            sharded_compare(&r, 0);
            sharded_gradients(&r, 1);
            sharded_step_whole(&r, 1);
            sharded_step_cut(&r, 1);
            sharded_compare(&r, 1);
        }
        sharded_close(&r);
    }
}

/* Gradients that are not ready on a rank count as zero there, and are not touched, nor
 * looked at: here they are no numbers. */
static void check_unused(struct dml_test *t, const struct sharded_variant *v)
{
    static const size_t unused[2] = {0, 8};
    struct sharded_run r;
    if (sharded_open(&r, t, v, true)) {
        sharded_gradients(&r, 0);
        for (int k = 0; k < 2 && t->rank == 0; k++) {
            const size_t bytes = sharded_sizes[unused[k]] * sizeof(float);
            memset((void *)(uintptr_t)r.whole[unused[k]].grad, 0, bytes);
            memset((void *)(uintptr_t)r.cut[unused[k]].grad, 0xff, bytes);
        }
        sharded_step_whole(&r, 0);
        (void)dml_sharded_begin(r.sharded);
        for (size_t i = 0; i < NTENSORS; i++)
            if (t->rank != 0 || (i != unused[0] && i != unused[1]))
                dml_test_status(t, "ready", dml_sharded_ready(r.sharded, i), DML_OK);
        dml_test_status(t, "step", dml_sharded_step(r.sharded, sharded_rate(0)),
                        DML_OK);
        dml_test_status(t, "wait", dml_sharded_wait_all(r.sharded), DML_OK);
        sharded_compare(&r, 0);
        for (int k = 0; k < 2 && t->rank == 0; k++) {
            const unsigned char *grad = r.cut[unused[k]].grad;
            size_t at = 0;
            while (at < sharded_sizes[unused[k]] * sizeof(float) && grad[at] == 0xff)
                at++;
            DML_CHECK(t, at == sharded_sizes[unused[k]] * sizeof(float),
                      "gradient %zu was written to at byte %zu", unused[k], at);
        }
        /* All are ready again. */
        sharded_gradients(&r, 1);
        sharded_step_whole(&r, 1);
        sharded_step_cut(&r, 1);
        sharded_compare(&r, 1);
    }
    sharded_close(&r);
}

static void test_unused(struct dml_test *t)
{
    static const struct sharded_variant variants[] = {
        {"SGD", DML_OPTIM_SGD, .fault_step = -1},
        {"SGD", DML_OPTIM_SGD, .contiguous = true, .fault_step = -1},
        {"LAMB", DML_OPTIM_LAMB, .contiguous = true, .forward_order = true,
         .fault_step = -1},
    };
    for (size_t i = 0; i < DML_TEST_COUNT(variants); i++)
        check_unused(t, &variants[i]);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"rules", test_rules},
        {"options", test_options},
        {"16 bits", test_16_bits},
        {"default mode", test_default_mode},
        {"a NaN is named", test_nan},
        {"unused gradients", test_unused},
        {"bytes of state", test_sharded_bytes},
        {"calls out of order", test_sharded_calls},
        {"registration", test_sharded_registration},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
