/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Do all ranks mean the same tensors? A mismatch found here is one line; found later it
 * would be a hang or wrong numbers.
 */
#include "comm/comm.h"
#include "sync/reducer.h"

/* Where a rank differs from rank 0; sent from the first such rank to all. */
struct difference {
    uint64_t tensor; /* its index; the number of tensors when that differs */
    int64_t seen, expected;
    char what[16], name[64];
};

uint64_t dml__hash(uint64_t hash, const void *data, size_t bytes)
{
    const unsigned char *byte = data;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3);
    return hash;
}

dml_status dml__same_everywhere(dml_comm *comm, uint64_t hash, bool *same)
{
    double own = (double)(hash >> 12), most[2] = {own, -own}; /* exact in f64 */
    DML_TRY(dml__comm_max(comm, most, 2));
    *same = most[0] + most[1] == 0;
    return DML_OK;
}

static void set_text(char *to, size_t room, const char *from)
{
    size_t i = 0;
    for (; from != NULL && from[i] != '\0' && i + 1 < room; i++)
        to[i] = from[i];
    to[i] = '\0';
}

/* Compares with rank 0's description, two numbers a tensor; true when all is equal. */
static bool compare(const dml_tensor *tensors, size_t n, const uint64_t *theirs,
                    struct difference *d)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t own[2] = {tensors[i].count, (uint64_t)tensors[i].dtype};
        static const char *const what[2] = {"count", "dtype"};
        for (int k = 0; k < 2; k++) {
            if (own[k] == theirs[2 * i + (size_t)k])
                continue;
            d->tensor = i;
            d->seen = (int64_t)own[k];
            d->expected = (int64_t)theirs[2 * i + (size_t)k];
            set_text(d->what, sizeof d->what, what[k]);
            set_text(d->name, sizeof d->name, tensors[i].name);
            return false;
        }
    }
    return true;
}

/* Ends the comparison: when some rank differs, all fail alike. Collective. */
static dml_status conclude(bool equal, struct difference *d, dml_comm *comm,
                           const char *where)
{
    int nranks = dml_comm_size(comm), rank = dml_comm_rank(comm);
    double lowest = equal ? 0 : nranks - rank; /* the largest belongs to the lowest */
    DML_TRY(dml__comm_max(comm, &lowest, 1));
    if (lowest <= 0)
        return DML_OK;
    int culprit = nranks - (int)lowest;
    DML_TRY(dml__bcast_now(d, sizeof *d, culprit, comm));
    return dml__fail_values(dml_comm_ctx(comm), DML_EMISMATCH, where, culprit, d->seen,
                            d->expected,
                            "rank %d registered tensor %llu (%s) with %s %lld, rank 0 "
                            "with %lld; register the same tensors on all ranks",
                            culprit, (unsigned long long)d->tensor, d->name, d->what,
                            (long long)d->seen, (long long)d->expected);
}

dml_status dml__verify_tensors(const dml_tensor *tensors, size_t n, dml_comm *comm,
                               const char *where)
{
    struct difference d = {.tensor = n};
    uint64_t expected = n;
    DML_TRY(dml__bcast_now(&expected, sizeof expected, 0, comm));
    d.seen = (int64_t)n;
    d.expected = (int64_t)expected;
    set_text(d.what, sizeof d.what, "number");
    DML_TRY(conclude(n == expected, &d, comm, where));

    dml_ctx *ctx = dml_comm_ctx(comm);
    uint64_t *theirs = dml__alloc(ctx, dml__mul(2 * n, sizeof *theirs));
    double missing = theirs == NULL;
    dml_status status = dml__comm_max(comm, &missing, 1);
    if (status == DML_OK && missing > 0)
        status = dml__fail(ctx, DML_ENOMEM, where, "no memory to compare tensors");
    if (status == DML_OK) {
        for (size_t i = 0; i < n; i++) {
            theirs[2 * i] = tensors[i].count;
            theirs[2 * i + 1] = (uint64_t)tensors[i].dtype;
        }
        status = dml__bcast_now(theirs, 2 * n * sizeof *theirs, 0, comm);
    }
    if (status == DML_OK)
        status = conclude(compare(tensors, n, theirs, &d), &d, comm, where);
    dml__free(theirs);
    return status;
}
