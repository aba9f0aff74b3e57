/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of the collectives' traits.
 */
#include "comm/traits.h"

const struct dml__traits dml__traits_table[DML_NCOLLS] = {
    [DML_COLL_ALLREDUCE] = {.reduces = true},
    [DML_COLL_REDUCE_SCATTER] = {.reduces = true,
                                 .blocks = true,
                                 .takes_block = true,
                                 .has_counts = true},
    [DML_COLL_ALLGATHER] = {.blocks = true, .gives_block = true, .has_counts = true},
    [DML_COLL_BCAST] = {.rooted = true, .from_root = true},
    [DML_COLL_REDUCE] = {.reduces = true, .rooted = true},
    [DML_COLL_GATHER] = {.rooted = true,
                         .blocks = true,
                         .gives_block = true,
                         .has_counts = true},
    [DML_COLL_SCATTER] = {.rooted = true,
                          .from_root = true,
                          .blocks = true,
                          .takes_block = true,
                          .has_counts = true},
    [DML_COLL_ALLTOALL] = {.blocks = true},
    [DML_COLL_BARRIER] = {.blocks = false},
};
