/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The files of device code, one X(NAME) for each lib/gpu/NAME.cu: Meson compiles them
 * to machine code (a fat binary) and makes an array dml__fatbin_NAME of each, which the
 * driver loads when a kernel of it is first launched. Name them in meson.build too.
 */
#ifndef DML__GPU_IMAGES_H
#define DML__GPU_IMAGES_H

#define DML__GPU_IMAGES(X) \
    X(codec_block)         \
    X(codec_power)         \
    X(codec_topk)          \
    X(optim)               \
    X(reduce)

#endif
