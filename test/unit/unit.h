/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cmocka, after the headers that it needs and does not include itself.
 */
#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* Apart, so that the formatter keeps it last. */
#include <cmocka.h>

#endif
