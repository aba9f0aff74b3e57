/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the ranks' exchange chose and did, for the report.
 */
#include "replica.h"

#include <string.h>

double replica_wait_s(const struct replica *replica)
{
    dml_sharded_stats sharded;
    dml_reducer_stats reducer;
    if (replica->sharded) {
        dml_sharded_get_stats(replica->sharded, &sharded);
        return sharded.grad_wait_s + sharded.param_wait_s;
    }
    dml_reducer_get_stats(replica->reducer, &reducer);
    return reducer.wait_s;
}

/* Each bucket's choice between codec and plain average. */
static json_t *report_codec(const struct replica *replica)
{
    json_t *buckets = json_array();
    dml_bucket_info info;
    dml_reducer_stats stats;
    dml_reducer_get_stats(replica->reducer, &stats);
    for (size_t i = 0; i < stats.buckets; i++)
        if (dml_reducer_get_bucket(replica->reducer, i, &info) == DML_OK)
            json_array_append_new(
                buckets,
                json_pack("{s:I, s:b, s:I, s:I, s:I, s:f, s:f, s:I, s:s}", "count",
                          (json_int_t)info.count, "compressed", info.compressed,
                          "dense_bytes", (json_int_t)info.dense_bytes, "code_bytes",
                          (json_int_t)info.code_bytes, "wire_bytes",
                          (json_int_t)info.wire_bytes, "dense_s", info.dense_s,
                          "compressed_s",
                          info.encode_s + info.transfer_s + info.decode_s,
                          "compressed_steps", (json_int_t)info.steps, "why", info.why));
    return buckets;
}

json_t *replica_report(const struct replica *replica)
{
    size_t buckets, packed, state_bytes, whole_state_bytes;
    if (replica->sharded) {
        dml_sharded_stats stats;
        dml_sharded_get_stats(replica->sharded, &stats);
        buckets = stats.buckets;
        packed = stats.packed_grad_buckets;
        state_bytes = stats.state_bytes;
        whole_state_bytes = stats.whole_state_bytes;
    } else {
        dml_reducer_stats stats;
        dml_reducer_get_stats(replica->reducer, &stats);
        buckets = stats.buckets;
        packed = stats.packed_buckets;
        state_bytes = whole_state_bytes = dml_optim_state_bytes(replica->optim);
    }
    const struct cnn_options *options = replica->options;
    json_t *report = json_pack(
        "{s:s, s:s, s:b, s:s, s:I, s:I, s:I, s:I}", "optimizer", options->optimizer,
        "precision", options->precision, "shard_optimizer", options->shard_optimizer,
        "compress", replica_has_codec(options) ? replica->codec : "none", "state_bytes",
        (json_int_t)state_bytes, "whole_state_bytes", (json_int_t)whole_state_bytes,
        "buckets", (json_int_t)buckets, "packed_buckets", (json_int_t)packed);
    if (replica_has_codec(options))
        json_object_set_new(report, "compress_buckets", report_codec(replica));
    return report;
}
