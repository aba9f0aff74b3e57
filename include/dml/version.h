/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file version.h
 * Version of libdml: the one place it is written down (meson.build reads it).
 */
#ifndef DML_VERSION_H
#define DML_VERSION_H

#define DML_VERSION_MAJOR 0
#define DML_VERSION_MINOR 4
#define DML_VERSION_PATCH 0

/** Number in the shared library's name, libdml.so.N; grows when the ABI breaks. */
#define DML_ABI 2

#endif
