/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The part of NCCL's binary interface that libdml uses, so that it is found at run time
 * and needs no header: names and numbers are those of nccl.h 2.18 and later
 * (test/gpu/nccl_abi.c compares them with that header where it is installed).
 */
#ifndef DML__NCCL_ABI_H
#define DML__NCCL_ABI_H

#include <limits.h>
#include <stddef.h>

struct dml__nccl_id {
    char bytes[128];
};

/* ncclConfig_t as of 2.18; later versions take shorter ones by their size. */
struct dml__nccl_config {
    size_t size;
    unsigned magic, version;
    int blocking;
    int cga_cluster_size, min_ctas, max_ctas;
    const char *net_name;
    int split_share;
};

#define DML__NCCL_MAGIC 0xcafebeefu

enum {
    DML__NCCL_CONFIG_VERSION = 21800,
    DML__NCCL_UNDEFINED = INT_MIN,
    DML__NCCL_NEEDED = 21900, /* memory and registration since 2.19 */
};

/* ncclResult_t, ncclRedOp_t, ncclDataType_t, ncclScalarResidence_t. */
enum { DML__NCCL_SUCCESS = 0, DML__NCCL_IN_PROGRESS = 7 };
enum { DML__NCCL_SUM, DML__NCCL_PROD, DML__NCCL_MAX, DML__NCCL_MIN, DML__NCCL_AVG };
enum {
    DML__NCCL_I8 = 0,
    DML__NCCL_U8 = 1,
    DML__NCCL_I32 = 2,
    DML__NCCL_I64 = 4,
    DML__NCCL_U64 = 5,
    DML__NCCL_F16 = 6,
    DML__NCCL_F32 = 7,
    DML__NCCL_F64 = 8,
    DML__NCCL_BF16 = 9,
};
enum { DML__NCCL_SCALAR_ON_HOST = 1 };

/* X(member, name without nccl, arguments). All return a ncclResult_t but two. */
#define DML__NCCL_CALLS(X)                                                             \
    X(get_version, GetVersion, (int *version))                                         \
    X(get_id, GetUniqueId, (struct dml__nccl_id * id))                                 \
    X(init, CommInitRankConfig,                                                        \
      (void **comm, int nranks, struct dml__nccl_id id, int rank,                      \
       struct dml__nccl_config *config))                                               \
    X(finalize, CommFinalize, (void *comm))                                            \
    X(destroy, CommDestroy, (void *comm))                                              \
    X(abort, CommAbort, (void *comm))                                                  \
    X(async_error, CommGetAsyncError, (void *comm, int *result))                       \
    X(all_reduce, AllReduce,                                                           \
      (const void *send, void *recv, size_t n, int type, int op, void *comm, void *s)) \
    X(reduce, Reduce,                                                                  \
      (const void *send, void *recv, size_t n, int type, int op, int root, void *comm, \
       void *s))                                                                       \
    X(broadcast, Broadcast,                                                            \
      (const void *send, void *recv, size_t n, int type, int root, void *comm,         \
       void *s))                                                                       \
    X(all_gather, AllGather,                                                           \
      (const void *send, void *recv, size_t n, int type, void *comm, void *s))         \
    X(reduce_scatter, ReduceScatter,                                                   \
      (const void *send, void *recv, size_t n, int type, int op, void *comm, void *s)) \
    X(send, Send,                                                                      \
      (const void *send, size_t n, int type, int peer, void *comm, void *s))           \
    X(recv, Recv, (void *recv, size_t n, int type, int peer, void *comm, void *s))     \
    X(group_start, GroupStart, (void))                                                 \
    X(group_end, GroupEnd, (void))                                                     \
    X(make_premul, RedOpCreatePreMulSum,                                               \
      (int *op, void *scalar, int type, int where, void *comm))                        \
    X(free_op, RedOpDestroy, (int op, void *comm))                                     \
    X(mem_alloc, MemAlloc, (void **memory, size_t bytes))                              \
    X(mem_free, MemFree, (void *memory))                                               \
    X(do_register, CommRegister,                                                       \
      (void *comm, void *memory, size_t bytes, void **handle))                         \
    X(deregister, CommDeregister, (void *comm, void *handle))

struct dml__nccl {
#define DML__NCCL_MEMBER(member, name, args) int(*member) args;
    DML__NCCL_CALLS(DML__NCCL_MEMBER)
#undef DML__NCCL_MEMBER
    const char *(*error_text)(int result);
    const char *(*last_error)(void *comm);
    int version;
};

#endif
