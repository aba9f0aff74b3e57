/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbers and texts of model files. A text is its length plus 1 as u32 (0: no text) and
 * its bytes.
 */
#include "model_bytes.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

void put_bytes(struct model_writer *writer, const void *bytes, size_t count)
{
    writer->crc = crc32_z(writer->crc, bytes, count);
    if (writer->file && fwrite(bytes, 1, count, writer->file) != count)
        writer->failed = true;
}

void put_number(struct model_writer *writer, uint64_t number, int bytes)
{
    unsigned char text[8];
    for (int i = 0; i < bytes; i++)
        text[i] = (unsigned char)(number >> (8 * i));
    put_bytes(writer, text, (size_t)bytes);
}

void put_real(struct model_writer *writer, double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    put_number(writer, bits, 8);
}

void put_text(struct model_writer *writer, const char *text)
{
    put_number(writer, text ? strlen(text) + 1 : 0, 4);
    if (text)
        put_bytes(writer, text, strlen(text));
}

const unsigned char *get_bytes(struct model_reader *reader, size_t count)
{
    if (reader->bad || count > reader->size - reader->at) {
        reader->bad = true;
        return NULL;
    }
    const unsigned char *bytes = reader->bytes + reader->at;
    reader->at += count;
    return bytes;
}

uint64_t get_number(struct model_reader *reader, int bytes)
{
    const unsigned char *at = get_bytes(reader, (size_t)bytes);
    uint64_t number = 0;
    for (int i = 0; at && i < bytes; i++)
        number |= (uint64_t)at[i] << (8 * i);
    return number;
}

double get_real(struct model_reader *reader)
{
    uint64_t bits = get_number(reader, 8);
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

char *get_text(struct model_reader *reader)
{
    size_t length = get_number(reader, 4);
    const unsigned char *bytes = length > 0 ? get_bytes(reader, length - 1) : NULL;
    if (!bytes || memchr(bytes, 0, length - 1)) {
        reader->bad |= length > 0;
        return NULL;
    }
    char *text = calloc(length, 1);
    if (text)
        memcpy(text, bytes, length - 1);
    else
        reader->bad = reader->no_memory = true;
    return text;
}
