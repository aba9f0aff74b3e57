/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Record files from start to end, and at offsets. Skipping ends at the file's end
 * without an error, and finds each record that the strict reading gives.
 */
#include "fuzz.h"

static uint64_t read_all(const char *path, uint8_t choice, dml_on_error on_error)
{
    dml_records_opts opts;
    dml_records_opts_init(&opts);
    opts.on_error = on_error;
    opts.check = (choice & 1) == 0;
    opts.max_bytes = (choice & 2) != 0 ? 100 : 1 << 20;
    dml_records *records = NULL;
    dml_record record;
    dml_status status = dml_records_open(fuzz_ctx(), path, &opts, &records);
    uint64_t bytes = 0, count = 0;
    while (status == DML_OK &&
           (status = dml_records_next(records, &record)) == DML_OK) {
        fuzz_require(record.bytes <= opts.max_bytes);
        for (size_t i = 0; i < record.bytes; i++)
            bytes += ((const uint8_t *)record.data)[i];
        count++;
    }
    /* A broken gzip stream cannot be skipped. */
    fuzz_require(status == DML_EEND || status == DML_EFORMAT);
    dml_records_close(records);
    return count + (bytes & 0); /* all bytes are there to be read */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t choice = fuzz_take(&data, &size), buffer[256];
    const char *path = fuzz_file("", data, size);
    uint64_t strict = read_all(path, choice, DML_ON_ERROR_FAIL);
    fuzz_require(read_all(path, choice, DML_ON_ERROR_SKIP) >= strict);
    dml_record_file *file = NULL;
    dml_record record;
    if (dml_record_file_open(fuzz_ctx(), path, true, &file) == DML_OK) {
        dml_record_file_read(file, choice, buffer, sizeof buffer, &record);
        dml_record_file_read(file, 0, buffer, choice, &record);
    }
    dml_record_file_close(file);
    dml_record_index *index = NULL;
    dml_record_index_build(fuzz_ctx(), path, NULL, NULL, NULL, &index);
    dml_record_index_destroy(index);
    return 0;
}
