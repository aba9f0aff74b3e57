/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Optimizers on a device against those on the host: every rule, option and type, on odd
 * counts, addresses and numbers, bit for bit. On the fake device unless DML_GPU says
 * otherwise.
 */
#include "gpu_optim_fixture.h"

enum { STEPS = 4 };

static const dml_optim_rule rules[] = {DML_OPTIM_SGD,   DML_OPTIM_ADAM,
                                       DML_OPTIM_ADAMW, DML_OPTIM_LARS,
                                       DML_OPTIM_LAMB,  DML_OPTIM_ADAGRAD};
enum { NRULES = sizeof rules / sizeof *rules };

/* ---- options -----------------------------------------------------------------------
 */

static void plain(dml_optim_opts *o)
{
    (void)o;
}

static void clipped(dml_optim_opts *o)
{
    o->clip_norm = 0.5;
}

static void cut(dml_optim_opts *o)
{
    o->clip_value = 0.01;
}

static void scaled(dml_optim_opts *o)
{
    o->loss_scale = 1000;
    o->loss_scale_window = 2;
}

static void scaled_and_clipped(dml_optim_opts *o)
{
    scaled(o);
    clipped(o);
}

static void first(dml_optim_opts *o)
{
    o->finite = DML_FINITE_FIRST;
}

static void unchecked(dml_optim_opts *o)
{
    o->finite = DML_FINITE_OFF;
}

static void nesterov(dml_optim_opts *o)
{
    o->momentum = 0.8;
    o->nesterov = true;
    o->weight_decay = 0.03;
}

static void inside(dml_optim_opts *o)
{
    o->velocity = DML_RATE_INSIDE;
    o->momentum_correction = true;
    o->trust_max = 0.1;
}

static void outside(dml_optim_opts *o)
{
    o->velocity = DML_RATE_OUTSIDE;
    o->bias_correction = false;
    o->weight_decay = 0.1;
}

static void no_momentum(dml_optim_opts *o)
{
    o->momentum = 0;
    o->beta1 = 0;
}

static const struct {
    const char *name;
    void (*set)(dml_optim_opts *opts);
} variants[] = {
    {"plain", plain},
    {"clip_norm", clipped},
    {"clip_value", cut},
    {"loss_scale", scaled},
    {"first", first},
    {"loss_scale, clip_norm", scaled_and_clipped},
    {"off", unchecked},
    {"nesterov", nesterov},
    {"inside", inside},
    {"outside", outside},
    {"no momentum", no_momentum},
};
enum { NVARIANTS = sizeof variants / sizeof *variants };

static const dml_dtype types[][2] = {{DML_F32, DML_F32},
                                     {DML_BF16, DML_BF16},
                                     {DML_F16, DML_F16},
                                     {DML_BF16, DML_F32},
                                     {DML_F32, DML_F16}};
enum { NTYPES = sizeof types / sizeof *types };

static const size_t counts[] = {5,    0,    1024, 1,    33,  31,   32,
                                1023, 1025, 0,    3079, 999, 2048, 70000};
enum { NCOUNTS = sizeof counts / sizeof *counts };

static void one_case(dml_optim_rule rule, size_t variant, size_t type, bool odd)
{
    char what[96];
    dml_optim_opts opts;
    dml_optim_opts_init(&opts, rule);
    variants[variant].set(&opts);
    snprintf(what, sizeof what, "rule %d, %s, types %zu", (int)rule,
             variants[variant].name, type);
    /* The last one is for few cases: its norms have more blocks than a warp lanes. */
    struct pair *p = make(counts, variant < 2 && type < 2 ? NCOUNTS : NCOUNTS - 1,
                          types[type][0], types[type][1], odd);
    open_pair(p, rule, &opts);
    for (int i = 0; i < STEPS; i++) {
        new_grads(p, odd);
        step(p, 0.1 / (i % 3 + 1), what);
    }
    close_pair(p);
}

static void steps_have_the_bits_of_the_host(void **state)
{
    (void)state;
    for (size_t r = 0; r < NRULES; r++)
        for (size_t v = 0; v < NVARIANTS; v++)
            for (size_t t = 0; t < NTYPES; t++)
                one_case(rules[r], v, t, (v + t) % 2 == 1);
}

static void thousand_tensors(void **state)
{
    (void)state;
    static size_t many[MOST];
    for (size_t i = 0; i < MOST; i++)
        many[i] = i * 37 % 211;
    for (size_t r = 0; r < NRULES; r++) {
        struct pair *p = make(many, MOST, DML_F32, DML_F32, false);
        open_pair(p, rules[r], NULL);
        for (int i = 0; i < 2; i++) {
            new_grads(p, false);
            assert_int_equal(step(p, 0.1, "thousand"), DML_OK);
        }
        close_pair(p);
    }
    struct pair *none = make(many, 0, DML_F32, DML_F32, false);
    open_pair(none, DML_OPTIM_LAMB, NULL);
    assert_int_equal(step(none, 0.1, "none"), DML_OK);
    close_pair(none);
}

/* ---- faults ------------------------------------------------------------------------
 */

static void spoil(struct pair *p, size_t tensor, size_t element, float bad)
{
    const dml_param *h = &p->host[tensor];
    put(p->grads + ((char *)h->param - p->params), h->grad_dtype, element, bad);
    gpu_copy(p->device_grads, p->grads, p->bytes);
}

static void what_is_not_finite_is_named_as_on_the_host(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t r = 0; r < NRULES; r++)
        for (size_t v = 0; v < NVARIANTS; v++) {
            dml_optim_opts opts;
            dml_optim_opts_init(&opts, rules[r]);
            variants[v].set(&opts);
            opts.rank = 3;
            struct pair *p = make(counts, NCOUNTS - 1, DML_F32, DML_F32, false);
            open_pair(p, rules[r], &opts);
            new_grads(p, false);
            step(p, 0.1, variants[v].name);
            new_grads(p, false);
            spoil(p, 8, 1024, bad[v % 3]);
            spoil(p, 7, 30, bad[v % 3]);
            dml_status status = step(p, 0.1, variants[v].name);
            if (opts.loss_scale > 0 || opts.finite == DML_FINITE_OFF)
                assert_int_equal(status, DML_OK);
            else
                assert_int_equal(status, DML_ENUMERIC);
            new_grads(p, false);
            step(p, 0.1, "after a fault");
            close_pair(p);
        }
}

static void steps_after_a_fault_change_nothing(void **state)
{
    (void)state;
    struct pair *p = make(counts, NCOUNTS - 1, DML_F32, DML_F32, false);
    dml_optim_opts opts;
    dml_optim_opts_init(&opts, DML_OPTIM_ADAMW);
    opts.finite = DML_FINITE_FIRST;
    open_pair(p, DML_OPTIM_ADAMW, &opts);
    new_grads(p, false);
    spoil(p, 4, 7, NAN);
    dml_status status = DML_OK;
    for (int i = 0; i < 3 && status == DML_OK; i++) /* the host may see it early */
        status = dml_optim_step(p->on_device, 0.1);
    if (status == DML_OK)
        status = dml_optim_wait(p->on_device);
    assert_int_equal(status, DML_ENUMERIC);
    assert_int_equal(dml_optim_step(p->on_host, 0.1), DML_ENUMERIC);
    expect_same(p, "after a fault");
    expect_same_info(p);
    new_grads(p, false);
    assert_int_equal(step(p, 0.1, "made good"), DML_OK);
    close_pair(p);
}

/* ---- the other calls ---------------------------------------------------------------
 */

static void rates_from_memory_counters_and_momentum(void **state)
{
    (void)state;
    struct pair *p = make(counts, NCOUNTS - 1, DML_BF16, DML_F32, false);
    dml_optim_opts opts;
    dml_optim_opts_init(&opts, DML_OPTIM_LARS);
    opts.loss_scale = 4;
    open_pair(p, DML_OPTIM_LARS, &opts);
    double rate = 0.25, *there = gpu_new(sizeof rate);
    gpu_copy(there, &rate, sizeof rate);
    dml_optim_read_rate(p->on_host, &rate);
    dml_optim_read_rate(p->on_device, there);
    new_grads(p, false);
    assert_int_equal(step(p, 7, "a rate in memory"), DML_OK);
    dml_optim_counters counters = {
        .steps = 12345, .skipped = 3, .good_steps = 7, .loss_scale = 8, .last_lr = 0.5};
    assert_int_equal(dml_optim_set_counters(p->on_host, &counters), DML_OK);
    assert_int_equal(dml_optim_set_counters(p->on_device, &counters), DML_OK);
    dml_optim_set_momentum(p->on_host, 0.7);
    dml_optim_set_momentum(p->on_device, 0.7);
    dml_gpu_stream stream = NULL;
    assert_int_equal(dml_gpu_stream_create(gpu_ctx, &stream), DML_OK);
    assert_int_equal(dml_optim_set_stream(p->on_device, stream), DML_OK);
    new_grads(p, false);
    assert_int_equal(step(p, 7, "after that"), DML_OK);
    /* Somebody else wrote the parameters. */
    for (size_t k = 0; k < counts[2]; k++)
        put(p->host[2].param, DML_BF16, k, gpu_value(false));
    send_all(p);
    dml_optim_reload(p->on_host);
    dml_optim_reload(p->on_device);
    new_grads(p, false);
    assert_int_equal(step(p, 7, "reloaded"), DML_OK);
    assert_int_equal(dml_optim_set_stream(p->on_device, NULL), DML_OK);
    assert_int_equal(dml_gpu_stream_destroy(gpu_ctx, stream), DML_OK);
    gpu_delete(there);
    close_pair(p);
}

static void tensors_in_two_places_are_refused(void **state)
{
    (void)state;
    struct pair *p = make(counts, NCOUNTS - 1, DML_F32, DML_F32, false);
    dml_optim *optim = NULL;
    dml_error error;
    p->device[4] = p->host[4];
    assert_int_equal(
        dml_optim_create(gpu_ctx, DML_OPTIM_SGD, p->device, p->n, NULL, &optim),
        DML_EINVAL);
    dml_ctx_last_error(gpu_ctx, &error);
    assert_non_null(strstr(error.text, "params[4] on the host"));
    p->device[0].grad = p->host[0].grad;
    assert_int_equal(
        dml_optim_create(gpu_ctx, DML_OPTIM_SGD, p->device, p->n, NULL, &optim),
        DML_EINVAL);
    dml_ctx_last_error(gpu_ctx, &error);
    assert_non_null(strstr(error.text, "grad on the host"));
    p->device[0].grad = (char *)p->device_grads + 2;
    assert_int_equal(
        dml_optim_create(gpu_ctx, DML_OPTIM_SGD, p->device, 1, NULL, &optim),
        DML_EINVAL);
    dml_ctx_last_error(gpu_ctx, &error);
    assert_non_null(strstr(error.text, "no multiple"));
    close_pair(p);
}

int main(void)
{
    gpu_skip_without_device();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_have_the_bits_of_the_host),
        cmocka_unit_test(thousand_tensors),
        cmocka_unit_test(what_is_not_finite_is_named_as_on_the_host),
        cmocka_unit_test(steps_after_a_fault_change_nothing),
        cmocka_unit_test(rates_from_memory_counters_and_momentum),
        cmocka_unit_test(tensors_in_two_places_are_refused),
    };
    return cmocka_run_group_tests(tests, gpu_open, gpu_close);
}
