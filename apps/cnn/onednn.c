/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * oneDNN objects with one owner, see onednn.h. Creation order is kept in a list, and
 * objects are destroyed in the reverse order.
 */
#include "onednn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096

static const char *status_text(dnnl_status_t status)
{
    switch (status) {
    case dnnl_out_of_memory:
        return "out of memory";
    case dnnl_invalid_arguments:
        return "invalid arguments";
    case dnnl_unimplemented:
        return "no implementation for this shape on this processor";
    case dnnl_runtime_error:
        return "run-time error";
    default:
        return "failed";
    }
}

dml_status dnn_fail(struct dnn *dnn, dnnl_status_t status, const char *where)
{
    snprintf(dnn->error, sizeof dnn->error, "oneDNN in %s: %s", where,
             status_text(status));
    switch (status) {
    case dnnl_out_of_memory:
        return DML_ENOMEM;
    case dnnl_unimplemented:
        return DML_EUNSUPPORTED;
    default:
        return DML_EINVAL;
    }
}

static void destroy_memory(void *object)
{
    dnnl_memory_destroy(object);
}

static void destroy_primitive(void *object)
{
    dnnl_primitive_destroy(object);
}

static void destroy_pd(void *object)
{
    dnnl_primitive_desc_destroy(object);
}

/* Take ownership; on failure the object is destroyed at once. */
static dml_status own(struct dnn *dnn, void *object, void (*destroy)(void *))
{
    if (dnn->nowned == dnn->owned_room) {
        size_t room = dnn->owned_room ? 2 * dnn->owned_room : 64;
        struct dnn_owned *grown = realloc(dnn->owned, room * sizeof *grown);
        if (!grown) {
            destroy(object);
            return dnn_fail(dnn, dnnl_out_of_memory, __func__);
        }
        dnn->owned = grown;
        dnn->owned_room = room;
    }
    dnn->owned[dnn->nowned++] = (struct dnn_owned){object, destroy};
    return DML_OK;
}

dml_status dnn_init(struct dnn *dnn)
{
    *dnn = (struct dnn){0};
    DNN_TRY(dnn, dnnl_engine_create(&dnn->engine, dnnl_cpu, 0));
    DNN_TRY(dnn,
            dnnl_stream_create(&dnn->stream, dnn->engine, dnnl_stream_default_flags));
    DNN_TRY(dnn, dnnl_primitive_attr_create(&dnn->attr));
    DNN_TRY(dnn, dnnl_primitive_attr_set_scratchpad_mode(dnn->attr,
                                                         dnnl_scratchpad_mode_user));
    return DML_OK;
}

void dnn_free(struct dnn *dnn)
{
    while (dnn->nowned > 0) {
        const struct dnn_owned *last = &dnn->owned[--dnn->nowned];
        last->destroy(last->object);
    }
    free(dnn->owned);
    if (dnn->attr)
        dnnl_primitive_attr_destroy(dnn->attr);
    if (dnn->stream)
        dnnl_stream_destroy(dnn->stream);
    if (dnn->engine)
        dnnl_engine_destroy(dnn->engine);
    *dnn = (struct dnn){0};
}

void *dnn_alloc(struct dnn *dnn, size_t bytes)
{
    if (bytes > SIZE_MAX - PAGE) {
        (void)dnn_fail(dnn, dnnl_out_of_memory, __func__);
        return NULL;
    }
    size_t room = (bytes / PAGE + 1) * PAGE;
    void *data = aligned_alloc(PAGE, room);
    if (!data) {
        (void)dnn_fail(dnn, dnnl_out_of_memory, __func__);
        return NULL;
    }
    memset(data, 0, room);
    return own(dnn, data, free) == DML_OK ? data : NULL;
}

dml_status dnn_memory(struct dnn *dnn, const dnnl_memory_desc_t *md, void *data,
                      dnnl_memory_t *memory)
{
    dnnl_memory_t made = NULL;
    DNN_TRY(dnn, dnnl_memory_create(&made, md, dnn->engine, data));
    CNN_TRY(own(dnn, made, destroy_memory));
    *memory = made;
    return DML_OK;
}

dml_status dnn_memory_alloc(struct dnn *dnn, const dnnl_memory_desc_t *md,
                            dnnl_memory_t *memory)
{
    void *data = dnn_alloc(dnn, dnnl_memory_desc_get_size(md));
    if (!data)
        return DML_ENOMEM;
    return dnn_memory(dnn, md, data, memory);
}

dml_status dnn_plain(struct dnn *dnn, int ndims, const dnnl_dims_t dims,
                     dnnl_memory_desc_t *md)
{
    static const dnnl_format_tag_t tags[] = {dnnl_format_tag_undef, dnnl_a, dnnl_ab,
                                             dnnl_abc, dnnl_abcd};
    DNN_TRY(dnn, dnnl_memory_desc_init_by_tag(md, ndims, dims, dnnl_f32, tags[ndims]));
    return DML_OK;
}

dml_status dnn_any(struct dnn *dnn, int ndims, const dnnl_dims_t dims,
                   dnnl_memory_desc_t *md)
{
    DNN_TRY(dnn, dnnl_memory_desc_init_by_tag(md, ndims, dims, dnnl_f32,
                                              dnnl_format_tag_any));
    return DML_OK;
}

dml_status dnn_op_init(struct dnn *dnn, struct dnn_op *op, const void *desc,
                       const struct dnn_op *hint)
{
    *op = (struct dnn_op){0};
    dnnl_primitive_desc_t pd = NULL;
    DNN_TRY(dnn, dnnl_primitive_desc_create(&pd, desc, dnn->attr, dnn->engine,
                                            hint ? hint->pd : NULL));
    CNN_TRY(own(dnn, pd, destroy_pd));
    op->pd = pd;

    dnnl_primitive_t primitive = NULL;
    DNN_TRY(dnn, dnnl_primitive_create(&primitive, pd));
    CNN_TRY(own(dnn, primitive, destroy_primitive));
    op->primitive = primitive;

    const dnnl_memory_desc_t *md = dnn_op_md(op, dnnl_query_scratchpad_md, 0);
    size_t bytes = md ? dnnl_memory_desc_get_size(md) : 0;
    if (bytes > 0) {
        CNN_TRY(dnn_memory(dnn, md, DNNL_MEMORY_NONE, &op->scratchpad));
        CNN_TRY(dnn_op_in(dnn, op, DNNL_ARG_SCRATCHPAD, op->scratchpad, NULL));
        if (bytes > dnn->scratch_bytes)
            dnn->scratch_bytes = bytes;
    }
    op->next = dnn->ops;
    dnn->ops = op;
    return DML_OK;
}

const dnnl_memory_desc_t *dnn_op_md(const struct dnn_op *op, dnnl_query_t query,
                                    int index)
{
    return dnnl_primitive_desc_query_md(op->pd, query, index);
}

dml_status dnn_reorder_init(struct dnn *dnn, struct dnn_reorder *reorder,
                            const dnnl_memory_desc_t *from_md, dnnl_memory_t from,
                            const dnnl_memory_desc_t *to_md, dnnl_memory_t to)
{
    dnnl_primitive_desc_t pd = NULL;
    DNN_TRY(dnn, dnnl_reorder_primitive_desc_create(&pd, from_md, dnn->engine, to_md,
                                                    dnn->engine, NULL));
    CNN_TRY(own(dnn, pd, destroy_pd));
    DNN_TRY(dnn, dnnl_primitive_create(&reorder->primitive, pd));
    CNN_TRY(own(dnn, reorder->primitive, destroy_primitive));
    reorder->args[0] = (dnnl_exec_arg_t){DNNL_ARG_FROM, from};
    reorder->args[1] = (dnnl_exec_arg_t){DNNL_ARG_TO, to};
    return DML_OK;
}

dml_status dnn_reorder_run(struct dnn *dnn, const struct dnn_reorder *reorder)
{
    DNN_TRY(dnn,
            dnnl_primitive_execute(reorder->primitive, dnn->stream, 2, reorder->args));
    return DML_OK;
}

/* Bind memory in the wanted layout; *changed says whether a second memory was needed.
 */
static dml_status bind(struct dnn *dnn, struct dnn_op *op, int arg,
                       dnnl_memory_t memory, const dnnl_memory_desc_t *wanted,
                       const dnnl_memory_desc_t **have, dnnl_memory_t *changed)
{
    *changed = NULL;
    DNN_TRY(dnn, dnnl_memory_get_memory_desc(memory, have));
    if (wanted && !dnnl_memory_desc_equal(*have, wanted)) {
        CNN_TRY(dnn_memory_alloc(dnn, wanted, changed));
        memory = *changed;
    }
    op->args[op->nargs++] = (dnnl_exec_arg_t){arg, memory};
    return DML_OK;
}

dml_status dnn_op_in(struct dnn *dnn, struct dnn_op *op, int arg, dnnl_memory_t memory,
                     const dnnl_memory_desc_t *wanted)
{
    const dnnl_memory_desc_t *have = NULL;
    dnnl_memory_t changed = NULL;
    CNN_TRY(bind(dnn, op, arg, memory, wanted, &have, &changed));
    if (changed)
        CNN_TRY(dnn_reorder_init(dnn, &op->before[op->nbefore++], have, memory, wanted,
                                 changed));
    return DML_OK;
}

dml_status dnn_op_out(struct dnn *dnn, struct dnn_op *op, int arg, dnnl_memory_t memory,
                      const dnnl_memory_desc_t *wanted)
{
    const dnnl_memory_desc_t *have = NULL;
    dnnl_memory_t changed = NULL;
    CNN_TRY(bind(dnn, op, arg, memory, wanted, &have, &changed));
    if (changed)
        CNN_TRY(dnn_reorder_init(dnn, &op->after[op->nafter++], wanted, changed, have,
                                 memory));
    return DML_OK;
}

dml_status dnn_place_scratchpad(struct dnn *dnn)
{
    if (dnn->scratch_bytes == 0)
        return DML_OK;
    void *scratch = dnn_alloc(dnn, dnn->scratch_bytes);
    if (!scratch)
        return DML_ENOMEM;
    for (struct dnn_op *op = dnn->ops; op; op = op->next)
        if (op->scratchpad)
            DNN_TRY(dnn, dnnl_memory_set_data_handle(op->scratchpad, scratch));
    return DML_OK;
}

dml_status dnn_op_run(struct dnn *dnn, const struct dnn_op *op)
{
    for (int i = 0; i < op->nbefore; i++)
        CNN_TRY(dnn_reorder_run(dnn, &op->before[i]));
    DNN_TRY(dnn,
            dnnl_primitive_execute(op->primitive, dnn->stream, op->nargs, op->args));
    for (int i = 0; i < op->nafter; i++)
        CNN_TRY(dnn_reorder_run(dnn, &op->after[i]));
    return DML_OK;
}

dml_status dnn_convert(struct dnn *dnn, const dnnl_memory_desc_t *from_md, void *from,
                       const dnnl_memory_desc_t *to_md, void *to)
{
    dnnl_memory_t source = NULL, target = NULL;
    struct dnn_reorder reorder;
    CNN_TRY(dnn_memory(dnn, from_md, from, &source));
    CNN_TRY(dnn_memory(dnn, to_md, to, &target));
    CNN_TRY(dnn_reorder_init(dnn, &reorder, from_md, source, to_md, target));
    return dnn_reorder_run(dnn, &reorder);
}

void *dnn_data(dnnl_memory_t memory)
{
    void *data = NULL;
    (void)dnnl_memory_get_data_handle(memory, &data);
    return data;
}
