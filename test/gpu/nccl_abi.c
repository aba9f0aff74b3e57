/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compiled only: what libdml takes for NCCL's interface is what its header says, where
 * that is installed.
 */
#include "gpu/nccl_abi.h"

#include <nccl.h>

#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #theirs)
#define AT(ours, theirs)                                      \
    _Static_assert(offsetof(struct dml__nccl_config, ours) == \
                       offsetof(ncclConfig_t, theirs),        \
                   #theirs)

SAME(DML__NCCL_SUCCESS, ncclSuccess);
SAME(DML__NCCL_IN_PROGRESS, ncclInProgress);
SAME(DML__NCCL_SUM, ncclSum);
SAME(DML__NCCL_PROD, ncclProd);
SAME(DML__NCCL_MAX, ncclMax);
SAME(DML__NCCL_MIN, ncclMin);
SAME(DML__NCCL_AVG, ncclAvg);
SAME(DML__NCCL_I8, ncclInt8);
SAME(DML__NCCL_U8, ncclUint8);
SAME(DML__NCCL_I32, ncclInt32);
SAME(DML__NCCL_I64, ncclInt64);
SAME(DML__NCCL_U64, ncclUint64);
SAME(DML__NCCL_F16, ncclFloat16);
SAME(DML__NCCL_F32, ncclFloat32);
SAME(DML__NCCL_F64, ncclFloat64);
SAME(DML__NCCL_BF16, ncclBfloat16);
SAME(DML__NCCL_SCALAR_ON_HOST, ncclScalarHostImmediate);
SAME(DML__NCCL_UNDEFINED, NCCL_CONFIG_UNDEF_INT);
SAME(sizeof(struct dml__nccl_id), sizeof(ncclUniqueId));
AT(magic, magic);
AT(version, version);
AT(blocking, blocking);
AT(cga_cluster_size, cgaClusterSize);
AT(min_ctas, minCTAs);
AT(max_ctas, maxCTAs);
AT(net_name, netName);
AT(split_share, splitShare);

#define TYPE(call, ...)                                                         \
    _Static_assert(__builtin_types_compatible_p(__typeof__(&call),              \
                                                ncclResult_t (*)(__VA_ARGS__)), \
                   #call)

TYPE(ncclMemAlloc, void **, size_t);
TYPE(ncclMemFree, void *);
TYPE(ncclCommRegister, const ncclComm_t, void *, size_t, void **);
TYPE(ncclCommDeregister, const ncclComm_t, void *);

static const ncclConfig_t config = NCCL_CONFIG_INITIALIZER;

int main(void)
{
    return config.magic != DML__NCCL_MAGIC;
}
