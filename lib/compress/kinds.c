/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The codecs there are.
 */
#include "compress/codec.h"

static const struct dml__codec_kind *const kinds[] = {
    &dml__codec_f16,     &dml__codec_bf16,     &dml__codec_eightbit, &dml__codec_onebit,
    &dml__codec_sign,    &dml__codec_terngrad, &dml__codec_topk,     &dml__codec_dgc,
    &dml__codec_randomk, &dml__codec_powersgd,
};

const struct dml__codec_kind *dml__codec_kind(size_t index)
{
    return index < sizeof kinds / sizeof *kinds ? kinds[index] : NULL;
}

const char *dml_codec_name(size_t index)
{
    const struct dml__codec_kind *kind = dml__codec_kind(index);
    return kind != NULL ? kind->name : NULL;
}

const char *dml_codec_description(size_t index)
{
    const struct dml__codec_kind *kind = dml__codec_kind(index);
    return kind != NULL ? kind->description : NULL;
}
