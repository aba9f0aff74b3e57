/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reducer whose state was saved and set in another one goes on with the same bits,
 * with every codec; a state that does not fit is refused by all ranks.
 */
#include "dml_test.h"

#include <stdlib.h>
#include <string.h>

enum { NGRADS = 5, STEPS = 9, MOST_COUNT = 6000 };

static const size_t counts[NGRADS] = {6000, 64, 3000, 1, 1200};
static const size_t rows[NGRADS] = {60, 1, 50, DML_KEEP_DENSE, 30};

struct run {
    float *grads[NGRADS];
    dml_reducer *reducer;
};

static bool make(struct dml_test *t, struct run *run, const char *codec)
{
    dml_tensor tensors[NGRADS];
    dml_reducer_opts opts;
    dml_reducer_opts_init(&opts);
    opts.codec = codec;
    opts.rows = rows;
    opts.bucket_bytes = 8000;
    opts.first_bucket_bytes = 2000;
    for (size_t i = 0; i < NGRADS; i++) {
        run->grads[i] = dml_test_alloc(counts[i] * sizeof(float));
        tensors[i] = (dml_tensor){run->grads[i], counts[i], DML_F32, "g"};
    }
    run->reducer = NULL;
    return dml_test_status(
        t, "create", dml_reducer_create(tensors, NGRADS, &opts, t->comm, &run->reducer),
        DML_OK);
}

static void drop(struct run *run)
{
    dml_reducer_destroy(run->reducer);
    for (size_t i = 0; i < NGRADS; i++)
        free(run->grads[i]);
}

/* The gradients of a step, ready in an order that is no default. */
static void step(struct dml_test *t, struct run *run, uint64_t number)
{
    static const size_t order[NGRADS] = {3, 0, 4, 2, 1};
    dml_reducer_begin(run->reducer, true);
    for (size_t k = 0; k < NGRADS; k++) {
        size_t i = order[k];
        for (size_t e = 0; e < counts[i]; e++) {
            uint64_t hash = dml_test_hash(number * 100 + (uint64_t)t->rank, i, e);
            run->grads[i][e] = (float)(int32_t)hash * 0x1p-31f;
        }
        dml_reducer_ready(run->reducer, i);
    }
    dml_test_status(t, "finish", dml_reducer_finish(run->reducer), DML_OK);
}

static void same(struct dml_test *t, const struct run *a, const struct run *b)
{
    for (size_t i = 0; i < NGRADS; i++)
        dml_test_bytes(t, "gradient", b->grads[i], a->grads[i],
                       counts[i] * sizeof(float));
}

static void *save(struct dml_test *t, const struct run *run, size_t *bytes)
{
    *bytes = dml_reducer_state_bytes(run->reducer);
    void *state = dml_test_alloc(*bytes);
    dml_test_status(t, "get", dml_reducer_get_state(run->reducer, state, *bytes),
                    DML_OK);
    dml_test_error(t, "get", dml_reducer_get_state(run->reducer, state, *bytes - 1),
                   DML_EINVAL);
    return state;
}

static void goes_on(struct dml_test *t, const char *codec, uint64_t saved_at)
{
    struct run whole, later;
    size_t bytes = 0;
    dml_test_step(t, "codec %s, saved after %llu steps", codec,
                  (unsigned long long)saved_at);
    if (!make(t, &whole, codec) || !make(t, &later, codec))
        return;
    for (uint64_t n = 0; n < saved_at; n++)
        step(t, &whole, n);
    void *state = save(t, &whole, &bytes);
    bool set = dml_test_status(
        t, "set", dml_reducer_set_state(later.reducer, state, bytes), DML_OK);
    for (uint64_t n = saved_at; set && n < STEPS; n++) {
        step(t, &whole, n);
        step(t, &later, n);
        same(t, &whole, &later);
    }
    free(state);
    drop(&later);
    drop(&whole);
}

static void every_codec_goes_on(struct dml_test *t)
{
    static const char *const codecs[] = {"none",
                                         "f16,force",
                                         "bf16,force",
                                         "8bit,force",
                                         "onebit,force",
                                         "sign,force,start=3",
                                         "terngrad,force",
                                         "topk:0.05,force",
                                         "dgc:0.01,warmup=6,force",
                                         "randomk:0.1,force",
                                         "powersgd:2,force"};
    for (size_t i = 0; i < DML_TEST_COUNT(codecs); i++)
        for (uint64_t at = 0; at < STEPS; at += 4)
            goes_on(t, codecs[i], at);
}

static void what_was_measured_goes_on(struct dml_test *t)
{
    struct run whole, later;
    dml_bucket_info a, b;
    size_t bytes = 0;
    if (!make(t, &whole, "topk:0.01") || !make(t, &later, "topk:0.01"))
        return;
    step(t, &whole, 0);
    void *state = save(t, &whole, &bytes);
    dml_test_status(t, "set", dml_reducer_set_state(later.reducer, state, bytes),
                    DML_OK);
    for (size_t i = 0; dml_reducer_get_bucket(whole.reducer, i, &a) == DML_OK; i++) {
        dml_test_status(t, "bucket", dml_reducer_get_bucket(later.reducer, i, &b),
                        DML_OK);
        DML_CHECK(t,
                  a.compressed == b.compressed && a.count == b.count && a.why == b.why,
                  "bucket %zu is %scompressed", i, b.compressed ? "" : "not ");
    }
    free(state);
    drop(&later);
    drop(&whole);
}

/* A state with one byte more, less, or another on the last rank. */
static void wrong_states_are_refused(struct dml_test *t)
{
    for (int kind = 0; kind < 5; kind++) {
        struct run whole, later;
        size_t bytes = 0;
        bool mine = t->rank == t->nranks - 1;
        dml_test_step(t, "kind %d", kind);
        if (!make(t, &whole, "dgc:0.1,force") ||
            !make(t, &later, kind == 4 ? "topk:0.1,force" : "dgc:0.1,force"))
            return;
        step(t, &whole, 0);
        unsigned char *state = save(t, &whole, &bytes);
        size_t given = bytes;
        if (mine && kind == 0)
            given--;
        if (mine && kind == 1)
            state[0] ^= 1;
        if (mine && kind == 2) /* the first entry of the order twice */
            memcpy(state + 56, state + 48, 8);
        if (mine && kind == 3)
            given = 40;
        dml_status want = mine || kind == 4 ? DML_EFORMAT : DML_EMISMATCH;
        dml_test_error(t, "set", dml_reducer_set_state(later.reducer, state, given),
                       want);
        free(state);
        drop(&later);
        drop(&whole);
    }
}

/* Of the format before: codecs that draw nothing take it, others drew otherwise. */
static void an_earlier_version_is_named(struct dml_test *t)
{
    static const char *const codecs[] = {"none", "topk:0.1,force", "terngrad,force",
                                         "randomk:0.1,force", "powersgd:2,force"};
    for (size_t i = 0; i < DML_TEST_COUNT(codecs); i++) {
        struct run whole, later;
        size_t bytes = 0;
        dml_test_step(t, "codec %s", codecs[i]);
        if (!make(t, &whole, codecs[i]) || !make(t, &later, codecs[i]))
            return;
        step(t, &whole, 0);
        char *state = save(t, &whole, &bytes);
        DML_CHECK(t, memcmp(state, "DMLSTAT2", 8) == 0, "it begins with %.8s", state);
        state[7] = '1';
        dml_status status = dml_reducer_set_state(later.reducer, state, bytes);
        if (i < 2) {
            dml_test_status(t, "set", status, DML_OK);
            step(t, &whole, 1);
            step(t, &later, 1);
            same(t, &whole, &later);
        } else {
            dml_error error;
            dml_ctx_last_error(dml_comm_ctx(t->comm), &error);
            dml_test_error(t, "set", status, DML_EFORMAT);
            DML_CHECK(t, strstr(error.text, "an earlier version") != NULL,
                      "the text is \"%s\"", error.text);
        }
        free(state);
        drop(&later);
        drop(&whole);
    }
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"every codec goes on", every_codec_goes_on},
        {"what was measured goes on", what_was_measured_goes_on},
        {"wrong states are refused", wrong_states_are_refused},
        {"an earlier version is named", an_earlier_version_is_named},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
