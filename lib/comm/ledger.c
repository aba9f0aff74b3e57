/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ledger of a rank (ledger.h): records of operations, written by one, read by
 * anyone.
 *
 * A record is read without a lock: its number is zero while the rest changes, and is
 * looked at before and after reading (Lamport, Concurrent reading and writing, CACM
 * 1977). A record is written anew when the algorithm is chosen, and when the call is
 * refused; so that this is seen too the number has two bits for that.
 */
#include "comm/ledger.h"

#include "comm/traits.h"
#include "core/core.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

/* Of a call that is refused the root may be anything. */
static const uint64_t ROOT_MASK = 0x7fffff;

/* All but seq, signature and count in one word. */
static uint64_t pack(const struct dml__op *op)
{
    return op->what | (uint64_t)op->dtype << 8 | (uint64_t)op->op << 16 |
           (uint64_t)op->state << 24 | (uint64_t)op->alg << 32 |
           ((uint64_t)op->root & ROOT_MASK) << 40 | (uint64_t)op->on_device << 63;
}

/* What the algorithm changes in a signature: even, and undone by the same change. */
static uint64_t mark(const struct dml__op *op)
{
    return op->alg * 0x9e3779b97f4a7c16u;
}

void dml__op_sign(struct dml__op *op, const size_t *counts, int ncounts)
{
    uint64_t stateless = pack(op) & ~((uint64_t)0xffff << 24);
    op->base = mix(mix(0, op->count), stateless);
    for (int i = 0; i < ncounts; i++)
        op->base = mix(op->base, counts[i]);
    dml__op_sign_again(op);
}

void dml__op_sign_again(struct dml__op *op)
{
    /* 0 is what a fresh channel has */
    op->signature = (mix(op->base, op->seq) | 1) ^ mark(op);
}

uint64_t dml__op_unchosen(const struct dml__op *op)
{
    return op->signature ^ mark(op);
}

bool dml__op_same(const struct dml__op *a, const struct dml__op *b)
{
    if (a->alg == 0 || b->alg == 0)
        return dml__op_unchosen(a) == dml__op_unchosen(b);
    return a->signature == b->signature;
}

/* Where the record of an operation is: a call takes the place after the one before. */
static unsigned place_of(uint64_t seq)
{
    return (unsigned)((dml__op_number(seq) + seq) % DML__RECORDS);
}

enum { VERSION_SHIFT = 62 };

/* The number as it is kept: different whenever the rest of a record is. */
static uint64_t stamp_of(const struct dml__op *op)
{
    uint64_t version = op->state == DML__REFUSED ? 2 : op->alg > 0;
    return op->seq | version << VERSION_SHIFT;
}

static uint64_t seq_of(uint64_t stamp)
{
    return stamp & (((uint64_t)1 << VERSION_SHIFT) - 1);
}

void dml__ledger_write(struct dml__ledger *ledger, const struct dml__op *op)
{
    atomic_ullong *word = ledger->record[place_of(op->seq)].word;
    atomic_store_explicit(&word[0], 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&word[1], op->signature, memory_order_relaxed);
    atomic_store_explicit(&word[2], op->count, memory_order_relaxed);
    atomic_store_explicit(&word[3], pack(op), memory_order_relaxed);
    atomic_store_explicit(&word[0], stamp_of(op), memory_order_release);
    atomic_store_explicit(&ledger->last, op->seq, memory_order_release);
}

void dml__ledger_end(struct dml__ledger *ledger, uint64_t seq)
{
    atomic_ullong *word = ledger->record[place_of(seq)].word;
    if (seq_of(atomic_load_explicit(&word[0], memory_order_relaxed)) != seq)
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
    uint64_t stamp = atomic_load_explicit(&word[0], memory_order_acquire);
    if (stamp == 0)
        return false;
    uint64_t packed = 0;
    *op = (struct dml__op){.seq = seq_of(stamp)};
    op->signature = atomic_load_explicit(&word[1], memory_order_relaxed);
    op->count = atomic_load_explicit(&word[2], memory_order_relaxed);
    packed = atomic_load_explicit(&word[3], memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(&word[0], memory_order_relaxed) != stamp)
        return false;
    op->what = (unsigned char)packed;
    op->dtype = (unsigned char)(packed >> 8);
    op->op = (unsigned char)(packed >> 16);
    op->state = (unsigned char)(packed >> 24);
    op->alg = (unsigned char)(packed >> 32);
    op->root = (int)(packed >> 40 & ROOT_MASK);
    op->on_device = packed >> 63 != 0;
    return true;
}

/* Appends to a text, as far as there is room. */
static void DML__PRINTF(3, 4) add(char *text, size_t room, const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, room - used, format, args);
    va_end(args);
}

enum { BITS = DML__BLOCKS | DML__SAMPLE | DML__IN_PLACE };

/* What lib/comm itself does, or NULL. */
static const char *own_name(int what)
{
    switch (what) {
    case DML__AGREE:
        return "an agreement before it";
    case DML__PROBE:
        return "measurements before it";
    case DML__SPLIT:
        return "split";
    case DML__ALLOCATE:
        return "alloc";
    case DML__QUERY:
        return "algorithm_query";
    case DML__PLAN:
        return "coll_init";
    default:
        return NULL;
    }
}

void dml__op_describe(const struct dml__op *op, char *text, size_t room)
{
    int coll = op->what & ~BITS;
    const char *own = own_name(coll), *algorithm = NULL, *idea = NULL;
    struct dml__traits traits = {.reduces = false};
    if (coll < DML_NCOLLS)
        traits = *dml__traits((dml_coll)coll);
    text[0] = '\0';
    if (own != NULL) {
        add(text, room, "%s", own);
        return;
    }
    add(text, room, "%s%s", dml_coll_name((dml_coll)coll),
        op->what & DML__BLOCKS ? "v" : "");
    if (coll != DML_COLL_BARRIER)
        add(text, room, " of %" PRIu64 " %s", op->count,
            dml_dtype_name((dml_dtype)op->dtype));
    if (traits.reduces)
        add(text, room, " (%s)", dml_op_name((dml_op)op->op));
    if (traits.rooted)
        add(text, room, ", root %d", op->root);
    if (op->what & DML__BLOCKS)
        add(text, room, ", counts [%04x]",
            (unsigned)(dml__op_unchosen(op) >> 8 & 0xffff));
    if (op->what & DML__IN_PLACE)
        add(text, room, ", in place");
    if (op->on_device)
        add(text, room, ", device memory");
    if (op->alg > 0 &&
        dml_algorithm_list((dml_coll)coll, op->alg - 1u, &algorithm, &idea) == DML_OK)
        add(text, room, ", by %s", algorithm);
    if (op->what & DML__SAMPLE)
        add(text, room, " as a measurement");
}

void dml__op_where(const struct dml__op *op, char *text, size_t room)
{
    int coll = op->what & ~BITS;
    if (coll < DML_NCOLLS)
        snprintf(text, room, "dml_%s%s", dml_coll_name((dml_coll)coll),
                 op->what & DML__BLOCKS ? "v" : "");
    else if (coll == DML__SPLIT)
        snprintf(text, room, "dml_comm_split");
    else if (coll == DML__AGREE || coll == DML__PROBE || own_name(coll) == NULL)
        snprintf(text, room, "dml_comm");
    else
        snprintf(text, room, "dml_%s", own_name(coll));
}
