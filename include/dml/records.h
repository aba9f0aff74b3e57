/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file records.h
 * Record files: byte strings of any length one after the other, each with checksums, in
 * the frame of TFRecord files, so that existing files are read and other programs read
 * what is written here. A side file "PATH.index" tells where each record lies, and its
 * key and weight: for random access, for shuffling and for partition plans. The formats
 * are described byte by byte in doc/data.md.
 *
 * Nothing here communicates: a rank reads what it is told to, by offsets.
 * Every error names the file and the offset of the record. A handle belongs to one
 * thread at a time, but where a function says otherwise.
 */
#ifndef DML_RECORDS_H
#define DML_RECORDS_H

#include "dml/data.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Bytes of a frame beside its record: length, its checksum, the record's checksum. */
#define DML_RECORD_FRAME_BYTES 16

/* ---- writing -------------------------------------------------------------------- */

/** Options of a writer. Fill with dml_record_writer_opts_init(). */
typedef struct dml_record_writer_opts {
    size_t size; /**< sizeof(dml_record_writer_opts), set by the initialiser */
    bool index;  /**< write PATH.index too; default true */
    bool sync;   /**< commit waits until the disk has the bytes (fsync); default true */
} dml_record_writer_opts;

typedef struct dml_record_writer dml_record_writer;

/** Set all defaults. Any thread. @since 0.3 */
DML_API void dml_record_writer_opts_init(dml_record_writer_opts *opts);

/**
 * Begin a record file. It is written as PATH.partial-PROCESS-NUMBER and gets its name
 * at the commit: a run that is killed, or a full disk, leaves no half file of that
 * name. Not collective.
 * @param[in]  path    copied. A file of that name is replaced at the commit, also one
 *                     that a link leads to; a device, a pipe or a folder is refused.
 * @param[in]  opts    borrowed until return; NULL for the defaults.
 * @param[out] writer  returned; free with dml_record_writer_destroy().
 * @return DML_OK | DML_EINVAL | DML_EIO (cannot create) | DML_ENOMEM.
 * Threads: one at a time.  @since 0.3
 */
DML_API dml_status dml_record_writer_create(dml_ctx *ctx, const char *path,
                                            const dml_record_writer_opts *opts,
                                            dml_record_writer **writer);

/**
 * Append one record.
 * @param[in] data    [bytes] borrowed until return; bytes 0 is legal.
 * @param[in] key     what a partition plan groups by; any number, for the index.
 * @param[in] weight  predicted work of the record, finite and not below 0; for the
 *                    index. 1 where nothing is known.
 * @return DML_OK | DML_EINVAL (weight) | DML_EIO (disk full: which file, how many bytes
 *         were written; later calls fail too) | DML_ENOMEM.  @since 0.3
 */
DML_API dml_status dml_record_writer_append(dml_record_writer *writer, const void *data,
                                            size_t bytes, uint64_t key, double weight);

/** Records appended so far. @since 0.3 */
DML_API uint64_t dml_record_writer_count(const dml_record_writer *writer);

/**
 * Write what is left, give both files their names. Nothing can be appended afterwards.
 * @return DML_OK | DML_EIO (no file of that name is left that was not there before; one
 *         that was there can be the new one by then, with an index that is stale).
 * @since 0.3
 */
DML_API dml_status dml_record_writer_commit(dml_record_writer *writer);

/** Free. Without a commit the partial files are removed. NULL is a no-op. @since 0.3 */
DML_API void dml_record_writer_destroy(dml_record_writer *writer);

/* ---- reading from start to end --------------------------------------------------- */

/** One record as a reader hands it out. */
typedef struct dml_record {
    const void *data; /**< [bytes] borrowed until the next call on the reader */
    size_t bytes;
    uint64_t offset; /**< of its frame in the file (decoded bytes, if it is gzip) */
    uint64_t number; /**< 0, 1, ... among the records handed out */
} dml_record;

/** Options of a reader. Fill with dml_records_opts_init(). */
typedef struct dml_records_opts {
    size_t size;           /**< sizeof(dml_records_opts), set by the initialiser */
    bool check;            /**< compare the checksums of the data; those of the lengths
                                always are; default true */
    dml_on_error on_error; /**< default DML_ON_ERROR_FAIL. When skipping, a record with
                              a wrong checksum is left out, and after a damaged length
                                the next frame is searched for */
    size_t max_bytes;      /**< longest record that is accepted; default 1 GiB */
    uint64_t begin, end;   /**< only frames that start at begin <= offset < end; begin
                                must be a frame's start; default 0 and UINT64_MAX */
} dml_records_opts;

typedef struct dml_records dml_records;

/** Set all defaults. Any thread. @since 0.3 */
DML_API void dml_records_opts_init(dml_records_opts *opts);

/**
 * Open a record file, plain or gzip ("-": standard input), to read it in order in
 * bounded memory: a buffer, or the longest record.
 * Not collective.
 * @param[in]  path     copied.
 * @param[in]  opts     borrowed until return; NULL for the defaults.
 * @param[out] records  returned; free with dml_records_close().
 * @return DML_OK | DML_EINVAL | DML_EIO | DML_ENOMEM.
 * Threads: one at a time.  @since 0.3
 */
DML_API dml_status dml_records_open(dml_ctx *ctx, const char *path,
                                    const dml_records_opts *opts,
                                    dml_records **records);

/**
 * The next record.
 * @param[out] record  written on DML_OK.
 * @return DML_OK | DML_EEND (no more) | DML_EFORMAT (wrong checksum, cut short, longer
 *         than max_bytes; the reader stays there) | DML_EIO | DML_ENOMEM.  @since 0.3
 */
DML_API dml_status dml_records_next(dml_records *records, dml_record *record);

/** Damaged places passed over so far, with DML_ON_ERROR_SKIP. @since 0.3 */
DML_API uint64_t dml_records_skipped(const dml_records *records);

/** Free; NULL is a no-op. @since 0.3 */
DML_API void dml_records_close(dml_records *records);

/* ---- the index ------------------------------------------------------------------- */

/** Where one record lies. */
typedef struct dml_record_entry {
    uint64_t offset; /**< of its frame */
    uint64_t bytes;  /**< of the record, without the frame */
    uint64_t key;
    double weight;
} dml_record_entry;

typedef struct dml_record_index dml_record_index;

/**
 * Read PATH.index, and make sure that it belongs to the record file PATH as it is now.
 * Where the file's time differs (it was copied), its frames are compared with the
 * index, without their data.
 * Not collective.
 * @param[in]  path   of the record file; borrowed until return.
 * @param[out] index  returned; free with dml_record_index_destroy().
 * @return DML_OK | DML_EIO (no such file: the message says how to make the index) |
 *         DML_EFORMAT (damaged) | DML_EMISMATCH (stale: the record file is another than
 *         the one that was indexed) | DML_ENOMEM.  Threads: any.  @since 0.3
 */
DML_API dml_status dml_record_index_open(dml_ctx *ctx, const char *path,
                                         dml_record_index **index);

/** Gives a record its key and its weight; both are as the writer's. */
typedef void dml_record_key_fn(void *user, const dml_record *record, uint64_t *key,
                               double *weight);

/**
 * Read a record file and index it.
 * Not collective.
 * @param[in]  path   of the record file, plain; borrowed until return.
 * @param[in]  opts   of the reading, without begin and end; NULL for the defaults.
 * @param[in]  key    called for each record; NULL: key is its number, weight its bytes.
 * @param[out] index  returned; free with dml_record_index_destroy().
 * @return as dml_records_open() and dml_records_next(); DML_EUNSUPPORTED for gzip.
 * @since 0.3
 */
DML_API dml_status dml_record_index_build(dml_ctx *ctx, const char *path,
                                          const dml_records_opts *opts,
                                          dml_record_key_fn *key, void *user,
                                          dml_record_index **index);

/** Write PATH.index, whole or not at all. @p path is the record file's.
 * @return DML_OK | DML_EIO | DML_ENOMEM.  @since 0.3 */
DML_API dml_status dml_record_index_write(dml_ctx *ctx, const dml_record_index *index,
                                          const char *path);

/** Number of records. Any thread. @since 0.3 */
DML_API size_t dml_record_index_count(const dml_record_index *index);

/** All entries [count], in the file's order; they live as long as the index. Any
 * thread. @since 0.3 */
DML_API const dml_record_entry *dml_record_index_entries(const dml_record_index *index);

/** Free; NULL is a no-op. @since 0.3 */
DML_API void dml_record_index_destroy(dml_record_index *index);

/* ---- random access --------------------------------------------------------------- */

typedef struct dml_record_file dml_record_file;

/**
 * Open a plain record file to read records at known offsets.
 * Not collective.
 * @param[in]  path   copied.
 * @param[in]  check  compare the checksums of the data.
 * @param[out] file   returned; free with dml_record_file_close().
 * @return DML_OK | DML_EINVAL | DML_EIO | DML_EUNSUPPORTED (gzip, or not a regular
 *         file) | DML_ENOMEM.  @since 0.3
 */
DML_API dml_status dml_record_file_open(dml_ctx *ctx, const char *path, bool check,
                                        dml_record_file **file);

/**
 * Read one record.
 * @param[in]  offset  of its frame.
 * @param[out] buffer  [room] the frame's bytes come in while reading: needs the
 *                     record's bytes + DML_RECORD_FRAME_BYTES of room.
 * @param[out] record  data points into buffer; number is 0.
 * @return DML_OK | DML_EINVAL (room too small: the message names size and offset, and
 *         dml_error.seen the bytes needed) | DML_EFORMAT (no intact frame there) |
 *         DML_EIO.  Threads: any, also at once, each with its buffer.  @since 0.3
 */
DML_API dml_status dml_record_file_read(const dml_record_file *file, uint64_t offset,
                                        void *buffer, size_t room, dml_record *record);

/** Bytes of the file. Any thread. @since 0.3 */
DML_API uint64_t dml_record_file_bytes(const dml_record_file *file);

/** Free; no thread may read any more. NULL is a no-op. @since 0.3 */
DML_API void dml_record_file_close(dml_record_file *file);

/* ---- checksum -------------------------------------------------------------------- */

/**
 * CRC32C (Castagnoli) of bytes, continued from that of the bytes before them (0 at the
 * start). dml_crc32c(ctx, 0, "123456789", 9) is 0xE3069283.
 * Not collective. Any thread.  Source: RFC 3720, appendix B.4.  @since 0.3
 */
DML_API uint32_t dml_crc32c(const dml_ctx *ctx, uint32_t crc, const void *data,
                            size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
