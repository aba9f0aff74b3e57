// SPDX-License-Identifier: BSD-3-Clause
#include "emulate.h"
#include "gpu/reduce.cu"

EMULATE(dml__reduce_F32)
EMULATE(dml__reduce_F64)
EMULATE(dml__reduce_F16)
EMULATE(dml__reduce_BF16)
EMULATE(dml__reduce_I8)
EMULATE(dml__reduce_U8)
EMULATE(dml__reduce_I32)
EMULATE(dml__reduce_I64)
EMULATE(dml__reduce_U64)
