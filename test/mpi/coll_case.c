/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The buffers of a collective call before and after it; see coll_case.h. What each
 * collective means is written down here once, element by element, from its definition.
 */
#include "coll_case.h"

#include <stdlib.h>
#include <string.h>

bool coll_reduces(dml_coll coll)
{
    return coll == DML_COLL_ALLREDUCE || coll == DML_COLL_REDUCE ||
           coll == DML_COLL_REDUCE_SCATTER;
}

bool coll_has_blocks(dml_coll coll)
{
    return coll == DML_COLL_REDUCE_SCATTER || coll == DML_COLL_ALLGATHER ||
           coll == DML_COLL_GATHER || coll == DML_COLL_SCATTER;
}

bool coll_has_root(dml_coll coll)
{
    return coll == DML_COLL_BCAST || coll == DML_COLL_REDUCE ||
           coll == DML_COLL_GATHER || coll == DML_COLL_SCATTER;
}

void coll_env_open(struct coll_env *env, struct dml_test *t, dml_comm *comm,
                   MPI_Comm mpi)
{
    *env = (struct coll_env){.t = t, .comm = comm, .mpi = mpi};
    env->rank = dml_comm_rank(comm);
    env->nranks = dml_comm_size(comm);
    dml_test_status(t, "dml_op_create_premul_sum",
                    dml_op_create_premul_sum(numbers_scale(DML_F32, env->rank), comm,
                                             &env->premul_float),
                    DML_OK);
    dml_test_status(t, "dml_op_create_premul_sum",
                    dml_op_create_premul_sum(numbers_scale(DML_I32, env->rank), comm,
                                             &env->premul_integer),
                    DML_OK);
}

int coll_nodes(const struct coll_env *env)
{
    int node_rank = 0, leader = 0, nnodes = 0;
    dml_comm_node(env->comm, &node_rank, NULL);
    leader = node_rank == 0;
    MPI_Allreduce(&leader, &nnodes, 1, MPI_INT, MPI_SUM, env->mpi);
    return nnodes;
}

void coll_env_close(struct coll_env *env)
{
    dml_test_status(env->t, "dml_op_destroy",
                    dml_op_destroy(env->premul_float, env->comm), DML_OK);
    dml_test_status(env->t, "dml_op_destroy",
                    dml_op_destroy(env->premul_integer, env->comm), DML_OK);
}

/* ---- layout ------------------------------------------------------------------------
 */

static void lay_out_blocks(struct coll_plan *p)
{
    int nranks = p->env->nranks;
    for (int r = 0; r < nranks; r++) {
        uint64_t h = dml_test_hash(p->c.seed, 77, (uint64_t)r);
        size_t uneven = h % 3 == 0 ? 0 : (size_t)(h >> 8) % (2 * p->c.count + 1);
        p->counts[r] = p->c.uneven ? uneven : p->c.count;
        p->total += p->counts[r];
    }
    size_t at = p->c.gaps ? 2 : 0;
    for (int i = 0; i < nranks; i++) {
        int r = p->c.gaps ? nranks - 1 - i : i;
        p->displs[r] = at;
        at += p->counts[r] + (p->c.gaps ? (size_t)i % 3 : 0);
    }
    p->extent = at;
}

/* Elements of this rank's two buffers, and its part of a reduction. */
static void size_buffers(struct coll_plan *p)
{
    int rank = p->env->rank;
    bool at_root = rank == p->c.root;
    size_t all = p->c.count * (size_t)p->env->nranks, own = p->counts[rank];
    switch (p->c.coll) {
    case DML_COLL_ALLREDUCE:
        p->send_len = p->recv_len = p->reduced = p->c.count;
        break;
    case DML_COLL_REDUCE:
        p->send_len = p->c.count;
        p->recv_len = p->reduced = at_root ? p->c.count : 0;
        break;
    case DML_COLL_REDUCE_SCATTER:
        p->send_len = p->recv_len = p->total;
        p->reduced = own;
        p->reduced_first = p->displs[rank];
        break;
    case DML_COLL_BCAST:
        p->recv_len = p->c.count;
        break;
    case DML_COLL_ALLGATHER:
        p->send_len = own;
        p->recv_len = p->extent;
        break;
    case DML_COLL_GATHER:
        p->send_len = own;
        p->recv_len = at_root ? p->extent : 0;
        break;
    case DML_COLL_SCATTER:
        p->send_len = at_root ? p->extent : 0;
        p->recv_len = own;
        break;
    default: /* alltoall */
        p->send_len = p->recv_len = all;
    }
}

/* A buffer of the case's kind of memory; *shared is what dml_alloc gave, used or not.
 */
static unsigned char *buffer(struct coll_plan *p, size_t bytes, void **shared)
{
    enum coll_memory memory = p->c.memory;
    if (memory != COLL_PRIVATE)
        dml_test_status(p->env->t, "dml_alloc", dml_alloc(p->env->comm, bytes, shared),
                        DML_OK);
    bool use =
        memory == COLL_SYMMETRIC || (memory == COLL_MIXED && p->env->rank % 2 == 0);
    return use ? *shared : dml_test_alloc(bytes);
}

static void free_buffer(struct coll_plan *p, unsigned char *buf, void *shared)
{
    if (buf != shared)
        free(buf);
    dml_test_status(p->env->t, "dml_free", dml_free(p->env->comm, shared), DML_OK);
}

void coll_plan_open(struct coll_plan *p, struct coll_env *env,
                    const struct coll_case *c)
{
    *p = (struct coll_plan){.env = env, .c = *c, .bytes = dml_dtype_bytes(c->dtype)};
    lay_out_blocks(p);
    size_buffers(p);
    if (coll_reduces(c->coll))
        numbers_reduce(&p->ref,
                       c->coll == DML_COLL_REDUCE_SCATTER ? p->total : c->count,
                       c->dtype, c->op, c->seed, env->nranks);
    /* One guard more than two, because a misaligned buffer starts later. */
    size_t send_bytes = p->send_len * p->bytes + (size_t)3 * COLL_GUARD;
    size_t recv_bytes = p->recv_len * p->bytes + (size_t)3 * COLL_GUARD;
    p->send = buffer(p, send_bytes, &p->shared_send);
    p->send_before = dml_test_alloc(send_bytes);
    p->recv = buffer(p, recv_bytes, &p->shared_recv);
    p->want = dml_test_alloc(recv_bytes);
}

void coll_plan_close(struct coll_plan *p)
{
    numbers_free(&p->ref);
    free_buffer(p, p->send, p->shared_send);
    free_buffer(p, p->recv, p->shared_recv);
    free(p->send_before);
    free(p->want);
}

/* ---- contents ----------------------------------------------------------------------
 */

/* dst[at ..] = elements first .. of a rank's input. */
static void put_input(const struct coll_plan *p, unsigned char *dst, size_t at,
                      int rank, size_t first, size_t count)
{
    numbers_fill(dst + at * p->bytes, first, count, p->c.dtype, p->c.op, p->c.seed,
                 rank);
}

/* In-place calls differ on the root only where there is one. */
static bool in_place_here(const struct coll_plan *p, const struct coll_call *call)
{
    if (!call->in_place || p->c.coll == DML_COLL_BCAST)
        return false;
    return !coll_has_root(p->c.coll) || p->env->rank == p->c.root;
}

static void put_in_place_input(const struct coll_plan *p, unsigned char *recv)
{
    int rank = p->env->rank;
    switch (p->c.coll) {
    case DML_COLL_ALLGATHER:
    case DML_COLL_GATHER:
        put_input(p, recv, p->displs[rank], rank, 0, p->counts[rank]);
        break;
    case DML_COLL_SCATTER:
        break;
    default:
        put_input(p, recv, 0, rank, 0, p->recv_len);
    }
}

/* What the receive buffer must hold after the call, where that is known exactly. */
static void put_result(const struct coll_plan *p, bool in_place, unsigned char *want)
{
    const struct coll_case *c = &p->c;
    int rank = p->env->rank;
    switch (c->coll) {
    case DML_COLL_BCAST:
        put_input(p, want, 0, c->root, 0, c->count);
        break;
    case DML_COLL_ALLGATHER:
    case DML_COLL_GATHER:
        for (int r = 0; r < p->env->nranks && p->recv_len > 0; r++)
            put_input(p, want, p->displs[r], r, 0, p->counts[r]);
        break;
    case DML_COLL_SCATTER:
        if (!in_place)
            put_input(p, want, 0, c->root, p->displs[rank], p->counts[rank]);
        break;
    case DML_COLL_ALLTOALL:
        for (int r = 0; r < p->env->nranks; r++)
            put_input(p, want, (size_t)r * c->count, r, (size_t)rank * c->count,
                      c->count);
        break;
    default: /* reductions: numbers_check() */
        break;
    }
}

static unsigned char *send_at(const struct coll_plan *p, const struct coll_call *call)
{
    return p->send + COLL_GUARD + call->misalign;
}

static unsigned char *recv_at(const struct coll_plan *p, const struct coll_call *call)
{
    return p->recv + COLL_GUARD + call->misalign;
}

static void fill_buffers(struct coll_plan *p, const struct coll_call *call)
{
    size_t send_bytes = p->send_len * p->bytes + (size_t)3 * COLL_GUARD;
    size_t recv_bytes = p->recv_len * p->bytes + (size_t)3 * COLL_GUARD;
    memset(p->send, 0x5a, send_bytes);
    memset(p->recv, 0xa5, recv_bytes);
    bool in_place = in_place_here(p, call);
    unsigned char *recv = recv_at(p, call);
    put_input(p, send_at(p, call), 0, p->env->rank, 0, p->send_len);
    if (in_place)
        put_in_place_input(p, recv);
    if (p->c.coll == DML_COLL_BCAST && p->env->rank == p->c.root)
        put_input(p, recv, 0, p->c.root, 0, p->c.count);
    memcpy(p->send_before, p->send, send_bytes);
    memcpy(p->want, p->recv, recv_bytes);
    put_result(p, in_place, p->want + (recv - p->recv));
}

/* ---- calls -------------------------------------------------------------------------
 */

void coll_fill(struct coll_plan *p, const struct coll_call *call, const void **send,
               void **recv)
{
    fill_buffers(p, call);
    *send = send_at(p, call);
    *recv = recv_at(p, call);
    if (in_place_here(p, call) && p->c.coll == DML_COLL_SCATTER)
        *recv = DML_IN_PLACE;
    else if (in_place_here(p, call))
        *send = DML_IN_PLACE;
    /* Buffers that only the root has are NULL elsewhere. */
    if (coll_has_root(p->c.coll) && p->env->rank != p->c.root) {
        if (p->c.coll == DML_COLL_SCATTER)
            *send = NULL;
        else if (p->c.coll != DML_COLL_BCAST)
            *recv = NULL;
    }
}

dml_status coll_start(struct coll_plan *p, const struct coll_call *call,
                      dml_request **request)
{
    const void *send = NULL;
    void *recv = NULL;
    coll_fill(p, call, &send, &recv);
    if (call->by_mpi) {
        coll_call_mpi(p, send, recv);
        return DML_OK;
    }
    return coll_call_dml(p, send, recv, call->async ? request : NULL);
}

const unsigned char *coll_result(const struct coll_plan *p,
                                 const struct coll_call *call, size_t *bytes)
{
    *bytes = (coll_reduces(p->c.coll) ? p->reduced : p->recv_len) * p->bytes;
    return recv_at(p, call);
}

bool coll_check(struct coll_plan *p, const struct coll_call *call)
{
    struct dml_test *t = p->env->t;
    size_t send_bytes = p->send_len * p->bytes + (size_t)3 * COLL_GUARD;
    size_t recv_bytes = p->recv_len * p->bytes + (size_t)3 * COLL_GUARD;
    unsigned char *recv = recv_at(p, call);
    if (p->reduced > 0) {
        if (!numbers_check(t, &p->ref, p->reduced_first, recv, p->reduced))
            return false;
        memcpy(p->want + (recv - p->recv), recv, p->reduced * p->bytes);
    }
    return dml_test_bytes(t, "send buffer changed", p->send, p->send_before,
                          send_bytes) &&
           dml_test_bytes(t, "receive buffer (with 64 guard bytes)", p->recv, p->want,
                          recv_bytes);
}
