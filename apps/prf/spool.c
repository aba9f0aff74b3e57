/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records of trees in a file without a name.
 */
#include "spool.h"

#include <stdlib.h>

dml_status spool_open(struct job *job, struct spool *spool)
{
    *spool = (struct spool){.file = tmpfile()};
    if (!spool->file)
        return job_fail(job, DML_EIO,
                        "cannot keep trees in a temporary file; is /tmp writable?");
    return DML_OK;
}

void spool_close(struct spool *spool)
{
    if (spool->file)
        fclose(spool->file);
    free(spool->entry);
    *spool = (struct spool){0};
}

bool spool_add(struct spool *spool, uint64_t number, const unsigned char *record,
               size_t bytes)
{
    if (spool->n == spool->room) {
        size_t room = spool->room ? 2 * spool->room : 64;
        struct spool_entry *entry = realloc(spool->entry, room * sizeof *entry);
        if (!entry)
            return false;
        spool->entry = entry;
        spool->room = room;
    }
    if (!spool->at_end && fseeko(spool->file, (off_t)spool->end, SEEK_SET) != 0)
        return false;
    spool->at_end = true;
    if (fwrite(record, 1, bytes, spool->file) != bytes)
        return false;
    spool->entry[spool->n++] = (struct spool_entry){number, spool->end, bytes};
    spool->end += bytes;
    return true;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = ((const struct spool_entry *)a)->number;
    uint64_t y = ((const struct spool_entry *)b)->number;
    return (x > y) - (x < y);
}

void spool_sort(struct spool *spool)
{
    if (spool->n > 0)
        qsort(spool->entry, spool->n, sizeof *spool->entry, by_number);
}

bool spool_read(struct spool *spool, uint64_t offset, void *data, size_t bytes)
{
    spool->at_end = false;
    return fseeko(spool->file, (off_t)offset, SEEK_SET) == 0 &&
           fread(data, 1, bytes, spool->file) == bytes;
}

unsigned char *spool_get(struct spool *spool, size_t i)
{
    const struct spool_entry *entry = &spool->entry[i];
    unsigned char *record = malloc(entry->bytes);
    if (record && !spool_read(spool, entry->offset, record, entry->bytes)) {
        free(record);
        return NULL;
    }
    return record;
}
