/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Template: dst = a OP b for a type that is its own accumulator. Included per type and
 * operation by plain_tmpl.h; the same loop serves reduce, fold and merge.
 */
static void FN(JOIN(reduce, OP))(void *dst, const void *a, const void *b, size_t n,
                                 double arg)
{
    (void)arg;
    INDEPENDENT
    for (size_t i = 0; i < n; i++)
        FN(put)(dst, i, FN(OP)(FN(get)(a, i), FN(get)(b, i)));
}
