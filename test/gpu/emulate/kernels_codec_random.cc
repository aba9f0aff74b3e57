// SPDX-License-Identifier: BSD-3-Clause
#include "emulate.h"
#include "gpu/codec_random.cu"

EMULATE(dml__random_add)
EMULATE(dml__random_take_all)
EMULATE(dml__random_put_all)
