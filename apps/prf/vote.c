/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Votes: whole numbers that ranks and threads add to shared memory, in any order.
 *
 * A tree votes with the shares of its leaf's classes (in 65535ths), weighted by its
 * accuracy out of bag where that is asked for: class = argmax over c of
 * sum of CA_i * share_i(c); a number is sum of CA_i * h_i / sum of CA_i.
 *
 * Source of the weighting: Chen, Li, Tang et al., TPDS 28(4), 2017.
 */
#include "vote.h"

#include <math.h>

static void add(_Atomic int64_t *sum, int64_t number)
{
    atomic_fetch_add_explicit(sum, number, memory_order_relaxed);
}

static void cast(struct votes *votes, size_t at, uint32_t weight, int64_t vote)
{
    add(&votes->sum[at], vote);
    if (votes->weighted)
        add(&votes->weighted[at], vote * weight);
}

void vote_cast(struct votes *votes, const struct tree *tree, size_t nclasses,
               uint32_t weight, const uint32_t *row, const uint32_t *leaves, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t r = row ? row[i] : i;
        uint32_t link = tree->nodes[leaves[i]].link;
        atomic_fetch_add_explicit(&votes->count[r], 1, memory_order_relaxed);
        if (nclasses == 0) {
            cast(votes, r, weight, (int32_t)link);
        } else if (link < nclasses) {
            cast(votes, r * nclasses + link, weight, UINT16_MAX);
        } else {
            const uint16_t *share = tree->shares + (link - nclasses) * nclasses;
            for (size_t c = 0; c < nclasses; c++)
                if (share[c] > 0)
                    cast(votes, r * nclasses + c, weight, share[c]);
        }
    }
}

size_t vote_class_of_leaf(const struct tree *tree, size_t nclasses, uint32_t leaf)
{
    uint32_t link = tree->nodes[leaf].link;
    if (link < nclasses)
        return link;
    const uint16_t *share = tree->shares + (link - nclasses) * nclasses;
    size_t best = 0;
    for (size_t c = 1; c < nclasses; c++)
        if (share[c] > share[best])
            best = c;
    return best;
}

size_t vote_winner(const _Atomic int64_t *sum, size_t nclasses)
{
    size_t best = 0;
    for (size_t c = 1; c < nclasses; c++)
        if (sum[c] > sum[best])
            best = c;
    return best;
}

dml_status vote_gather(struct group *group, struct votes *votes, size_t nclasses)
{
    size_t width = nclasses ? nclasses : 1;
    if (!group->leaders || group->ngroups == 1 || votes->nrows == 0)
        return DML_OK;
    dml_status status =
        dml_allreduce(DML_IN_PLACE, (void *)votes->sum, votes->nrows * width, DML_I64,
                      DML_SUM, group->leaders);
    if (status == DML_OK && votes->weighted)
        status = dml_allreduce(DML_IN_PLACE, (void *)votes->weighted,
                               votes->nrows * width, DML_I64, DML_SUM, group->leaders);
    if (status == DML_OK)
        status = dml_allreduce(DML_IN_PLACE, (void *)votes->count, votes->nrows,
                               DML_I32, DML_SUM, group->leaders);
    return job_note(group->job, status);
}

uint32_t vote_weight(const struct tree *tree, size_t nclasses, double target_variance,
                     uint32_t usual)
{
    if (tree->oob_rows == 0)
        return usual;
    double accuracy = nclasses > 0 ? (double)tree->oob_right / (double)tree->oob_rows
                                   : 1 - tree->oob_error / target_variance;
    return accuracy > 0 ? (uint32_t)lround(accuracy * VOTE_ONE) : 0;
}

/* A number that is voted for, in whole units of the target. */
static int64_t number_voted(const struct votes *votes, bool weighted, double weight_sum,
                            size_t r)
{
    return llround(weighted ? (double)votes->weighted[r] / weight_sum
                            : (double)votes->sum[r] / (double)votes->count[r]);
}

void vote_sum(const struct votes *votes, bool weighted, double weight_sum,
              const struct vote_truth *truth, int64_t sums[VOTE_SUMS])
{
    int64_t rows = 0, right = 0;
    exact y = 0, squares = 0, errors = 0;
    const _Atomic int64_t *sum = weighted ? votes->weighted : votes->sum;
    for (size_t r = 0; r < votes->nrows; r++) {
        if (votes->count[r] == 0)
            continue;
        rows++;
        if (truth->nclasses > 0) {
            right += vote_winner(sum + r * truth->nclasses, truth->nclasses) ==
                     truth->label[r];
            continue;
        }
        int64_t mine = truth->far ? truth->far[r] : truth->target[r];
        int64_t error = number_voted(votes, weighted, weight_sum, r) - mine;
        y += (exact)(exact_signed)mine;
        squares += exact_square(mine);
        errors += exact_square(error);
    }
    sums[VOTE_ROWS] = rows;
    sums[VOTE_RIGHT] = right;
    exact_put(y, sums + VOTE_Y);
    exact_put(squares, sums + VOTE_SQUARES);
    exact_put(errors, sums + VOTE_ERRORS);
}

struct vote_score vote_score(const int64_t sums[VOTE_SUMS], bool classes)
{
    struct vote_score score = {.rows = (size_t)sums[VOTE_ROWS]};
    double n = (double)score.rows;
    if (score.rows == 0)
        return score;
    if (classes) {
        score.value = (double)sums[VOTE_RIGHT] / n;
        return score;
    }
    double y = (double)(exact_signed)exact_get(sums + VOTE_Y);
    double spread = (double)exact_get(sums + VOTE_SQUARES) - y * (y / n);
    double errors = (double)exact_get(sums + VOTE_ERRORS);
    score.value = spread > 0 ? 1 - errors / spread : 0;
    return score;
}
