/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Symmetric memory: what dml_alloc gives is mapped by all ranks of the node, so that
 * collectives read and write it where it lies.
 *
 * A rank tells its peers where a buffer is by a *place*: number of the allocation and
 * offset in it, or, of any other memory, the address in its own process. All ranks
 * number allocations alike, because allocating is collective.
 */
#include "comm/comm_internal.h"
#include "comm/ledger.h"
#include "comm/share.h"

struct dml__segment {
    struct dml__segment *next;
    unsigned number;
    struct dml__share share; /* n is 0 where it could not be shared */
    char *own;
    size_t bytes;
};

enum { OFFSET_BITS = 48, NUMBERS = 1 << 15 };
static const uint64_t symmetric = (uint64_t)1 << 63;

/* Makes the memory of a segment; true when peers can reach it. */
static bool fill(dml_comm *comm, struct dml__segment *s)
{
    const char *why = "DML_SHM=0, or the node has one rank";
    if (comm->node != NULL && dml__share_open(comm->ctx, comm->node_mpi, s->bytes, true,
                                              &s->share, &why) == DML_OK) {
        s->own = s->share.at[comm->node_rank];
        return true;
    }
    if (comm->node != NULL && *why != '\0')
        dml__log(
            comm->ctx, DML_LOG_WARN,
            "dml_alloc: %zu bytes cannot be shared (%s); collectives on them copy, "
            "as on any memory",
            s->bytes, why);
    s->own = dml__alloc(comm->ctx, s->bytes);
    return false;
}

/* The next number that no living segment has. */
static unsigned free_number(dml_comm *comm)
{
    unsigned number = comm->next_segment++ % NUMBERS;
    for (const struct dml__segment *s = comm->segments; s != NULL; s = s->next)
        if (s->number == number)
            return free_number(comm);
    return number;
}

static void discard(struct dml__segment *s)
{
    if (s->share.n > 0)
        dml__share_close(&s->share);
    else
        dml__free(s->own);
    dml__free(s);
}

static dml_status allocate(dml_comm *comm, size_t bytes, void **memory)
{
    static const char where[] = "dml_alloc";
    DML_TRY(dml__comm_check(comm, where));
    struct dml__segment *s = dml__alloc(comm->ctx, sizeof *s);
    bool sane = s != NULL && bytes < (uint64_t)1 << OFFSET_BITS;
    double lacking = !sane;
    dml_status status = dml__comm_agree(comm, DML__ALLOCATE, &lacking, 1);
    if (status != DML_OK) {
        dml__free(s);
        return status;
    }
    unsigned number = free_number(comm);
    if (lacking == 0) {
        s->number = number;
        s->bytes = bytes > 0 ? bytes : 1;
        comm->nsymmetric += fill(comm, s);
        lacking = s->own == NULL;
        status = dml__comm_max(comm, &lacking, 1);
        if (lacking == 0 && status == DML_OK) {
            s->next = comm->segments;
            comm->segments = s;
            *memory = s->own;
            return DML_OK;
        }
        comm->nsymmetric -= s->share.n > 0;
        discard(s);
        if (status != DML_OK)
            return status;
    } else {
        dml__free(s);
    }
    return dml__fail(comm->ctx, DML_ENOMEM, where,
                     "no memory for %zu bytes here, or for another rank's share",
                     bytes);
}

dml_status dml_alloc(dml_comm *comm, size_t bytes, void **memory)
{
    if (comm == NULL)
        return DML_EINVAL;
    dml__comm_enter(comm);
    dml_status status = DML_EINVAL;
    if (memory != NULL) {
        status = allocate(comm, bytes, memory);
    } else {
        dml__fail(comm->ctx, DML_EINVAL, __func__, "memory is NULL");
        dml__roll_refuse(comm, DML__ALLOCATE, 0);
    }
    dml__comm_leave(comm);
    return status;
}

static dml_status release(dml_comm *comm, void *memory)
{
    if (comm->active != NULL)
        DML_TRY(dml__comm_drain(comm));
    for (struct dml__segment **link = &comm->segments; *link != NULL;
         link = &(*link)->next) {
        struct dml__segment *s = *link;
        if (s->own != memory)
            continue;
        *link = s->next;
        comm->nsymmetric -= s->share.n > 0;
        discard(s);
        return DML_OK;
    }
    return dml__fail(comm->ctx, DML_EINVAL, "dml_free",
                     "%p was not allocated on this communicator, or is free already",
                     memory);
}

dml_status dml_free(dml_comm *comm, void *memory)
{
    if (comm == NULL)
        return DML_EINVAL;
    if (memory == NULL)
        return DML_OK;
    dml__comm_enter(comm);
    dml_status status = release(comm, memory);
    dml__comm_leave(comm);
    return status;
}

void dml__segments_free(dml_comm *comm)
{
    while (comm->segments != NULL) {
        struct dml__segment *s = comm->segments;
        comm->segments = s->next;
        discard(s);
    }
}

bool dml__comm_has_symmetric(const dml_comm *comm)
{
    return comm->nnodes == 1 && comm->nsymmetric > 0;
}

uint64_t dml__place(const dml_comm *comm, const void *buf, size_t bytes)
{
    uintptr_t at = (uintptr_t)buf;
    for (const struct dml__segment *s = comm->segments; s != NULL; s = s->next) {
        uintptr_t begin = (uintptr_t)s->own;
        if (s->share.n > 0 && at >= begin && at < begin + s->bytes &&
            bytes <= s->bytes - (at - begin))
            return symmetric | (uint64_t)s->number << OFFSET_BITS | (at - begin);
    }
    return at;
}

bool dml__place_shared(uint64_t place)
{
    return place & symmetric;
}

void *dml__place_here(const dml_comm *comm, int node_rank, uint64_t place)
{
    unsigned number = (unsigned)(place >> OFFSET_BITS) % NUMBERS;
    uint64_t offset = place & (((uint64_t)1 << OFFSET_BITS) - 1);
    for (const struct dml__segment *s = comm->segments; s != NULL; s = s->next)
        if (s->share.n > 0 && s->number == number && offset < s->share.bytes[node_rank])
            return s->share.at[node_rank] + offset;
    return NULL;
}
