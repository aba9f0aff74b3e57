/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A plan's arrays: bounds, homes, and exceptions with the slots by which they are
 * found.
 */
#include "skew/plan.h"

bool dml__plan_room_for_bounds(dml_plan *plan)
{
    plan->bounds = dml__alloc(plan->ctx, dml__mul(plan->parts, sizeof *plan->bounds));
    plan->heads = dml__alloc(plan->ctx, dml__mul(plan->parts, sizeof *plan->heads));
    plan->shares = dml__alloc(plan->ctx, dml__mul(plan->parts, sizeof *plan->shares));
    plan->behind = dml__alloc(plan->ctx, dml__mul(plan->parts, sizeof *plan->behind));
    return plan->bounds != NULL && plan->heads != NULL && plan->shares != NULL &&
           plan->behind != NULL;
}

bool dml__plan_room_for_homes(dml_plan *plan, size_t nhomes)
{
    plan->nhomes = nhomes;
    plan->homes = dml__alloc(plan->ctx, dml__mul(nhomes, sizeof *plan->homes));
    return plan->homes != NULL;
}

bool dml__plan_room_for_exceptions(dml_plan *plan, size_t nexceptions, size_t npieces)
{
    plan->exceptions =
        dml__alloc(plan->ctx, dml__mul(nexceptions, sizeof *plan->exceptions));
    plan->pieces = dml__alloc(plan->ctx, dml__mul(npieces, sizeof *plan->pieces));
    return plan->exceptions != NULL && plan->pieces != NULL;
}

void dml__plan_add_bound(dml_plan *plan, const struct dml__key *key, double share)
{
    plan->bounds[plan->nbounds++] = (struct dml__bound){.key = *key, .share = share};
}

static bool copy_text(dml_plan *plan)
{
    size_t bytes = 0;
    for (size_t j = 0; j < plan->nbounds; j++)
        bytes += plan->bounds[j].key.count;
    for (size_t i = 0; i < plan->nexceptions; i++)
        bytes += plan->exceptions[i].key.count;
    plan->text_bytes = bytes;
    plan->text = dml__alloc(plan->ctx, bytes);
    if (plan->text == NULL)
        return false;
    unsigned char *to = plan->text;
    for (size_t j = 0; j < plan->nbounds; j++)
        dml__key_move(&plan->bounds[j].key, &to);
    for (size_t i = 0; i < plan->nexceptions; i++)
        dml__key_move(&plan->exceptions[i].key, &to);
    return true;
}

static bool make_slots(dml_plan *plan)
{
    if (plan->nexceptions == 0)
        return true;
    plan->nslots = 16;
    while (plan->nslots < 2 * plan->nexceptions)
        plan->nslots *= 2;
    plan->slots = dml__alloc(plan->ctx, dml__mul(plan->nslots, sizeof *plan->slots));
    if (plan->slots == NULL)
        return false;
    for (size_t i = 0; i < plan->nexceptions; i++) {
        const struct dml__exception *exception = &plan->exceptions[i];
        size_t place = exception->hash & (plan->nslots - 1);
        while (plan->slots[place].index != 0)
            place = (place + 1) & (plan->nslots - 1);
        plan->slots[place] = (struct dml__exception_slot){
            .tag = plan->kind == DML_KEY_U64 ? exception->key.head : exception->hash,
            .index = (uint32_t)i + 1,
            .part = exception->count == 1 ? plan->pieces[exception->first].part
                                          : DML__SPLIT,
        };
    }
    return true;
}

bool dml__plan_seal(dml_plan *plan)
{
    for (size_t j = plan->nbounds; j-- > 0;) {
        const struct dml__bound *bound = &plan->bounds[j];
        plan->heads[j] = bound->key.head;
        plan->shares[j] = bound->share;
        bool same = j + 1 < plan->nbounds && dml__key_equal(&bound->key, &bound[1].key);
        plan->behind[j] = same ? plan->behind[j + 1] : (uint32_t)j + 1;
    }
    return copy_text(plan) && make_slots(plan);
}
