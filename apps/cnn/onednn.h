/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thin layer over oneDNN's C API: one engine, and operations whose arguments are
 * bound once. All memory is planned while a net is built and placed at the end, so that
 * nothing is allocated while it runs, and everything is freed in one place.
 */
#ifndef CNN_ONEDNN_H
#define CNN_ONEDNN_H

#include "dml/dml.h"

#include <dnnl.h>
#include <stddef.h>

#define DNN_MAX_ARGS     12
#define DNN_MAX_REORDERS 5

/* A change of layout before or after an operation. */
struct dnn_reorder {
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[2];
};

/*
 * A primitive with its arguments. When an argument's memory is not in the layout that
 * the primitive wants, a reorder through a second memory is added; with equal layouts
 * (the usual case) the primitive works on the memory itself.
 */
struct dnn_op {
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[DNN_MAX_ARGS];
    int nargs;
    struct dnn_reorder before[DNN_MAX_REORDERS];
    int nbefore;
    struct dnn_reorder after[DNN_MAX_REORDERS];
    int nafter;
    dnnl_memory_t scratchpad; /* NULL when none is needed */
    struct dnn_op *next;      /* list of the owning struct dnn */
};

/* What is freed at the end. */
struct dnn_owned {
    void *object;
    void (*destroy)(void *object);
};

struct dnn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_attr_t attr; /* the scratchpad is ours: one for all operations */
    struct dnn_op *ops;
    size_t scratch_bytes;
    struct dnn_owned *owned;
    size_t nowned, owned_room;
    char error[256]; /* what the last failure was */
};

dml_status dnn_init(struct dnn *dnn);
void dnn_free(struct dnn *dnn);

/* Record a failure of oneDNN and map it to a status. */
dml_status dnn_fail(struct dnn *dnn, dnnl_status_t status, const char *where);

/* Return on failure; for functions whose objects belong to a struct dnn. */
#define DNN_TRY(dnn, call)                               \
    do {                                                 \
        dnnl_status_t dnn_status_ = (call);              \
        if (dnn_status_ != dnnl_success)                 \
            return dnn_fail(dnn, dnn_status_, __func__); \
    } while (0)

#define CNN_TRY(call)                    \
    do {                                 \
        dml_status cnn_status_ = (call); \
        if (cnn_status_ != DML_OK)       \
            return cnn_status_;          \
    } while (0)

/* Zeroed memory, page-aligned, freed by dnn_free(); NULL and an error when there is
 * none. */
void *dnn_alloc(struct dnn *dnn, size_t bytes);

/* A memory object over data (DNNL_MEMORY_NONE: placed later); freed by dnn_free(). */
dml_status dnn_memory(struct dnn *dnn, const dnnl_memory_desc_t *md, void *data,
                      dnnl_memory_t *memory);

/* The same with memory of its own, zeroed. */
dml_status dnn_memory_alloc(struct dnn *dnn, const dnnl_memory_desc_t *md,
                            dnnl_memory_t *memory);

/* Plain row-major f32 layout. */
dml_status dnn_plain(struct dnn *dnn, int ndims, const dnnl_dims_t dims,
                     dnnl_memory_desc_t *md);

/* "Any" f32 layout: the primitive chooses. */
dml_status dnn_any(struct dnn *dnn, int ndims, const dnnl_dims_t dims,
                   dnnl_memory_desc_t *md);

/*
 * Make the primitive of an operation descriptor. hint is the forward operation where
 * this is a backward one, else NULL. op is the caller's and must live as long as dnn.
 */
dml_status dnn_op_init(struct dnn *dnn, struct dnn_op *op, const void *desc,
                       const struct dnn_op *hint);

/* Layout that the primitive wants for an argument (query: dnnl_query_src_md ...). */
const dnnl_memory_desc_t *dnn_op_md(const struct dnn_op *op, dnnl_query_t query,
                                    int index);

/* Bind an argument; "wanted" is dnn_op_md() of it, or NULL when layouts are known to be
 * equal. */
dml_status dnn_op_in(struct dnn *dnn, struct dnn_op *op, int arg, dnnl_memory_t memory,
                     const dnnl_memory_desc_t *wanted);
dml_status dnn_op_out(struct dnn *dnn, struct dnn_op *op, int arg, dnnl_memory_t memory,
                      const dnnl_memory_desc_t *wanted);

/* Place the common scratchpad; call once, after the last dnn_op_init(). */
dml_status dnn_place_scratchpad(struct dnn *dnn);

dml_status dnn_op_run(struct dnn *dnn, const struct dnn_op *op);

/* A reorder on its own. */
dml_status dnn_reorder_init(struct dnn *dnn, struct dnn_reorder *reorder,
                            const dnnl_memory_desc_t *from_md, dnnl_memory_t from,
                            const dnnl_memory_desc_t *to_md, dnnl_memory_t to);
dml_status dnn_reorder_run(struct dnn *dnn, const struct dnn_reorder *reorder);

/* Reorder once between buffers; for initial weights and model files. */
dml_status dnn_convert(struct dnn *dnn, const dnnl_memory_desc_t *from_md, void *from,
                       const dnnl_memory_desc_t *to_md, void *to);

/* The data of a memory object. */
void *dnn_data(dnnl_memory_t memory);

#endif
