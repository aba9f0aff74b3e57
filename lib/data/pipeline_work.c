/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pipeline's threads. A piece of work is a few neighbouring rows of one batch: a
 * reader takes the next piece and a free load (buffers for that many records), fills
 * it, and queues it for the decode threads, which write each row where it belongs. The
 * thread that finishes a batch's last row hands the batch to the caller.
 *
 * A seek raises the generation: work of an older one is dropped within one record's
 * time, and a batch is begun anew only when no thread holds a piece of its old
 * contents.
 */
#include "data/pipeline_internal.h"

#include <stdio.h>
#include <string.h>

static size_t nslots(const dml_pipeline *p)
{
    return (size_t)p->opts.depth + 1;
}

static bool is_stale(dml_pipeline *p, const dml__piece *piece)
{
    return atomic_load_explicit(&p->generation, memory_order_relaxed) !=
           piece->generation;
}

/* ---- rows that failed --------------------------------------------------------- */

/* The first such row of a batch is the one that is told, whichever thread is first. */
static void mark_bad(dml_pipeline *p, const dml__piece *piece, size_t row,
                     dml_status status, const char *why)
{
    dml__batch_slot *slot = &p->slots[piece->slot];
    pthread_mutex_lock(&p->lock);
    bool current = !is_stale(p, piece);
    bool warn = current && p->opts.on_error == DML_ON_ERROR_SKIP && !p->warned;
    if (current && (slot->nbad == 0 || row < slot->bad_row)) {
        slot->bad_row = row;
        slot->bad_status = status < 0 ? status : DML_EFORMAT;
        snprintf(slot->why, sizeof slot->why, "%s", why);
    }
    slot->bad[row] = true;
    slot->nbad++;
    p->warned = p->warned || warn;
    pthread_mutex_unlock(&p->lock);
    if (warn)
        dml__log(p->ctx, DML_LOG_WARN,
                 "a record is left out, others like it are only counted: %s", why);
}

/* ---- a piece: read, decode ---------------------------------------------------- */

static void read_piece(dml_pipeline *p, dml__load *load)
{
    const dml__batch_slot *slot = &p->slots[load->piece.slot];
    size_t room = p->source.max_bytes;
    for (size_t i = 0; i < load->piece.count && !is_stale(p, &load->piece); i++) {
        char why[DML_PIPELINE_WHY] = "";
        dml_record *record = &load->records[i];
        size_t row = load->piece.row + i;
        *record = (dml_record){.data = NULL};
        dml_status status = p->source.read(p->source.user, slot->records[row],
                                           load->bytes + i * room, room, record, why);
        record->number = slot->records[row];
        if (status == DML_OK && record->data == NULL)
            record->data = load->bytes; /* a record of no bytes */
        if (status == DML_OK)
            continue;
        char text[DML_PIPELINE_WHY + 64];
        snprintf(text, sizeof text, "record %llu: %s",
                 (unsigned long long)record->number, why);
        record->data = NULL;
        mark_bad(p, &load->piece, row, status, text);
    }
}

/* What is done without a decode function: field 0 gets the bytes, field 1 their count.
 */
static dml_status copy_record(const dml_pipeline *p, const dml_record *record,
                              void *const *fields, char *why)
{
    size_t room = p->opts.field_bytes[0];
    uint64_t bytes = record->bytes;
    if (record->bytes > room) {
        snprintf(why, DML_PIPELINE_WHY, "its %zu bytes do not fit field 0 of %zu",
                 record->bytes, room);
        return DML_EINVAL;
    }
    if (record->bytes > 0)
        memcpy(fields[0], record->data, record->bytes);
    memset((char *)fields[0] + record->bytes, 0, room - record->bytes);
    if (p->opts.nfields > 1)
        memcpy(fields[1], &bytes, sizeof bytes);
    return DML_OK;
}

static void tell_undecoded(dml_pipeline *p, const dml__piece *piece, size_t row,
                           const dml_record *record, dml_status status, const char *why)
{
    char place[DML_PIPELINE_WHY] = "", text[3 * DML_PIPELINE_WHY];
    if (p->source.locate != NULL)
        p->source.locate(p->source.user, record->number, place);
    snprintf(text, sizeof text, "record %llu%s%s cannot be decoded: %s",
             (unsigned long long)record->number, place[0] != '\0' ? ", " : "", place,
             why);
    mark_bad(p, piece, row, status, text);
}

/* Returns the records decoded, and adds up their bytes. */
static uint64_t decode_piece(dml_pipeline *p, const dml__load *load, uint64_t *bytes)
{
    const dml__piece *piece = &load->piece;
    const dml__batch_slot *slot = &p->slots[piece->slot];
    uint64_t done = 0;
    for (size_t i = 0; i < piece->count && !is_stale(p, piece); i++) {
        const dml_record *record = &load->records[i];
        char why[DML_PIPELINE_WHY] = "";
        void *fields[DML_PIPELINE_FIELDS];
        size_t row = piece->row + i;
        if (record->data == NULL)
            continue;
        for (int f = 0; f < p->opts.nfields; f++)
            fields[f] = (char *)slot->fields[f] + row * p->opts.field_bytes[f];
        dml_status status =
            p->opts.decode != NULL
                ? p->opts.decode(p->opts.user, record, slot->epoch, fields, why)
                : copy_record(p, record, fields, why);
        if (status != DML_OK)
            tell_undecoded(p, piece, row, record, status, why);
        done += status == DML_OK;
        *bytes += record->bytes;
    }
    return done;
}

/* ---- a batch: begin, settle --------------------------------------------------- */

static void move_row(const dml_pipeline *p, dml__batch_slot *slot, size_t to,
                     size_t from)
{
    for (int f = 0; f < p->opts.nfields; f++) {
        size_t bytes = p->opts.field_bytes[f];
        memmove((char *)slot->fields[f] + to * bytes,
                (char *)slot->fields[f] + from * bytes, bytes);
    }
    slot->records[to] = slot->records[from];
}

/* All rows are finished: rows that failed are closed up, the rest becomes zero. */
static void settle(const dml_pipeline *p, dml__batch_slot *slot)
{
    size_t good = slot->total, count = slot->count;
    if (slot->nbad > 0) {
        good = 0;
        for (size_t row = 0; row < slot->total; row++) {
            if (!slot->bad[row])
                move_row(p, slot, good++, row);
            else if (row < slot->count)
                count--;
        }
    }
    slot->count = count;
    for (int f = 0; f < p->opts.nfields && slot->dirty > good; f++)
        memset((char *)slot->fields[f] + good * p->opts.field_bytes[f], 0,
               (slot->dirty - good) * p->opts.field_bytes[f]);
    slot->dirty = good;
}

/* Which record each row of a batch holds: those in [begin, begin + count) of the order,
 * then, with padding, the rank's own again: of the epoch, or of this step where ranks
 * own none. */
static void choose_records(const dml_pipeline *p, dml__batch_slot *slot,
                           const uint32_t *order, uint64_t begin)
{
    bool owned = p->order.own != NULL;
    size_t repeats = owned ? p->order.length : slot->count;
    slot->total = p->opts.pad && repeats > 0 ? p->shards.rows : slot->count;
    for (size_t row = 0; row < slot->total; row++) {
        uint64_t place =
            owned ? (begin + row) % p->order.length : begin + row % slot->count;
        slot->records[row] = order[place];
    }
}

/* Begins the batch at p->epoch, p->step, if there is room. Lock held. */
static bool begin_batch(dml_pipeline *p)
{
    dml__batch_slot *slot = &p->slots[(p->head + p->live) % nslots(p)];
    const uint32_t *order = dml__order_get(&p->order, p->epoch);
    if (p->live == (size_t)p->opts.depth || slot->busy > 0 || order == NULL)
        return false;
    uint64_t begin, end;
    dml__shards_cut(&p->shards, p->opts.rank, p->step, &begin, &end);
    slot->count = (size_t)(end - begin);
    choose_records(p, slot, order, begin);
    /* From now on, so that rows of a batch which a seek drops count too. */
    slot->dirty = slot->dirty > slot->total ? slot->dirty : slot->total;
    slot->epoch = p->epoch;
    slot->step = p->step;
    slot->next = 0;
    slot->left = slot->total;
    slot->nbad = 0;
    memset(slot->bad, 0, p->shards.rows * sizeof *slot->bad);
    slot->done = slot->total == 0;
    if (slot->done) {
        settle(p, slot);
        pthread_cond_signal(&p->ready);
    }
    p->live++;
    if (++p->step == p->shards.steps) {
        p->step = 0;
        p->epoch++;
        pthread_cond_signal(&p->turn);
    }
    return true;
}

/* The next piece of work, if there is one now. Lock held. */
static bool take_piece(dml_pipeline *p, dml__piece *piece)
{
    for (;;) {
        size_t newest = (p->head + p->live + nslots(p) - 1) % nslots(p);
        dml__batch_slot *slot = &p->slots[newest];
        if (p->live > 0 && slot->next < slot->total) {
            size_t rest = slot->total - slot->next;
            *piece = (dml__piece){
                .generation =
                    atomic_load_explicit(&p->generation, memory_order_relaxed),
                .slot = newest,
                .row = slot->next,
                .count = rest < p->piece_rows ? rest : p->piece_rows,
            };
            slot->next += piece->count;
            slot->busy++;
            return true;
        }
        if (!begin_batch(p))
            return false;
    }
}

/* Gives back a load and its piece, which was dropped if it is stale. Lock held. */
static void finish_load(dml_pipeline *p, size_t number)
{
    const dml__piece piece = p->loads[number].piece;
    dml__batch_slot *slot = &p->slots[piece.slot];
    if (!is_stale(p, &piece)) {
        slot->left -= piece.count;
        if (slot->left == 0) {
            /* The piece is still held: nobody else touches the batch. */
            pthread_mutex_unlock(&p->lock);
            settle(p, slot);
            pthread_mutex_lock(&p->lock);
        }
    }
    slot->busy--;
    p->spare[p->nspare++] = number;
    if (is_stale(p, &piece)) {
        pthread_cond_broadcast(&p->work);
        return;
    }
    if (p->opts.readers > 0 || p->nspare == 1)
        pthread_cond_signal(&p->work);
    if (slot->left == 0) {
        slot->done = true;
        if (p->opts.on_error == DML_ON_ERROR_SKIP)
            p->stats.skipped += slot->nbad;
        pthread_cond_signal(&p->ready);
    }
}

void dml__pipeline_restart(dml_pipeline *p)
{
    atomic_fetch_add_explicit(&p->generation, 1, memory_order_relaxed);
    for (; p->nqueued > 0; p->nqueued--) {
        size_t number = p->queue[p->queue_first];
        p->queue_first = (p->queue_first + 1) % p->nloads;
        p->slots[p->loads[number].piece.slot].busy--;
        p->spare[p->nspare++] = number;
    }
    p->live = 0;
    pthread_cond_broadcast(&p->work);
    pthread_cond_signal(&p->turn);
}

/* ---- threads ------------------------------------------------------------------ */

/* Takes a piece and a load, and reads. False: stop. Lock held, but for the reading. */
static bool take_and_read(dml_pipeline *p, size_t *number, double *seconds)
{
    dml__piece piece;
    while (!p->stop && (p->nspare == 0 || !take_piece(p, &piece)))
        pthread_cond_wait(&p->work, &p->lock);
    if (p->stop)
        return false;
    *number = p->spare[--p->nspare];
    p->loads[*number].piece = piece;
    pthread_mutex_unlock(&p->lock);
    double start = dml__now_s();
    read_piece(p, &p->loads[*number]);
    *seconds = dml__now_s() - start;
    pthread_mutex_lock(&p->lock);
    return true;
}

void *dml__pipeline_read(void *pipeline)
{
    dml_pipeline *p = pipeline;
    size_t number;
    double seconds;
    pthread_mutex_lock(&p->lock);
    while (take_and_read(p, &number, &seconds)) {
        p->stats.read_s += seconds;
        if (is_stale(p, &p->loads[number].piece)) {
            finish_load(p, number);
            continue;
        }
        p->queue[(p->queue_first + p->nqueued++) % p->nloads] = number;
        pthread_cond_signal(&p->read);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* What a reader has queued. False: stop. Lock held. */
static bool take_queued(dml_pipeline *p, size_t *number)
{
    while (!p->stop && p->nqueued == 0)
        pthread_cond_wait(&p->read, &p->lock);
    if (p->stop)
        return false;
    *number = p->queue[p->queue_first];
    p->queue_first = (p->queue_first + 1) % p->nloads;
    p->nqueued--;
    return true;
}

void *dml__pipeline_decode(void *pipeline)
{
    dml_pipeline *p = pipeline;
    size_t number;
    double seconds = 0;
    pthread_mutex_lock(&p->lock);
    while (p->opts.readers > 0 ? take_queued(p, &number)
                               : take_and_read(p, &number, &seconds)) {
        pthread_mutex_unlock(&p->lock);
        uint64_t bytes = 0;
        double start = dml__now_s();
        uint64_t records = decode_piece(p, &p->loads[number], &bytes);
        seconds += dml__now_s() - start;
        pthread_mutex_lock(&p->lock);
        p->stats.decode_s += seconds;
        p->stats.records += records;
        p->stats.bytes += bytes;
        seconds = 0;
        finish_load(p, number);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

void *dml__pipeline_shuffle(void *pipeline)
{
    dml_pipeline *p = pipeline;
    dml__order *o = &p->order;
    uint64_t epoch;
    pthread_mutex_lock(&p->lock);
    while (!p->stop) {
        if (!dml__order_wants(o, p->epoch, &epoch)) {
            pthread_cond_wait(&p->turn, &p->lock);
            continue;
        }
        o->epochs[epoch % 2] = UINT64_MAX;
        pthread_mutex_unlock(&p->lock);
        dml__order_make(o, epoch);
        pthread_mutex_lock(&p->lock);
        o->epochs[epoch % 2] = epoch;
        pthread_cond_broadcast(&p->work);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}
