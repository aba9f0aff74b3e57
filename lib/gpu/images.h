/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device code of this library: Meson compiles each lib/gpu/NAME.cu to a fat binary,
 * and makes an array of that. Kernels point to the array, so that a file which is not
 * named here does not compile, and one that is not named in meson.build does not link.
 */
#ifndef DML__GPU_IMAGES_H
#define DML__GPU_IMAGES_H

#ifdef DML__CUDA
#define DML__IMAGE(name) dml__fatbin_##name
extern const unsigned long long dml__fatbin_codec_block[], dml__fatbin_codec_momentum[],
    dml__fatbin_codec_power[], dml__fatbin_codec_random[], dml__fatbin_codec_tern[],
    dml__fatbin_codec_topk[], dml__fatbin_optim[], dml__fatbin_reduce[];
#else
#define DML__IMAGE(name) NULL
#endif

#endif
