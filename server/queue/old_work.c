/* old_work: see old_work.h. Batch after batch: jobs are collected, then counted, then stored, so that
 * no statement is open while the writer works. */
#include "server/queue/old_work.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "db/step_times.h"
#include "server/job_text.h"

enum { OLD_WORK_BATCH = 256 }; /* jobs in a transaction */

struct old_work {
    int n, n_counted;
    int skip; /* jobs of which nothing could be told stay, and are passed over */
    char ids[OLD_WORK_BATCH][DB_ID_MAX];
    struct job_work works[OLD_WORK_BATCH];
};

struct old_work_ids {
    struct old_work *batch;
    int skip;
};

static int old_work_collect(void *self, const char *id)
{
    struct old_work_ids *ids = self;
    if (ids->skip-- > 0)
        return 0;
    memccpy(ids->batch->ids[ids->batch->n++], id, '\0', DB_ID_MAX);
    return ids->batch->n == OLD_WORK_BATCH;
}

/* From what is stored of its text. -1: it cannot be told. */
static int old_work_of(struct db_reader *reader, const char *id, struct job_work *out)
{
    struct job *job = NULL;
    struct spec *spec = NULL;
    struct err err = ERR_INIT;
    if (job_get(reader, id, &job, &err) < 0)
        return -1;
    json_t *facts = json_loads(job->facts, 0, NULL);
    const json_int_t vocab = json_integer_value(json_object_get(facts, "vocabulary"));
    const json_int_t tokens = json_integer_value(json_object_get(facts, "tokens_per_epoch"));
    int failed = vocab <= 0 || spec_parse(job->spec, strlen(job->spec), &spec, &err) < 0;
    if (!failed) {
        const int64_t step = (int64_t)spec->train.batch_size * spec->model.seq_len;
        failed = job_text_work(spec, (int)vocab, tokens / step, job->n_tokens, out, &err) < 0;
    }
    json_decref(facts);
    spec_free(spec);
    job_free(job);
    return failed ? -1 : 0;
}

static int old_work_store(struct db_writer *writer, void *arg, struct err *err)
{
    const struct old_work *batch = arg;
    for (int i = 0; i < batch->n; i++)
        if (batch->works[i].shape[0] &&
            step_times_put_work(writer, batch->ids[i], &batch->works[i], err) < 0)
            return -1;
    return 0;
}

static int old_work_next(struct db *db, struct db_reader *reader, struct old_work *batch,
                         struct err *err)
{
    struct old_work_ids ids = {batch, batch->skip};
    batch->n = 0;
    if (step_times_uncounted(reader, old_work_collect, &ids, err) < 0)
        return -1;
    for (int i = 0; i < batch->n; i++) {
        const int failed = old_work_of(reader, batch->ids[i], &batch->works[i]) < 0;
        if (failed)
            batch->works[i].shape[0] = '\0';
        batch->skip += failed;
        batch->n_counted += !failed;
    }
    return batch->n ? db_call(db, old_work_store, batch, err) : 0;
}

int old_work_count(struct db *db, struct db_reader *reader, int *n, struct err *err)
{
    struct old_work *batch = calloc(1, sizeof *batch);
    int failed = batch ? 0 : err_set(err, ERR_NO_MEMORY, "no memory for the work of jobs");
    do
        failed = failed || old_work_next(db, reader, batch, err);
    while (!failed && batch->n == OLD_WORK_BATCH);
    if (!failed)
        *n = batch->n_counted;
    free(batch);
    return failed ? -1 : 0;
}
