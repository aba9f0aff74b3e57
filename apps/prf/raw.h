/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rows as they stand in files: numbers, words by their number, a label. Text tables,
 * libsvm and idx images look the same from here on. Files are read a block of rows at a
 * time; of what shall be kept of all rows at once, cells may be a sample. F features.
 */
#ifndef PRF_RAW_H
#define PRF_RAW_H

#include "../common/job.h"
#include "words.h"

/* A feature, and the words of a category. */
struct raw_column {
    char *name; /* NULL: none */
    bool is_category;
    struct words words; /* a cell holds the number of a word */
};

/* N rows; cells of rows 0, step, 2 step, ... and columns first .. first + width - 1. */
struct raw_rows {
    size_t nrows, step, first, width;
    float *cells;   /* [(N + step - 1) / step][width] NaN: missing. NULL: bytes */
    uint8_t *bytes; /* likewise, of images */
    double *label;  /* [N] a number, or that of a word; NaN: none */
    float *weight;  /* [N] or NULL */
    size_t row_room, cell_room; /* rows that there is memory for */
};

struct raw {
    size_t nfeatures;
    bool is_bytes, has_weight;
    struct raw_column *column; /* [F] */
    bool label_is_word;
    struct words label_words;
    char *label_name; /* NULL: none */

    struct raw_rows block; /* the rows read last, all of their cells */
    struct raw_rows kept;  /* what raw_keep() has kept of the blocks so far */
};

/* How a file is to be read. */
struct raw_source {
    const char *path;
    const char *format;     /* "auto", "table" or "libsvm"; folders hold idx images */
    const char *label;      /* column by name or number; of tables */
    const char *weights;    /* likewise, or NULL */
    const char *categories; /* columns, separated by commas, or NULL; columns of text
                               are categories in any case */
    const char *part;       /* of a folder: "train" or "t10k" */
    bool again;             /* the file that set the columns is read once more */
};

struct raw_reader;

/* Is it a folder that holds idx images? */
bool raw_is_images(const char *path);

/* Open a file. The first one sets the columns; later ones (a test set, or the same file
 * again) must fit them. The source is borrowed until raw_close(). Not collective. */
dml_status raw_open(struct job *job, const struct raw_source *source, struct raw *raw,
                    struct raw_reader **reader);
/* The next rows go to raw->block; none: the file is at its end. */
dml_status raw_next(struct raw_reader *reader);
void raw_close(struct raw_reader *reader);

/* Add the block to what is kept: labels and weights of all rows; cells of "width"
 * columns from "first" on, of at most "most" rows: as soon as they would be more, every
 * second one is dropped. */
dml_status raw_keep(struct job *job, struct raw *raw, size_t first, size_t width,
                    size_t most);

/* Keep the whole file. */
dml_status raw_read(struct job *job, const struct raw_source *source, struct raw *raw);

void raw_free_rows(struct raw_rows *rows);
void raw_free(struct raw *raw);

/* For readers: make the block one of n rows; cells are undefined. */
dml_status raw_start_block(struct job *job, struct raw *raw, size_t n);

#endif
