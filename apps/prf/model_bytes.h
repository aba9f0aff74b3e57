/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers and texts of model files; little endian. */
#ifndef PRF_MODEL_BYTES_H
#define PRF_MODEL_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define MODEL_MAGIC       "DMLPRF\r\n"
#define MODEL_MAGIC_BYTES 8
#define MODEL_VERSION     1u

struct model_writer {
    FILE *file; /* NULL: only the checksum is made */
    unsigned long crc;
    bool failed;
};

void put_bytes(struct model_writer *writer, const void *bytes, size_t count);
void put_number(struct model_writer *writer, uint64_t number, int bytes);
void put_real(struct model_writer *writer, double number);
void put_text(struct model_writer *writer, const char *text); /* NULL is kept apart */

/* Reading past the end sets "bad" and gives zeros. */
struct model_reader {
    const unsigned char *bytes;
    size_t at, size;
    bool bad; /* cut short, or what cannot be */
    bool no_memory;
};

const unsigned char *get_bytes(struct model_reader *reader, size_t count); /* or NULL */
uint64_t get_number(struct model_reader *reader, int bytes);
double get_real(struct model_reader *reader);
char *get_text(struct model_reader *reader); /* free(3) it; NULL: none, or bad */

#endif
