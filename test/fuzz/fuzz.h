/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the fuzzers share. Each is a function of some bytes, which it reads as a file by
 * the public calls; libFuzzer calls it, or replay.c with the kept inputs. Nothing may
 * crash, hang, leak or be reported by a sanitizer; wrong input is a status.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "dml/dml.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The context of all inputs: silent. */
dml_ctx *fuzz_ctx(void);

/* A file with these bytes; suffix is "" or what its name ends in. The path is the same
 * in each call, and removed at the end of the process. */
const char *fuzz_file(const char *suffix, const uint8_t *data, size_t size);

/* Stops the process, as a sanitizer does, where something that must hold does not. */
void fuzz_require(bool holds);

/* The first byte of an input chooses options. */
uint8_t fuzz_take(const uint8_t **data, size_t *size);

/* A copy, to be freed, for readers of histograms, sketches and plans: if "mend", the
 * last eight bytes are made the checksum of those before, as few inputs would come
 * further otherwise. */
uint8_t *fuzz_summed(const uint8_t *data, size_t size, bool mend);

/* A few keys of a kind, to ask for. */
dml_keys fuzz_keys(dml_key_kind kind);

#endif
