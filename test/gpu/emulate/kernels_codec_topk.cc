// SPDX-License-Identifier: BSD-3-Clause
#include "emulate.h"
#include "gpu/codec_topk.cu"

EMULATE(dml__topk_begin)
EMULATE(dml__topk_mark)
EMULATE(dml__topk_plan)
EMULATE(dml__topk_gather)
EMULATE(dml__topk_edge)
EMULATE(dml__topk_count)
EMULATE(dml__topk_scan)
EMULATE(dml__topk_emit_all)
EMULATE(dml__topk_scatter)
