/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-skew count: every word goes to the rank of its plan, which counts them in a hash
 * table. Words are sent one by one, not counted where they lie, since that is what jobs
 * without an associative sum (joins, grouping) must do, and where skew hurts. Planners
 * that split keys leave a word on several ranks: a second round adds those up. The
 * result is verified by the number of words and a checksum, and that each word has one
 * count.
 */
#include "shuffle.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct count {
    uint64_t hash, count;
    dml_text word; /* data NULL: an empty place */
};

struct table {
    struct count *places; /* [room] a power of two */
    size_t room, used;
};

static dml_status find_words(struct shuffle *s, dml_text line)
{
    const char *at = line.data;
    dml_text word;
    if (s->column != 0 && find_cell(line, s->column, &word))
        return shuffle_item(s, word, word);
    while (next_word(&at, &word))
        SKEW_TRY(shuffle_item(s, word, word));
    return DML_OK;
}

/* ---- tables --------------------------------------------------------------------- */

/* Place of a word, which may be empty. */
static struct count *place_of(const struct table *t, uint64_t hash, dml_text word)
{
    size_t i = (size_t)hash & (t->room - 1);
    for (;; i = (i + 1) & (t->room - 1)) {
        struct count *c = &t->places[i];
        if (!c->word.data || (c->hash == hash && c->word.bytes == word.bytes &&
                              memcmp(c->word.data, word.data, word.bytes) == 0))
            return c;
    }
}

static bool table_grow(struct table *t)
{
    struct table larger = {.room = t->room > 0 ? 2 * t->room : 4096, .used = t->used};
    larger.places = calloc(larger.room, sizeof *larger.places);
    if (!larger.places)
        return false;
    for (size_t i = 0; i < t->room; i++)
        if (t->places[i].word.data)
            *place_of(&larger, t->places[i].hash, t->places[i].word) = t->places[i];
    free(t->places);
    *t = larger;
    return true;
}

/* The word's memory is borrowed. False when there is no memory. */
static bool table_add(struct table *t, dml_text word, uint64_t count)
{
    if (2 * t->used >= t->room && !table_grow(t))
        return false;
    uint64_t hash = dml_hash_bytes(word.data, word.bytes, 0);
    struct count *c = place_of(t, hash, word);
    if (!c->word.data) {
        *c = (struct count){.hash = hash, .word = word};
        t->used++;
    }
    c->count += count;
    return true;
}

static dml_text stored(const struct store *store, size_t i)
{
    size_t begin = store->begins[i];
    size_t end = i + 1 < store->count ? store->begins[i + 1] : store->bytes;
    return (dml_text){.data = store->text + begin, .bytes = end - begin - 1};
}

/* A number that the compiler cannot foresee, in a time that does not depend on it. */
static uint64_t work(uint64_t seed, uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds; i++)
        seed = dml_hash_u64(seed, i);
    return seed;
}

/* Rounds of work that take so long: by the fastest of some tries. */
static uint64_t rounds_of(double ns)
{
    enum { TRIES = 20, ROUNDS = 2000 };
    double least_s = 1;
    uint64_t seed = 1;
    for (int k = 0; k < TRIES && ns > 0; k++) {
        clock_t begin = clock();
        double spent_s;
        uint64_t n = 0;
        do { /* until the clock has moved well */
            seed = work(seed, ROUNDS);
            n += ROUNDS;
            spent_s = (double)(clock() - begin) / CLOCKS_PER_SEC;
        } while (spent_s < 2e-4);
        least_s = spent_s / (double)n < least_s ? spent_s / (double)n : least_s;
    }
    return (uint64_t)(1e-9 * ns / least_s) + (seed == 0 && ns > 0);
}

static dml_status count_all(struct shuffle *s, struct table *t, uint64_t rounds)
{
    uint64_t seed = 1;
    for (size_t i = 0; i < s->out.count; i++) {
        if (!table_add(t, stored(&s->out, i), 1))
            return job_fail(s->job, DML_ENOMEM, "no memory for %zu words", t->used);
        seed = work(seed, rounds);
    }
    /* The work's result is looked at, so that it cannot be left out. */
    return seed == 0 && rounds > 0 ? DML_ENUMERIC : DML_OK;
}

/* ---- words on several ranks ------------------------------------------------------ */

struct merging {
    struct table table;
    struct store words;
    uint64_t *counts; /* [words.count] */
    size_t room;
};

/* A count of 8 bytes, then the word. */
static dml_status keep_count(void *user, int source, const void *record, size_t bytes)
{
    struct merging *m = user;
    void *counts = m->counts;
    (void)source;
    bool good = bytes >= sizeof(uint64_t) &&
                grow(&counts, &m->room, m->words.count + 1, sizeof *m->counts);
    m->counts = counts;
    if (!good || !store_add(&m->words, (const char *)record + sizeof(uint64_t),
                            bytes - sizeof(uint64_t)))
        return DML_ENOMEM;
    memcpy(&m->counts[m->words.count - 1], record, sizeof(uint64_t));
    return DML_OK;
}

static dml_status push_counts(dml_exchange *x, const struct table *t, int nranks)
{
    struct store record = {0};
    dml_status status = DML_OK;
    for (size_t i = 0; i < t->room && status == DML_OK; i++) {
        const struct count *c = &t->places[i];
        void *text = record.text;
        if (!c->word.data)
            continue;
        size_t bytes = sizeof c->count + c->word.bytes;
        if (!grow(&text, &record.text_room, bytes, 1)) {
            status = DML_ENOMEM;
            break;
        }
        record.text = text;
        memcpy(record.text, &c->count, sizeof c->count);
        memcpy(record.text + sizeof c->count, c->word.data, c->word.bytes);
        status = dml_exchange_push(x, (int)((c->hash >> 32) % (uint64_t)nranks),
                                   record.text, bytes);
    }
    store_free(&record);
    return status;
}

/* Each word's counts meet on the rank of its hash. */
static dml_status merge(struct shuffle *s, const struct table *t, struct merging *m)
{
    dml_exchange *x = NULL;
    SKEW_TRY(
        job_note(s->job, dml_exchange_create(NULL, keep_count, m, s->job->comm, &x)));
    dml_status pushed = push_counts(x, t, s->job->nranks);
    dml_status status = job_note(s->job, dml_exchange_finish(x));
    dml_exchange_destroy(x);
    if (status == DML_OK && pushed != DML_OK)
        status = job_fail(s->job, pushed, "cannot send the counts");
    for (size_t i = 0; status == DML_OK && i < m->words.count; i++)
        if (!table_add(&m->table, stored(&m->words, i), m->counts[i]))
            status =
                job_fail(s->job, DML_ENOMEM, "no memory for %zu words", m->table.used);
    return status;
}

static void merging_free(struct merging *m)
{
    free(m->table.places);
    free(m->counts);
    store_free(&m->words);
}

/* ---- the command ---------------------------------------------------------------- */

static dml_status verify(struct shuffle *s, const struct table *t)
{
    uint64_t sums[3] = {0, 0, t->used};
    for (size_t i = 0; i < t->room; i++) {
        const struct count *c = &t->places[i];
        sums[0] += c->hash * c->count;
        sums[1] += c->count;
    }
    SKEW_TRY(job_agree(s->job, sum_u64(s, sums, 3)));
    dml_status status = DML_OK;
    if (sums[0] != s->checksum || sums[1] != s->total)
        status = job_fail(s->job, DML_EMISMATCH,
                          "%llu words were counted of %llu, checksum %s: the result is "
                          "wrong",
                          (unsigned long long)sums[1], (unsigned long long)s->total,
                          sums[0] == s->checksum ? "right" : "wrong");
    SKEW_TRY(job_agree(s->job, status));
    if (s->job->rank == 0 && !s->options->quiet)
        printf("%llu different words\n", (unsigned long long)sums[2]);
    return DML_OK;
}

static dml_status write_part(struct shuffle *s, const struct table *t)
{
    FILE *file = s->part.file;
    for (size_t i = 0; file && !ferror(file) && i < t->room; i++) {
        if (!t->places[i].word.data)
            continue;
        fwrite(t->places[i].word.data, 1, t->places[i].word.bytes, file);
        fprintf(file, "\t%" PRIu64 "\n", t->places[i].count);
    }
    return part_sync(s);
}

/* Counts, in the end of words that no other rank has. */
static dml_status count_part(struct shuffle *s, struct table *t, struct merging *m,
                             const struct table **result)
{
    uint64_t rounds = rounds_of(s->options->work_ns);
    phase_begin(s);
    dml_status status = job_agree(s->job, count_all(s, t, rounds));
    *result = t;
    if (status == DML_OK && s->info.split_keys > 0) {
        status = job_agree(s->job, merge(s, t, m));
        *result = &m->table;
    }
    phase_end(s, WORK);
    if (status == DML_OK)
        status = job_agree(s->job, write_part(s, *result));
    return status;
}

dml_status skew_count(const struct skew_run *run)
{
    struct shuffle s = {.job = run->job, .options = run->options, .work = "count"};
    struct table table = {0};
    struct merging merging = {0};
    const struct table *result = NULL;
    dml_status status = DML_OK;
    if (!parse_cell(run->options->key, "words", &s.column))
        status =
            job_fail(run->job, DML_EINVAL,
                     "--key %.40s is neither the number of a column (1 is the first, "
                     "-1 the last) nor words",
                     run->options->key);
    SKEW_TRY(job_agree(run->job, status));
    status = shuffle_run(&s, find_words);
    if (status == DML_OK)
        status = count_part(&s, &table, &merging, &result);
    if (status == DML_OK)
        status = verify(&s, result);
    if (status == DML_OK)
        status = part_commit(&s);
    if (status == DML_OK)
        status = shuffle_report(&s);
    free(table.places);
    merging_free(&merging);
    shuffle_free(&s);
    return status;
}
