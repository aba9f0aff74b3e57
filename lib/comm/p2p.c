/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Point-to-point messages: schedules of one step, so that they obey the same progress,
 * large-count and waiting rules as collectives.
 */
#include "comm/comm_internal.h"
#include "comm/request.h"

static dml_status check(const dml_comm *comm, const void *buf, size_t count,
                        dml_dtype dtype, int peer, int tag, const char *where)
{
    size_t bytes = dml_dtype_bytes(dtype);
    if (bytes == 0)
        return dml__fail_values(comm->ctx, DML_EINVAL, where, comm->rank, dtype,
                                DML_NDTYPES, "unknown element type %d", (int)dtype);
    if (peer < 0 || peer >= comm->size || peer == comm->rank)
        return dml__fail_values(
            comm->ctx, DML_EINVAL, where, comm->rank, peer, comm->size,
            "peer is %d; it must be another rank of the %d", peer, comm->size);
    if (tag < 0 || tag > DML_TAG_MAX)
        return dml__fail_values(comm->ctx, DML_EINVAL, where, comm->rank, tag,
                                DML_TAG_MAX, "tag is %d; use 0 to %d", tag,
                                DML_TAG_MAX);
    if (count > PTRDIFF_MAX / bytes || (buf == NULL && count > 0) ||
        buf == DML_IN_PLACE)
        return dml__fail(comm->ctx, DML_EINVAL, where,
                         "buf is NULL or DML_IN_PLACE, or count %zu is beyond memory",
                         count);
    return DML_OK;
}

/* ---- device memory -----------------------------------------------------------------
 * goes by a copy on the host, in the request's memory, so that the other side need not
 * know. What is sent is copied before anything is posted: messages keep their order.
 */

struct staged {
    dml_comm *comm;
    struct dml__device_copy copy; /* of what is received, in the stream of now */
};

static dml_status land(void *state)
{
    struct staged *s = state;
    struct dml__device *device = dml__ctx_device(s->comm->ctx);
    return device->advance(device, &s->copy);
}

/* *at becomes the copy. Lack of memory the request remembers. */
static dml_status stage(dml_request *r, bool sending, struct staged **staged, char **at,
                        size_t bytes)
{
    const struct dml__device *device = dml__ctx_device(r->comm->ctx);
    struct staged *s = dml__sched_scratch(r, sizeof *s);
    void *copy = dml__sched_scratch(r, bytes);
    if (s == NULL || copy == NULL)
        return DML_OK;
    void *user = *at;
    s->comm = r->comm;
    s->copy = (struct dml__device_copy){
        .dst = user, .src = copy, .bytes = bytes, .stream = device->stream(r->comm)};
    *staged = s;
    *at = copy;
    return sending ? device->copy(device, r->comm, copy, user, bytes) : DML_OK;
}

/* When all has been received. */
static void land_after_all(dml_request *r, struct staged *s)
{
    int i = dml__sched_device_task(r, land, s, sizeof *s, DML__NO_STEP, DML__NO_STEP);
    if (i != DML__NO_STEP)
        r->steps[i].after_all = true;
}

/* ---- messages ----------------------------------------------------------------------
 */

/*
 * Starts one message. An empty one sends nothing, since both sides know its count. The
 * pieces of a huge one do not wait for each other: all are posted here, so that a
 * second message with the same tag cannot slip between them.
 */
static dml_status start(bool sending, void *buf, size_t count, dml_dtype dtype,
                        int peer, int tag, dml_comm *comm, dml_request **request,
                        const char *where)
{
    DML_TRY(dml__comm_check(comm, where));
    DML_TRY(check(comm, buf, count, dtype, peer, tag, where));
    const size_t bytes = count * dml_dtype_bytes(dtype);
    const struct dml__device *device = dml__ctx_device(comm->ctx);
    const bool on_device = bytes > 0 && dml__on_device(comm->ctx, buf);
    if (on_device)
        DML_TRY(device->may_wait(device, comm, where));
    dml_request *r = dml__sched_new(comm);
    if (r == NULL) {
        dml__fail(comm->ctx, DML_ENOMEM, where, "no memory for a request");
        dml__comm_break(comm, DML_ENOMEM);
        return DML_ENOMEM;
    }
    char *from = buf;
    struct staged *staged = NULL;
    if (on_device) {
        dml_status copied = stage(r, sending, &staged, &from, bytes);
        if (copied < 0) {
            dml__sched_discard(r);
            dml__comm_break(comm, copied);
            return copied;
        }
    }
    for (size_t done = 0; done < bytes; done += DML__MESSAGE_MAX_BYTES) {
        size_t left = bytes - done;
        size_t piece = left < DML__MESSAGE_MAX_BYTES ? left : DML__MESSAGE_MAX_BYTES;
        char *at = from + done;
        if (sending)
            dml__sched_send(r, at, piece, peer, DML__NO_STEP, DML__NO_STEP);
        else
            dml__sched_recv(r, at, piece, peer, DML__NO_STEP, DML__NO_STEP);
    }
    if (staged != NULL && !sending)
        land_after_all(r, staged);
    DML_TRY(dml__sched_start_p2p(r, tag));
    *request = r;
    return DML_OK;
}

static dml_status post(bool sending, void *buf, size_t count, dml_dtype dtype, int peer,
                       int tag, dml_comm *comm, dml_request **request,
                       const char *where)
{
    if (comm == NULL)
        return DML_EINVAL;
    if (request == NULL)
        return dml__fail(comm->ctx, DML_EINVAL, where, "request is NULL");
    dml__comm_enter(comm);
    dml_status status =
        start(sending, buf, count, dtype, peer, tag, comm, request, where);
    dml__comm_leave(comm);
    return status;
}

/* The send functions do not write to buf: post() only reads it then. */
static void *writable(const void *buf)
{
    union {
        const void *in;
        void *out;
    } u = {.in = buf};
    return u.out;
}

dml_status dml_isend(const void *buf, size_t count, dml_dtype dtype, int peer, int tag,
                     dml_comm *comm, dml_request **request)
{
    return post(true, writable(buf), count, dtype, peer, tag, comm, request, __func__);
}

dml_status dml_irecv(void *buf, size_t count, dml_dtype dtype, int peer, int tag,
                     dml_comm *comm, dml_request **request)
{
    return post(false, buf, count, dtype, peer, tag, comm, request, __func__);
}

dml_status dml_send(const void *buf, size_t count, dml_dtype dtype, int peer, int tag,
                    dml_comm *comm)
{
    dml_request *r = NULL;
    DML_TRY(post(true, writable(buf), count, dtype, peer, tag, comm, &r, __func__));
    return dml_wait(&r);
}

dml_status dml_recv(void *buf, size_t count, dml_dtype dtype, int peer, int tag,
                    dml_comm *comm)
{
    dml_request *r = NULL;
    DML_TRY(post(false, buf, count, dtype, peer, tag, comm, &r, __func__));
    return dml_wait(&r);
}
