/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reducer registered differently on one rank, and calls in the wrong order or with
 * wrong arguments: an error on all ranks that says what is wrong, and no hang.
 */
#include "reducer_misuse.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* The last rank registers something else; every rank is told which rank and tensor. */
static void mismatch(struct dml_test *t, const char *what, size_t ntensors,
                     dml_tensor odd)
{
    float data[64] = {0};
    dml_tensor tensors[3] = {{data, 4, DML_F32, "weight"},
                             {data + 8, 5, DML_F32, "bias"},
                             {data + 16, 6, DML_F32, "scale"}};
    bool last = t->rank == t->nranks - 1;
    odd.data = data + 8;
    if (last)
        tensors[1] = odd;
    dml_reducer *reducer = NULL;
    dml_test_step(t, "%s", what);
    dml_test_error(
        t, what,
        dml_reducer_create(tensors, last ? ntensors : 3, NULL, t->comm, &reducer),
        DML_EMISMATCH);
    DML_CHECK(t, reducer == NULL, "a reducer was returned");
    dml_error error;
    dml_ctx_last_error(t->ctx, &error);
    char rank[24];
    snprintf(rank, sizeof rank, "rank %d", t->nranks - 1);
    DML_CHECK(t, strstr(error.text, rank) != NULL || error.rank == t->nranks - 1,
              "\"%s\" does not name %s", error.text, rank);
    if (ntensors == 3)
        DML_CHECK(t, strstr(error.text, "bias") != NULL || strstr(error.text, "1"),
                  "\"%s\" does not name the tensor", error.text);
}

void test_reducer_mismatch(struct dml_test *t)
{
    if (t->nranks == 1) {
        dml_test_skip(t, "needs a second rank");
        return;
    }
    dml_tensor same = {NULL, 5, DML_F32, "bias"};
    mismatch(t, "another count", 3, (dml_tensor){NULL, 7, DML_F32, "bias"});
    mismatch(t, "another type", 3, (dml_tensor){NULL, 5, DML_F64, "bias"});
    mismatch(t, "fewer tensors", 2, same);
}

void test_reducer_misuse(struct dml_test *t)
{
    float data[8] = {0};
    dml_tensor tensors[2] = {{data, 4, DML_F32, "weight"}, {data + 4, 4, DML_F32, "b"}};
    dml_tensor integer = {data, 4, DML_I32, "counter"};
    dml_tensor unknown = {data, 4, (dml_dtype)99, "?"};
    dml_tensor nowhere = {NULL, 4, DML_F32, "nowhere"};
    dml_reducer *reducer = NULL, *none = NULL;
    dml_test_step(t, "create");
    dml_test_error(t, "integer tensor",
                   dml_reducer_create(&integer, 1, NULL, t->comm, &none), DML_EINVAL);
    dml_test_error(t, "type 99", dml_reducer_create(&unknown, 1, NULL, t->comm, &none),
                   DML_EINVAL);
    dml_test_error(t, "data NULL",
                   dml_reducer_create(&nowhere, 1, NULL, t->comm, &none), DML_EINVAL);
    dml_test_error(t, "tensors NULL", dml_reducer_create(NULL, 2, NULL, t->comm, &none),
                   DML_EINVAL);
    dml_reducer_opts opts;
    dml_reducer_opts_init(&opts);
    opts.size = offsetof(dml_reducer_opts, codec);
    dml_test_error(t, "options of another size",
                   dml_reducer_create(tensors, 2, &opts, t->comm, &none), DML_EINVAL);
    dml_reducer_opts_init(&opts);
    opts.bucket_bytes = 0;
    dml_test_error(t, "empty buckets",
                   dml_reducer_create(tensors, 2, &opts, t->comm, &none), DML_EINVAL);
    DML_CHECK(t, none == NULL, "a reducer was returned");
    dml_test_status(t, "dml_reducer_create",
                    dml_reducer_create(tensors, 2, NULL, t->comm, &reducer), DML_OK);
    dml_test_step(t, "no step open");
    dml_test_error(t, "ready", dml_reducer_ready(reducer, 0), DML_EINVAL);
    dml_test_error(t, "finish", dml_reducer_finish(reducer), DML_EINVAL);
    dml_test_step(t, "in a step");
    dml_test_status(t, "begin", dml_reducer_begin(reducer, true), DML_OK);
    dml_test_error(t, "begin twice", dml_reducer_begin(reducer, true), DML_EINVAL);
    dml_test_error(t, "index 2", dml_reducer_ready(reducer, 2), DML_EINVAL);
    dml_test_status(t, "ready", dml_reducer_ready(reducer, 1), DML_OK);
    dml_test_error(t, "ready twice", dml_reducer_ready(reducer, 1), DML_EINVAL);
    dml_test_status(t, "ready", dml_reducer_ready(reducer, 0), DML_OK);
    dml_test_status(t, "finish", dml_reducer_finish(reducer), DML_OK);
    dml_reducer_destroy(reducer);
    dml_reducer_destroy(NULL);
}

void test_sync_bcast_misuse(struct dml_test *t)
{
    float x = 0;
    dml_tensor one = {&x, 1, DML_F32, "one"}, odd = {&x, 1, (dml_dtype)99, "odd"};
    dml_test_step(t, "wrong arguments");
    dml_test_error(t, "root P", dml_sync_bcast(&one, 1, t->nranks, t->comm),
                   DML_EINVAL);
    dml_test_error(t, "root -1", dml_sync_bcast(&one, 1, -1, t->comm), DML_EINVAL);
    dml_test_error(t, "type 99", dml_sync_bcast(&odd, 1, 0, t->comm), DML_EINVAL);
    dml_test_error(t, "NULL", dml_sync_bcast(NULL, 1, 0, t->comm), DML_EINVAL);
}
