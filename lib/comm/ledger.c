/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ledger of a rank (ledger.h): records of operations, written by one, read by
 * anyone.
 *
 * A record is read without a lock: its number is zero while the rest changes, and is
 * looked at before and after reading (Lamport, Concurrent reading and writing, CACM
 * 1977).
 */
#include "comm/ledger.h"

#include "comm/traits.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

/* All but seq, signature and count in one word. */
static uint64_t pack(const struct dml__op *op)
{
    return op->what | (uint64_t)op->dtype << 8 | (uint64_t)op->op << 16 |
           (uint64_t)op->state << 24 | (uint64_t)(unsigned)op->root << 32;
}

void dml__op_sign(struct dml__op *op, const size_t *counts, int ncounts)
{
    uint64_t stateless = pack(op) & ~((uint64_t)0xff << 24);
    op->base = mix(mix(0, op->count), stateless);
    for (int i = 0; i < ncounts; i++)
        op->base = mix(op->base, counts[i]);
    dml__op_sign_again(op);
}

void dml__op_sign_again(struct dml__op *op)
{
    op->signature = mix(op->base, op->seq) | 1; /* 0 is what a fresh channel has */
}

/* Where the record of an operation is: a call takes the place after the one before. */
static unsigned place_of(uint64_t seq)
{
    return (unsigned)((dml__op_number(seq) + seq) % DML__RECORDS);
}

void dml__ledger_write(struct dml__ledger *ledger, const struct dml__op *op)
{
    atomic_ullong *word = ledger->record[place_of(op->seq)].word;
    atomic_store_explicit(&word[0], 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&word[1], op->signature, memory_order_relaxed);
    atomic_store_explicit(&word[2], op->count, memory_order_relaxed);
    atomic_store_explicit(&word[3], pack(op), memory_order_relaxed);
    atomic_store_explicit(&word[0], op->seq, memory_order_release);
    atomic_store_explicit(&ledger->last, op->seq, memory_order_release);
}

void dml__ledger_end(struct dml__ledger *ledger, uint64_t seq)
{
    atomic_ullong *word = ledger->record[place_of(seq)].word;
    if (atomic_load_explicit(&word[0], memory_order_relaxed) != seq)
        return;
    uint64_t packed = atomic_load_explicit(&word[3], memory_order_relaxed);
    packed = (packed & ~((uint64_t)0xff << 24)) | (uint64_t)DML__FINISHED << 24;
    atomic_store_explicit(&word[3], packed, memory_order_release);
}

bool dml__ledger_find(const struct dml__ledger *ledger, uint64_t seq,
                      struct dml__op *op)
{
    return seq > 0 && dml__ledger_read(ledger, place_of(seq), op) && op->seq == seq;
}

bool dml__ledger_read(const struct dml__ledger *ledger, unsigned i, struct dml__op *op)
{
    const atomic_ullong *word = ledger->record[i].word;
    uint64_t seq = atomic_load_explicit(&word[0], memory_order_acquire);
    if (seq == 0)
        return false;
    uint64_t packed = 0;
    *op = (struct dml__op){.seq = seq};
    op->signature = atomic_load_explicit(&word[1], memory_order_relaxed);
    op->count = atomic_load_explicit(&word[2], memory_order_relaxed);
    packed = atomic_load_explicit(&word[3], memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(&word[0], memory_order_relaxed) != seq)
        return false;
    op->what = (unsigned char)packed;
    op->dtype = (unsigned char)(packed >> 8);
    op->op = (unsigned char)(packed >> 16);
    op->state = (unsigned char)(packed >> 24);
    op->root = (int)(packed >> 32);
    return true;
}

void dml__op_describe(const struct dml__op *op, char *text, size_t room)
{
    int coll = op->what & ~(DML__BLOCKS | DML__SAMPLE);
    bool blocks = op->what & DML__BLOCKS;
    struct dml__traits traits = {.reduces = false};
    int used = 0;
    if (coll >= 0 && coll < DML_NCOLLS)
        traits = *dml__traits((dml_coll)coll);
    switch (coll) {
    case DML__AGREE:
        snprintf(text, room, "an agreement before it");
        return;
    case DML__PROBE:
        snprintf(text, room, "measurements before it");
        return;
    case DML__SPLIT:
        snprintf(text, room, "split");
        return;
    case DML__ALLOCATE:
        snprintf(text, room, "alloc");
        return;
    case DML_COLL_BARRIER:
        snprintf(text, room, "barrier");
        return;
    default:
        break;
    }
    used = snprintf(text, room, "%s%s of %" PRIu64 " %s", dml_coll_name((dml_coll)coll),
                    blocks ? "v" : "", op->count, dml_dtype_name((dml_dtype)op->dtype));
    if (traits.reduces && used >= 0 && (size_t)used < room)
        used += snprintf(text + used, room - (size_t)used, " (%s)",
                         dml_op_name((dml_op)op->op));
    if (traits.rooted && used >= 0 && (size_t)used < room)
        used += snprintf(text + used, room - (size_t)used, ", root %d", op->root);
    if (blocks && used >= 0 && (size_t)used < room)
        used += snprintf(text + used, room - (size_t)used, ", counts [%04x]",
                         (unsigned)(op->signature >> 8 & 0xffff));
    if (op->what & DML__SAMPLE && used >= 0 && (size_t)used < room)
        snprintf(text + used, room - (size_t)used, " as a measurement");
}

void dml__op_where(const struct dml__op *op, char *text, size_t room)
{
    int coll = op->what & ~(DML__BLOCKS | DML__SAMPLE);
    if (op->what == DML__SPLIT)
        snprintf(text, room, "dml_comm_split");
    else if (op->what == DML__ALLOCATE)
        snprintf(text, room, "dml_alloc");
    else if (coll < DML_NCOLLS)
        snprintf(text, room, "dml_%s%s", dml_coll_name((dml_coll)coll),
                 op->what & DML__BLOCKS ? "v" : "");
    else
        snprintf(text, room, "dml_comm");
}
