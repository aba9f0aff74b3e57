/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Plans as bytes: ten numbers, capacities and predicted loads, bounds, homes,
 * exceptions and their pieces, and the strings. What is read back may come from a file,
 * so every number by which something is found later is checked here.
 */
#include "skew/plan.h"
#include "skew/wire.h"

#include <float.h>

static const char name[8] = "dmlplan1";

enum {
    HEAD_BYTES = 88,
    PART_BYTES = 16,
    BOUND_BYTES = 16,
    HOME_BYTES = 2,
    EXCEPTION_BYTES = 16,
    PIECE_BYTES = 16,
    FOOT_BYTES = 8,
    MOST_HOMES = 1 << 20,
};

size_t dml__plan_pack_bytes(const dml_plan *plan)
{
    return HEAD_BYTES + PART_BYTES * plan->parts + BOUND_BYTES * plan->nbounds +
           HOME_BYTES * plan->nhomes + EXCEPTION_BYTES * plan->nexceptions +
           PIECE_BYTES * plan->npieces + plan->text_bytes + FOOT_BYTES;
}

static uint64_t key_number(const dml_plan *plan, const struct dml__key *key)
{
    return plan->kind == DML_KEY_U64 ? key->head : key->count;
}

dml_status dml_plan_pack(const dml_plan *plan, void *bytes, size_t capacity)
{
    if (plan == NULL || bytes == NULL)
        return dml__fail(plan != NULL ? plan->ctx : NULL, DML_EINVAL, __func__,
                         "plan or bytes is NULL");
    const size_t needed = dml__plan_pack_bytes(plan);
    if (capacity < needed)
        return dml__fail(plan->ctx, DML_EINVAL, __func__,
                         "capacity is %zu bytes, %zu are needed", capacity, needed);
    struct dml__out out;
    dml__out_open(&out, bytes, name);
    put_u64(&out, (uint64_t)plan->planner);
    put_u64(&out, (uint64_t)plan->kind);
    put_u64(&out, plan->parts);
    put_u64(&out, plan->hash_seed);
    put_f64(&out, plan->weight);
    put_u64(&out, plan->nbounds);
    put_u64(&out, plan->nhomes);
    put_u64(&out, plan->nexceptions);
    put_u64(&out, plan->npieces);
    put_u64(&out, plan->text_bytes);
    for (size_t j = 0; j < plan->parts; j++) {
        put_f64(&out, plan->capacities[j]);
        put_f64(&out, plan->loads[j]);
    }
    for (size_t j = 0; j < plan->nbounds; j++) {
        put_u64(&out, key_number(plan, &plan->bounds[j].key));
        put_f64(&out, plan->bounds[j].share);
    }
    for (size_t b = 0; b < plan->nhomes; b++) {
        unsigned char home[2] = {(unsigned char)plan->homes[b],
                                 (unsigned char)(plan->homes[b] >> 8)};
        put_bytes(&out, home, sizeof home);
    }
    for (size_t i = 0; i < plan->nexceptions; i++) {
        const struct dml__exception *exception = &plan->exceptions[i];
        put_u64(&out, key_number(plan, &exception->key));
        put_u64(&out, (uint64_t)exception->count << 32 | exception->first);
    }
    for (size_t i = 0; i < plan->npieces; i++) {
        put_u64(&out, plan->pieces[i].part);
        put_f64(&out, plan->pieces[i].until);
    }
    put_bytes(&out, plan->text, plan->text_bytes);
    dml__out_close(&out);
    return DML_OK;
}

/* A key from its number, and from the strings if it is one. */
static bool read_key(const dml_plan *plan, uint64_t number, struct dml__in *text,
                     struct dml__key *key)
{
    if (plan->kind == DML_KEY_U64) {
        *key = (struct dml__key){.head = number};
        return true;
    }
    const unsigned char *string =
        number <= UINT32_MAX ? get_bytes(text, (size_t)number) : NULL;
    if (string == NULL)
        return false;
    *key = dml__key_of_bytes(string, (size_t)number);
    return true;
}

static const char *read_parts(dml_plan *plan, struct dml__in *in)
{
    for (size_t j = 0; j < plan->parts; j++) {
        plan->capacities[j] = get_f64(in);
        plan->loads[j] = get_f64(in);
        if (!(plan->capacities[j] > 0 && plan->capacities[j] <= 1 &&
              plan->loads[j] >= 0 && plan->loads[j] <= DBL_MAX))
            return "a part's capacity or load is out of range";
    }
    dml_balance balance;
    if (dml_balance_of(plan->ctx, plan->loads, plan->capacities, plan->parts,
                       &balance) != DML_OK)
        return "the parts' loads or capacities are too far apart, or too large";
    return NULL;
}

static const char *read_bounds(dml_plan *plan, uint64_t count, struct dml__in *in,
                               struct dml__in *text)
{
    for (size_t j = 0; j < count; j++) {
        struct dml__key key;
        if (!read_key(plan, get_u64(in), text, &key))
            return "a bound is longer than what is there";
        double share = get_f64(in);
        const struct dml__bound *last = j > 0 ? &plan->bounds[j - 1] : NULL;
        int order = last != NULL ? dml__key_compare(plan->kind, &last->key, &key) : -1;
        if (!(share >= 0 && share <= 1) || order > 0 ||
            (order == 0 && share < last->share))
            return "bounds are not in order";
        dml__plan_add_bound(plan, &key, share);
    }
    return NULL;
}

static const char *read_homes(dml_plan *plan, struct dml__in *in)
{
    const unsigned char *bytes = get_bytes(in, HOME_BYTES * plan->nhomes);
    for (size_t b = 0; b < plan->nhomes; b++) {
        plan->homes[b] = (uint16_t)(bytes[2 * b] | bytes[2 * b + 1] << 8);
        if (plan->homes[b] >= plan->parts)
            return "a home is no part of the plan";
    }
    return NULL;
}

static const char *read_exceptions(dml_plan *plan, size_t count, size_t npieces,
                                   struct dml__in *in, struct dml__in *text)
{
    for (size_t i = 0; i < count; i++) {
        struct dml__exception *exception = &plan->exceptions[i];
        if (!read_key(plan, get_u64(in), text, &exception->key))
            return "a key is longer than what is there";
        uint64_t pieces = get_u64(in);
        exception->first = (uint32_t)pieces;
        exception->count = (uint32_t)(pieces >> 32);
        exception->hash = dml__key_hash(plan->kind, &exception->key, plan->hash_seed);
        if (exception->count == 0 || exception->count > npieces ||
            exception->first > npieces - exception->count)
            return "a key's parts are out of range";
        if (i > 0 &&
            dml__key_compare(plan->kind, &exception[-1].key, &exception->key) >= 0)
            return "keys are not in order";
        plan->nexceptions++;
    }
    for (size_t i = 0; i < npieces; i++) {
        uint64_t part = get_u64(in);
        double until = get_f64(in);
        if (part >= plan->parts || !(until >= 0 && until <= 1))
            return "a part of a key, or its share, is out of range";
        plan->pieces[plan->npieces++] =
            (struct dml__piece){.part = (uint32_t)part, .until = until};
    }
    for (size_t i = 0; i < count; i++) {
        const struct dml__exception *exception = &plan->exceptions[i];
        if (plan->pieces[exception->first + exception->count - 1].until < 1)
            return "a key's shares do not end at 1";
    }
    return NULL;
}

/* The counts of a plan that is being read. */
struct counts {
    uint64_t parts, bounds, homes, exceptions, pieces, text;
};

/* Do the counts fit a planner, and make up exactly the bytes that are left? */
static bool counts_are_sound(const struct counts *n, bool ordered, dml_key_kind kind,
                             size_t left)
{
    if (n->parts == 0 || n->parts > DML__MOST_PARTS || n->bounds >= n->parts ||
        n->homes > MOST_HOMES || (n->homes & (n->homes - 1)) != 0 ||
        n->exceptions > left / EXCEPTION_BYTES || n->exceptions >= UINT32_MAX / 4 ||
        n->pieces > left / PIECE_BYTES || n->pieces >= UINT32_MAX ||
        n->pieces < n->exceptions || n->text > left)
        return false;
    if (ordered ? n->homes + n->exceptions + n->pieces > 0
                : n->homes == 0 || n->bounds > 0)
        return false;
    return (kind == DML_KEY_BYTES || n->text == 0) &&
           PART_BYTES * n->parts + BOUND_BYTES * n->bounds + HOME_BYTES * n->homes +
                   EXCEPTION_BYTES * n->exceptions + PIECE_BYTES * n->pieces +
                   n->text ==
               left;
}

static bool make_room(dml_plan *plan, const struct counts *n)
{
    plan->loads = dml__alloc(plan->ctx, dml__mul(plan->parts, sizeof *plan->loads));
    plan->capacities =
        dml__alloc(plan->ctx, dml__mul(plan->parts, sizeof *plan->capacities));
    return plan->loads != NULL && plan->capacities != NULL &&
           dml__plan_room_for_bounds(plan) &&
           dml__plan_room_for_homes(plan, (size_t)n->homes) &&
           dml__plan_room_for_exceptions(plan, (size_t)n->exceptions,
                                         (size_t)n->pieces);
}

dml_status dml_plan_unpack(dml_ctx *ctx, const void *bytes, size_t count,
                           dml_plan **plan)
{
    if (plan == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "the result is NULL");
    struct dml__in in;
    DML_TRY(dml__in_open(ctx, __func__, &in, bytes, count, name));
    uint64_t planner = get_u64(&in), kind = get_u64(&in);
    struct counts n = {.parts = get_u64(&in)};
    uint64_t hash_seed = get_u64(&in);
    double weight = get_f64(&in);
    n.bounds = get_u64(&in);
    n.homes = get_u64(&in);
    n.exceptions = get_u64(&in);
    n.pieces = get_u64(&in);
    n.text = get_u64(&in);
    if (in.ran_out || planner >= DML_NPLANNERS || kind > DML_KEY_BYTES ||
        !(weight >= 0 && weight <= DBL_MAX) ||
        !counts_are_sound(&n, dml__planner_ordered((dml_planner)planner),
                          (dml_key_kind)kind, bytes_left(&in)))
        return dml__fail(ctx, DML_EFORMAT, __func__,
                         "offset %zu of %zu: the head is not that of a plan of this "
                         "many bytes",
                         in.at, count);
    dml_plan *p = dml__alloc(ctx, sizeof *p);
    if (p != NULL)
        *p = (dml_plan){.ctx = ctx,
                        .planner = (dml_planner)planner,
                        .kind = (dml_key_kind)kind,
                        .parts = (size_t)n.parts,
                        .hash_seed = hash_seed,
                        .weight = weight};
    if (p == NULL || !make_room(p, &n))
        goto no_memory;
    struct dml__in text = {
        .bytes = in.bytes, .count = in.count, .at = in.count - (size_t)n.text};
    const char *fault = read_parts(p, &in);
    if (fault == NULL)
        fault = read_bounds(p, n.bounds, &in, &text);
    if (fault == NULL)
        fault = read_homes(p, &in);
    if (fault == NULL)
        fault = read_exceptions(p, (size_t)n.exceptions, (size_t)n.pieces, &in, &text);
    if (fault == NULL && text.at != text.count)
        fault = "strings are left over";
    if (fault != NULL)
        goto refuse;
    if (!dml__plan_seal(p))
        goto no_memory;
    *plan = p;
    return DML_OK;
refuse:
    dml_plan_destroy(p);
    return dml__fail(ctx, DML_EFORMAT, __func__, "offset %zu of %zu: %s", in.at, count,
                     fault);
no_memory:
    dml_plan_destroy(p);
    return dml__fail(ctx, DML_ENOMEM, __func__, "no memory for a plan of %zu parts",
                     (size_t)n.parts);
}
