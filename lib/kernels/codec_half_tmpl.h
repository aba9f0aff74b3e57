/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Template: the encoder to one 16-bit float type. Included once per type by
 * codec_set.c, which defines NAME (F16 or BF16) and LARGEST, the largest f32 that does
 * not round to infinity: of elements beyond, the rest stays in the residual.
 */
static inline void FN(encode_lanes)(const float *g, float *e, uint16_t *code,
                                    uint32_t top[BLOCK])
{
    float p[BLOCK], sent[BLOCK];
    INDEPENDENT
    for (int j = 0; j < BLOCK; j++) {
        p[j] = g[j] + e[j];
        top[j] = dml__f32_magnitude(p[j]) > top[j] ? dml__f32_magnitude(p[j]) : top[j];
        sent[j] = p[j] < LARGEST ? p[j] : LARGEST;
        sent[j] = sent[j] > -LARGEST ? sent[j] : -LARGEST;
    }
    FN(narrow)(code, sent);
    FN(widen)(sent, code);
    INDEPENDENT
    for (int j = 0; j < BLOCK; j++)
        e[j] = p[j] - sent[j];
}

static uint32_t FN(encode)(size_t n, const float *g, float *e, void *code)
{
    uint32_t top[BLOCK] = {0}, most = 0;
    uint16_t *to = code;
    size_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK)
        FN(encode_lanes)(g + i, e + i, to + i, top);
    if (i < n) {
        float last_g[BLOCK] = {0}, last_e[BLOCK] = {0};
        uint16_t last[BLOCK];
        memcpy(last_g, g + i, (n - i) * sizeof *g);
        memcpy(last_e, e + i, (n - i) * sizeof *e);
        FN(encode_lanes)(last_g, last_e, last, top);
        memcpy(e + i, last_e, (n - i) * sizeof *e);
        memcpy(to + i, last, (n - i) * sizeof *to);
    }
    for (int j = 0; j < BLOCK; j++)
        most = top[j] > most ? top[j] : most;
    return most;
}

#undef NAME
#undef LARGEST
