/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file text.h
 * Readers of text files: lines, tables (CSV, TSV), libsvm rows, and sentences in
 * columns (CoNLL, CoNLL-U). All are streaming, in bounded memory; read plain and gzip
 * files alike, and standard input as "-"; take LF and CRLF, with or without a newline
 * at the end; do not depend on the locale; and report what is wrong with file and line.
 *
 * Texts handed out end in a zero byte and hold no other: they are C strings as well.
 * They live until the next call on their reader.
 *
 * One reader belongs to one thread at a time; different readers may run at once.
 *
 * Nothing here communicates. With options rank and nranks the file is shared out by
 * bytes: a rank gets the lines that begin in its range, each line goes to one rank.
 */
#ifndef DML_TEXT_H
#define DML_TEXT_H

#include "dml/data.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A piece of text: borrowed. */
typedef struct dml_text {
    const char *data; /**< [bytes], then a zero */
    size_t bytes;
} dml_text;

/** What all text readers are told. Fill with dml_text_opts_init(). */
typedef struct dml_text_opts {
    size_t size;           /**< sizeof(dml_text_opts), set by the initialiser */
    dml_on_error on_error; /**< default DML_ON_ERROR_FAIL */
    size_t max_line_bytes; /**< a longer line (row, for tables) is an error; default
                                16 MiB */
    int rank, nranks;      /**< this reader's share of a plain file; default 0 of 1.
                                Needs a format with one row a line: libsvm, lines, and
                                tables without newlines in quotes */
} dml_text_opts;

/** Set all defaults. Any thread. @since 0.3 */
DML_API void dml_text_opts_init(dml_text_opts *opts);

/* ---- lines ------------------------------------------------------------------------
 */

typedef struct dml_lines dml_lines;

/** One line without its end. */
typedef struct dml_line {
    dml_text text;
    uint64_t number; /**< in the file: 1, 2, ... With nranks > 1 in this rank's range */
    uint64_t offset; /**< of its first byte, in decoded bytes */
} dml_line;

/**
 * Open a text file.
 * Not collective.
 * @param[in]  path   copied.  @param[in] opts  borrowed until return; NULL: defaults.
 * @param[out] lines  returned; free with dml_lines_close().
 * @return DML_OK | DML_EINVAL | DML_EIO | DML_EUNSUPPORTED (a share of a gzip file or
 * of standard input) | DML_ENOMEM.  Threads: one at a time.  @since 0.3
 */
DML_API dml_status dml_lines_open(dml_ctx *ctx, const char *path,
                                  const dml_text_opts *opts, dml_lines **lines);

/**
 * The next line. An empty file has no line; a newline at the end begins none.
 * @param[out] line  written on DML_OK.
 * @return DML_OK | DML_EEND | DML_EFORMAT (zero byte, too long a line, broken gzip) |
 *         DML_EIO | DML_ENOMEM.  @since 0.3
 */
DML_API dml_status dml_lines_next(dml_lines *lines, dml_line *line);

/** Lines left out so far, with DML_ON_ERROR_SKIP. @since 0.3 */
DML_API uint64_t dml_lines_skipped(const dml_lines *lines);

/** For messages about the last line: its number in the whole file. With nranks > 1 the
 * file is read up to there, once; 0 where that fails. @since 0.3 */
DML_API uint64_t dml_lines_number(dml_lines *lines);

/** Free; NULL is a no-op. @since 0.3 */
DML_API void dml_lines_close(dml_lines *lines);

/* ---- tables: CSV, TSV --------------------------------------------------------------
 */

/** How a column's cells are handed out. */
typedef enum dml_column_type {
    DML_COLUMN_SKIP = 0, /**< not at all */
    DML_COLUMN_F32 = 1,  /**< numbers, correctly rounded; NaN where missing */
    DML_COLUMN_F64 = 2,  /**< likewise */
    DML_COLUMN_TEXT = 3  /**< text, quotes taken off */
} dml_column_type;

/** Is the first row a header? */
typedef enum dml_header {
    DML_HEADER_AUTO = 0, /**< yes if none of its cells is a number and the next row has
                              one */
    DML_HEADER_YES = 1,
    DML_HEADER_NO = 2
} dml_header;

/** Options of a table. Fill with dml_table_opts_init(). */
typedef struct dml_table_opts {
    size_t size;         /**< sizeof(dml_table_opts), set by the initialiser */
    dml_text_opts text;  /**< see there */
    char delimiter;      /**< between cells; 0 (default): of comma, tab, semicolon and
                              bar the one that cuts the first rows alike */
    dml_header header;   /**< default DML_HEADER_AUTO */
    bool quotes;         /**< a cell may stand in double quotes; default true */
    const char *missing; /**< words for "no value" in columns of numbers, separated by
                              commas; copied. An empty cell always is. Default
                              "NA,N/A,NaN,nan,null,NULL,?" */
    size_t block_rows;   /**< most rows of a block; default 8192. Fewer where rows are
                              long */
} dml_table_opts;

typedef struct dml_table dml_table;

/** Cells of one column: only the array of the column's type is there. */
typedef union dml_column {
    const float *f32;     /**< [rows] */
    const double *f64;    /**< [rows] */
    const dml_text *text; /**< [rows] */
} dml_column;

/** Rows that follow each other in the file. Borrowed until the next call. */
typedef struct dml_table_block {
    size_t rows;
    uint64_t first;            /**< rows handed out before: this one's first number */
    const dml_column *columns; /**< [columns of the table] */
} dml_table_block;

/** Set all defaults. Any thread. @since 0.3 */
DML_API void dml_table_opts_init(dml_table_opts *opts);

/**
 * Open a table and look at its beginning: delimiter, header, number of columns. Quotes
 * as in RFC 4180: a cell in double quotes may hold delimiters, newlines and, doubled,
 * quotes. Empty lines are passed over. All columns are DML_COLUMN_F64 at first.
 * Not collective.
 * @param[in]  path   copied.  @param[in] opts  borrowed until return; NULL: defaults.
 * @param[out] table  returned; free with dml_table_close().
 * @return DML_OK | DML_EINVAL | DML_EIO | DML_EFORMAT (no row at all, quotes left open)
 *         | DML_EUNSUPPORTED (a share of a gzip file) | DML_ENOMEM.
 * Threads: one at a time.  Source: RFC 4180.  @since 0.3
 */
DML_API dml_status dml_table_open(dml_ctx *ctx, const char *path,
                                  const dml_table_opts *opts, dml_table **table);

/** Number of columns. @since 0.3 */
DML_API size_t dml_table_columns(const dml_table *table);

/** Name from the header; NULL without one or past the last column. @since 0.3 */
DML_API const char *dml_table_name(const dml_table *table, size_t column);

/** The delimiter in use. @since 0.3 */
DML_API char dml_table_delimiter(const dml_table *table);

/** Do the first rows (at most 64 KiB of them) hold nothing but numbers and missing
 * values in this column? Beside numbers, what is not finite ("inf", "-nan", 1e400) does
 * not make it a column of words: dml_table_next() refuses it. @since 0.3 */
DML_API bool dml_table_is_numeric(const dml_table *table, size_t column);

/**
 * Column by name, or else by number: 1 is the first, -1 the last.
 * @param[out] column  index from 0.
 * @return DML_OK | DML_EINVAL (none such: the message lists the first names).
 * @since 0.3
 */
DML_API dml_status dml_table_find(const dml_table *table, const char *name,
                                  size_t *column);

/** Set the type of one column; before the first block. @return DML_OK | DML_EINVAL.
 * @since 0.3 */
DML_API dml_status dml_table_set_type(dml_table *table, size_t column,
                                      dml_column_type type);

/**
 * The next rows.
 * @param[out] block  at least one row; written on DML_OK.
 * @return DML_OK | DML_EEND | DML_EFORMAT (ragged row, a cell that is no finite number,
 *         quotes left open, zero byte, too long a row, broken gzip) | DML_EIO
 *         | DML_ENOMEM. After an error only dml_table_close() is of use.  @since 0.3
 */
DML_API dml_status dml_table_next(dml_table *table, dml_table_block *block);

/** Rows left out so far, with DML_ON_ERROR_SKIP. @since 0.3 */
DML_API uint64_t dml_table_skipped(const dml_table *table);

/** Free; NULL is a no-op. @since 0.3 */
DML_API void dml_table_close(dml_table *table);

/* ---- libsvm ------------------------------------------------------------------------
 */

/** One row of "LABEL [qid:Q] INDEX:VALUE ... [# COMMENT]". Borrowed until the next
 * call. */
typedef struct dml_svm_row {
    double label;
    int64_t qid;           /**< -1 where there is none */
    size_t count;          /**< n */
    const uint32_t *index; /**< [n] as in the file, ascending */
    const float *value;    /**< [n] correctly rounded */
    uint64_t line;         /**< as dml_line.number */
} dml_svm_row;

typedef struct dml_svm dml_svm;

/** Open a libsvm (svmlight) file; parameters and returns as dml_lines_open().
 * @since 0.3 */
DML_API dml_status dml_svm_open(dml_ctx *ctx, const char *path,
                                const dml_text_opts *opts, dml_svm **svm);

/**
 * The next row; empty and comment lines are passed over.
 * @return as dml_lines_next(); DML_EFORMAT also for what is no number, or indices that
 *         do not ascend or are above 2^32 - 1.  @since 0.3
 */
DML_API dml_status dml_svm_next(dml_svm *svm, dml_svm_row *row);

/** Rows left out so far, with DML_ON_ERROR_SKIP. @since 0.3 */
DML_API uint64_t dml_svm_skipped(const dml_svm *svm);

/** Free; NULL is a no-op. @since 0.3 */
DML_API void dml_svm_close(dml_svm *svm);

/* ---- CoNLL -------------------------------------------------------------------------
 */

/** How a file of sentences is laid out. */
typedef enum dml_conll_format {
    DML_CONLL_COLUMNS = 0, /**< a token a line, cells separated by blanks or tabs, an
                                empty line between sentences */
    DML_CONLL_TABS = 1, /**< cells separated by single tabs: cells may hold blanks, or
                             nothing */
    DML_CONLL_U = 2     /**< CoNLL-U: ten cells separated by tabs, comment lines
                             "# ...", ranges "1-2" and empty nodes "1.1" */
} dml_conll_format;

/** Options. Fill with dml_conll_opts_init(). */
typedef struct dml_conll_opts {
    size_t size;             /**< sizeof(dml_conll_opts), set by the initialiser */
    dml_text_opts text;      /**< rank and nranks: 0 and 1 only. max_line_bytes is per
                                  line; max_tokens bounds a sentence */
    dml_conll_format format; /**< default DML_CONLL_COLUMNS */
    size_t columns;          /**< cells of every token; 0 (default): as the first token
                                  of the file */
    size_t max_tokens;       /**< a longer sentence is an error; default 2^20 */
    bool all_nodes;          /**< CoNLL-U: hand out lines of ranges and empty nodes too,
                                  not only words; default false */
} dml_conll_opts;

/** One sentence: at least one token. Borrowed until the next call. */
typedef struct dml_sentence {
    size_t tokens;           /**< T */
    size_t columns;          /**< C, the same in the whole file */
    const dml_text *cells;   /**< [T][C] */
    size_t comments;         /**< lines before the sentence: CoNLL-U only */
    const dml_text *comment; /**< [comments] whole lines, with their "#" */
    uint64_t line;           /**< number of the first token's line */
} dml_sentence;

typedef struct dml_conll dml_conll;

/** Set all defaults. Any thread. @since 0.3 */
DML_API void dml_conll_opts_init(dml_conll_opts *opts);

/** Open; parameters and returns as dml_lines_open(). @since 0.3 */
DML_API dml_status dml_conll_open(dml_ctx *ctx, const char *path,
                                  const dml_conll_opts *opts, dml_conll **conll);

/**
 * The next sentence.
 * @return as dml_lines_next(); DML_EFORMAT also for a token with more or fewer cells
 *         than the first one, and in CoNLL-U for an id out of order. With
 *         DML_ON_ERROR_SKIP the whole sentence is left out.  @since 0.3
 */
DML_API dml_status dml_conll_next(dml_conll *conll, dml_sentence *sentence);

/** Sentences left out so far, with DML_ON_ERROR_SKIP. @since 0.3 */
DML_API uint64_t dml_conll_skipped(const dml_conll *conll);

/** Free; NULL is a no-op. @since 0.3 */
DML_API void dml_conll_close(dml_conll *conll);

#ifdef __cplusplus
}
#endif
#endif
