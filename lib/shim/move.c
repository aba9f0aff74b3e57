/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The collectives that only move data. MPI lets each rank describe the same data by a
 * type of its own: MPI_FLOAT here, a column of a matrix there. Equal on all ranks is
 * the number of bytes, so the bytes decide and the bytes travel: data that do not lie
 * one after the other on a rank are packed and unpacked there, and the other ranks
 * need not know.
 */
#include "shim/shim.h"

#include <limits.h>
#include <stdlib.h>

static int no_memory(enum dml__shim_fn fn, const struct dml__shim_comm *c)
{
    dml__shim_refuse(fn, c, "no memory for packed data");
    PMPI_Comm_call_errhandler(c->user, MPI_ERR_NO_MEM);
    return MPI_ERR_NO_MEM;
}

/* MPI_Pack failed, and has called the error handler. */
static int no_pack(enum dml__shim_fn fn, const struct dml__shim_comm *c, int code)
{
    dml__shim_refuse(fn, c, "MPI_Pack refuses the data");
    return code;
}

/* MPI_Pack and MPI_Unpack count in int; larger calls pass through on all ranks. */
static bool fits(size_t count, size_t bytes)
{
    return bytes == 0 || count <= INT_MAX / bytes;
}

/* At least so many bytes, kept for the next call; NULL when there is no memory. */
static char *staging(struct dml__shim_comm *c, size_t bytes)
{
    if (c->staging_bytes < bytes) {
        free(c->staging);
        c->staging = malloc(bytes);
        c->staging_bytes = c->staging != NULL ? bytes : 0;
    }
    return c->staging;
}

/*
 * MPI_BOTTOM is a NULL pointer, which MPICH 4.0 refuses to pack from: the elements are
 * described from another address, that of "anchor", instead.
 */
static int from_bottom(int count, MPI_Datatype type, const void *anchor,
                       MPI_Datatype *shifted)
{
    MPI_Aint back = -(MPI_Aint)anchor;
    int code = PMPI_Type_create_hindexed(1, &count, &back, type, shifted);
    return code == MPI_SUCCESS ? PMPI_Type_commit(shifted) : code;
}

static int pack(const void *from, int count, MPI_Datatype type, char *to, size_t bytes,
                MPI_Comm comm)
{
    int position = 0, anchor = 0;
    if (from != MPI_BOTTOM)
        return PMPI_Pack(from, count, type, to, (int)bytes, &position, comm);
    MPI_Datatype shifted = MPI_DATATYPE_NULL;
    int code = from_bottom(count, type, &anchor, &shifted);
    if (code == MPI_SUCCESS)
        code = PMPI_Pack(&anchor, 1, shifted, to, (int)bytes, &position, comm);
    if (shifted != MPI_DATATYPE_NULL)
        PMPI_Type_free(&shifted);
    return code;
}

static int unpack(const char *from, size_t bytes, void *to, int count,
                  MPI_Datatype type, MPI_Comm comm)
{
    int position = 0, anchor = 0;
    if (to != MPI_BOTTOM)
        return PMPI_Unpack(from, (int)bytes, &position, to, count, type, comm);
    MPI_Datatype shifted = MPI_DATATYPE_NULL;
    int code = from_bottom(count, type, &anchor, &shifted);
    if (code == MPI_SUCCESS)
        code = PMPI_Unpack(from, (int)bytes, &position, &anchor, 1, shifted, comm);
    if (shifted != MPI_DATATYPE_NULL)
        PMPI_Type_free(&shifted);
    return code;
}

DML__SHIM_API int MPI_Bcast(void *buf, int count, MPI_Datatype type, int root,
                            MPI_Comm comm)
{
    struct dml__shim_layout layout;
    struct dml__shim_comm *c =
        dml__shim_use(DML__SHIM_BCAST, comm,
                      count >= 0 && dml__shim_layout(type, &layout) &&
                          fits((size_t)count, layout.bytes));
    if (c == NULL || root < 0 || root >= c->size ||
        (buf == NULL && layout.plain && count > 0)) {
        dml__shim_count(DML__SHIM_BCAST, false);
        return PMPI_Bcast(buf, count, type, root, comm);
    }
    size_t bytes = (size_t)count * layout.bytes;
    if (layout.plain || bytes == 0)
        return dml__shim_result(DML__SHIM_BCAST, c,
                                dml_bcast(buf, bytes, DML_U8, root, c->dml));
    char *packed = staging(c, bytes);
    if (packed == NULL)
        return no_memory(DML__SHIM_BCAST, c);
    int code = MPI_SUCCESS;
    if (c->rank == root)
        code = pack(buf, count, type, packed, bytes, comm);
    if (code != MPI_SUCCESS)
        return no_pack(DML__SHIM_BCAST, c, code);
    code = dml__shim_result(DML__SHIM_BCAST, c,
                            dml_bcast(packed, bytes, DML_U8, root, c->dml));
    if (code == MPI_SUCCESS && c->rank != root)
        code = unpack(packed, bytes, buf, count, type, comm);
    return code;
}

/* One all-gather, with or without blocks of different sizes. */
struct gather {
    enum dml__shim_fn fn;
    const void *send;
    int send_count;
    MPI_Datatype send_type;
    void *recv;
    const int *counts; /* [P] or NULL: recv_count for all */
    const int *displs;
    int recv_count;
    MPI_Datatype recv_type;
    MPI_Comm comm;
    struct dml__shim_layout out, in; /* of what is sent, and received */
};

static int count_of(const struct gather *g, int rank)
{
    return g->counts != NULL ? g->counts[rank] : g->recv_count;
}

static size_t bytes_of(const struct gather *g, int rank)
{
    return (size_t)count_of(g, rank) * g->in.bytes;
}

/* Where a rank's block lies in recv, in elements of recv_type. */
static MPI_Aint displ_of(const struct gather *g, int rank)
{
    return g->displs != NULL ? g->displs[rank] : (MPI_Aint)rank * g->recv_count;
}

static char *block_of(const struct gather *g, int rank)
{
    return (char *)g->recv + displ_of(g, rank) * g->in.extent;
}

/* Blocks that follow each other need no copy. */
static bool dense(const struct gather *g, int size)
{
    MPI_Aint next = 0;
    for (int i = 0; i < size && g->displs != NULL; i++) {
        if (count_of(g, i) > 0 && g->displs[i] != next)
            return false;
        next += count_of(g, i);
    }
    return g->in.plain;
}

static int unpack_blocks(const struct gather *g, const struct dml__shim_comm *c,
                         const char *from)
{
    int code = MPI_SUCCESS;
    for (int i = 0; i < c->size && code == MPI_SUCCESS; i++) {
        /* What this rank sent in place lies there already. */
        if (bytes_of(g, i) > 0 && !(i == c->rank && g->send == MPI_IN_PLACE))
            code = unpack(from, bytes_of(g, i), block_of(g, i), count_of(g, i),
                          g->recv_type, g->comm);
        from += bytes_of(g, i);
    }
    return code;
}

/* "total" is the sum of the blocks' bytes; with blocks of different sizes c->counts
 * holds them. */
static int gather(const struct gather *g, struct dml__shim_comm *c, size_t total)
{
    size_t own = bytes_of(g, c->rank), before = 0;
    bool in_place = g->send == MPI_IN_PLACE, direct = dense(g, c->size);
    bool packs = own > 0 && (in_place ? !direct : !g->out.plain);
    /* [total bytes of the result, unless it goes straight to recv | own block] */
    size_t result = direct ? 0 : total;
    char *memory = packs || !direct ? staging(c, result + own + 1) : NULL;
    int code = MPI_SUCCESS;
    if (memory == NULL && (packs || !direct))
        return no_memory(g->fn, c);
    char *to = direct ? g->recv : memory;
    const void *from = in_place ? DML_IN_PLACE : g->send;
    if (packs && in_place) {
        for (int i = 0; i < c->rank; i++)
            before += bytes_of(g, i);
        code = pack(block_of(g, c->rank), count_of(g, c->rank), g->recv_type,
                    to + before, own, g->comm);
    } else if (packs) {
        from = memory + result;
        code =
            pack(g->send, g->send_count, g->send_type, memory + result, own, g->comm);
    }
    if (code != MPI_SUCCESS)
        return no_pack(g->fn, c, code);
    dml_status status = g->counts != NULL
                            ? dml_allgatherv(from, to, c->counts, NULL, DML_U8, c->dml)
                            : dml_allgather(from, to, own, DML_U8, c->dml);
    code = dml__shim_result(g->fn, c, status);
    return code == MPI_SUCCESS && !direct ? unpack_blocks(g, c, to) : code;
}

/* Is this call one that MPI would not refuse, as far as this rank can see? Fills in the
 * layouts. */
static bool valid(struct gather *g)
{
    bool in_place = g->send == MPI_IN_PLACE;
    return dml__shim_layout(g->recv_type, &g->in) && g->recv != MPI_IN_PLACE &&
           (in_place ||
            (g->send_count >= 0 && dml__shim_layout(g->send_type, &g->out)));
}

/* Does what this rank sends match what it says to receive from itself? */
static bool matches(const struct gather *g, size_t own)
{
    if (g->send == MPI_IN_PLACE)
        return true;
    return (size_t)g->send_count * g->out.bytes == own &&
           !(g->send == NULL && g->out.plain && own > 0);
}

DML__SHIM_API int MPI_Allgather(const void *send, int send_count,
                                MPI_Datatype send_type, void *recv, int recv_count,
                                MPI_Datatype recv_type, MPI_Comm comm)
{
    struct gather g = {.fn = DML__SHIM_ALLGATHER,
                       .send = send,
                       .send_count = send_count,
                       .send_type = send_type,
                       .recv = recv,
                       .recv_count = recv_count,
                       .recv_type = recv_type,
                       .comm = comm};
    struct dml__shim_comm *c =
        dml__shim_use(DML__SHIM_ALLGATHER, comm, recv_count >= 0 && valid(&g));
    size_t own = c != NULL ? (size_t)recv_count * g.in.bytes : 0;
    if (c == NULL || !fits((size_t)c->size, own) || !matches(&g, own) ||
        (recv == NULL && g.in.plain && own > 0)) {
        dml__shim_count(DML__SHIM_ALLGATHER, false);
        return PMPI_Allgather(send, send_count, send_type, recv, recv_count, recv_type,
                              comm);
    }
    return gather(&g, c, own * (size_t)c->size);
}

DML__SHIM_API int MPI_Allgatherv(const void *send, int send_count,
                                 MPI_Datatype send_type, void *recv,
                                 const int recv_counts[], const int displs[],
                                 MPI_Datatype recv_type, MPI_Comm comm)
{
    struct gather g = {.fn = DML__SHIM_ALLGATHERV,
                       .send = send,
                       .send_count = send_count,
                       .send_type = send_type,
                       .recv = recv,
                       .counts = recv_counts,
                       .displs = displs,
                       .recv_type = recv_type,
                       .comm = comm};
    struct dml__shim_comm *c = dml__shim_use(
        DML__SHIM_ALLGATHERV, comm, recv_counts != NULL && displs != NULL && valid(&g));
    bool ok = c != NULL;
    size_t total = 0;
    for (int i = 0; ok && i < c->size; i++) {
        ok = recv_counts[i] >= 0 && fits((size_t)recv_counts[i], g.in.bytes);
        c->counts[i] = (size_t)recv_counts[i] * g.in.bytes;
        total += c->counts[i];
    }
    if (!ok || total > INT_MAX || !matches(&g, c->counts[c->rank]) ||
        (recv == NULL && g.in.plain && total > 0)) {
        dml__shim_count(DML__SHIM_ALLGATHERV, false);
        return PMPI_Allgatherv(send, send_count, send_type, recv, recv_counts, displs,
                               recv_type, comm);
    }
    return gather(&g, c, total);
}
