// SPDX-License-Identifier: BSD-3-Clause
#include "emulate.h"
#include "gpu/codec_momentum.cu"

EMULATE(dml__momentum_norm)
EMULATE(dml__momentum_push_all)
