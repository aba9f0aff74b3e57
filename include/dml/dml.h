/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file dml.h
 * All of libdml but mpi.h and gpu.h, which are included by those who need them.
 */
#ifndef DML_DML_H
#define DML_DML_H

#include "dml/ckpt.h"
#include "dml/coll.h"
#include "dml/comm.h"
#include "dml/compress.h"
#include "dml/ctx.h"
#include "dml/data.h"
#include "dml/exchange.h"
#include "dml/lr.h"
#include "dml/optim.h"
#include "dml/pipeline.h"
#include "dml/plan.h"
#include "dml/rebalance.h"
#include "dml/records.h"
#include "dml/rng.h"
#include "dml/shard.h"
#include "dml/sketch.h"
#include "dml/skew.h"
#include "dml/status.h"
#include "dml/sync.h"
#include "dml/text.h"
#include "dml/types.h"
#include "dml/vec.h"
#include "dml/version.h"
#include "dml/watch.h"

#endif
