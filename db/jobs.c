/* jobs: see jobs.h. job_next is the table of allowed transitions, job_sql the
 * statement of each. job_change is the only function that changes a state: it
 * looks up the next state, does the compare-and-swap and writes the event, all in
 * the transaction of the caller's operation. job_finish decides whether a job runs
 * again; sql_queue has the order of the queue. */
#include "db/jobs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/reason.h"
#include "config/record.h"
#include "db/after.h"
#include "db/connection.h"
#include "db/deletions.h"
#include "db/events.h"
#include "db/history.h"
#include "db/job_filter.h"
#include "db/notify.h"
#include "db/step_times.h"
#include "db/usage.h"

enum {
    JOB_KEY_MAX = 200,   /* bytes of an Idempotency-Key */
    JOB_WORDS_MAX = 1024 /* bytes of an entry's detail; longer ones are cut */
};

/* ---- states and transitions ---- */

static const char *const job_state_names[JOB_STATES] = {
    [JOB_QUEUED] = "queued",       [JOB_HELD] = "held",     [JOB_RUNNING] = "running",
    [JOB_SUCCEEDED] = "succeeded", [JOB_FAILED] = "failed", [JOB_CANCELLED] = "cancelled",
};

const char *job_state_name(enum job_state state)
{
    return job_state_names[state];
}

int job_state_from_name(const char *name)
{
    for (int state = 0; state < JOB_STATES; state++)
        if (strcmp(job_state_names[state], name) == 0)
            return state;
    return -1;
}

/* Everything that can happen to a job. FAULT: the trainer was lost and the job
 * runs again. EXHAUST: it was lost for the max_attempts-th time and the job fails. */
enum job_action {
    ACTION_CANCEL,
    ACTION_HOLD,
    ACTION_RELEASE,
    ACTION_RETRY,
    ACTION_RESTART,
    ACTION_CLAIM,
    ACTION_SUCCEED,
    ACTION_FAIL,
    ACTION_STOP,
    ACTION_REQUEUE,
    ACTION_FAULT,
    ACTION_EXHAUST,
    ACTION_UNREADABLE,
    ACTIONS
};

/* The verb of history and events, and the participle that error messages use: "job X is held
 * and cannot be retried". */
static const struct {
    const char *verb, *participle;
} job_action_names[ACTIONS] = {
    [ACTION_CANCEL] = {"cancel", "cancelled"},  [ACTION_HOLD] = {"hold", "held"},
    [ACTION_RELEASE] = {"release", "released"}, [ACTION_RETRY] = {"retry", "retried"},
    [ACTION_RESTART] = {"restart", "retried"},  [ACTION_CLAIM] = {"start", "started"},
    [ACTION_SUCCEED] = {"end", "ended"},        [ACTION_FAIL] = {"end", "ended"},
    [ACTION_STOP] = {"end", "ended"},           [ACTION_REQUEUE] = {"requeue", "requeued"},
    [ACTION_FAULT] = {"requeue", "requeued"},   [ACTION_EXHAUST] = {"end", "ended"},
    [ACTION_UNREADABLE] = {"end", "ended"},
};

#define NO (-1)
static const signed char job_next[ACTIONS][JOB_STATES] = {
    /* from:            queued         held           running        succeeded failed cancelled */
    [ACTION_CANCEL] = {JOB_CANCELLED, JOB_CANCELLED, JOB_RUNNING, NO, NO, NO},
    [ACTION_HOLD] = {JOB_HELD, NO, JOB_RUNNING, NO, NO, NO},
    [ACTION_RELEASE] = {NO, JOB_QUEUED, NO, NO, NO, NO},
    [ACTION_RETRY] = {NO, NO, NO, NO, JOB_QUEUED, JOB_QUEUED},
    [ACTION_RESTART] = {NO, NO, NO, NO, JOB_QUEUED, JOB_QUEUED},
    [ACTION_CLAIM] = {JOB_RUNNING, NO, NO, NO, NO, NO},
    [ACTION_SUCCEED] = {NO, NO, JOB_SUCCEEDED, NO, NO, NO},
    [ACTION_FAIL] = {NO, NO, JOB_FAILED, NO, NO, NO},
    [ACTION_STOP] = {NO, NO, JOB_CANCELLED, NO, NO, NO},
    [ACTION_REQUEUE] = {NO, NO, JOB_QUEUED, NO, NO, NO},
    [ACTION_FAULT] = {NO, NO, JOB_QUEUED, NO, NO, NO},
    [ACTION_EXHAUST] = {NO, NO, JOB_FAILED, NO, NO, NO},
    [ACTION_UNREADABLE] = {JOB_FAILED, JOB_FAILED, NO, NO, NO, NO},
};
#undef NO

/* ---- SQL of the tables jobs, job_texts, idempotency ----
 * One string literal is one line of SQL. clang-format keeps the line break between
 * two adjacent literals, so a line that names a macro ends with a literal. */

/* The statement of each action. Parameters: ?1 seq, ?2 state before, ?3 state
 * after, ?4 time, ?5 text: the device of a claim, the error of an end, the code of the reason
 * why a job waits or is held, and ?6 that reason's sentence. The WHERE clause is the compare part of compare-and-swap: no row changes
 * if the state is not the one that was read. */
#define CHANGE(set) "UPDATE jobs SET state = ?3, " set " WHERE seq = ?1 AND state = ?2"
#define UNTOLD "waits_code = NULL, waits = NULL"
#define TOLD "waits_code = ?5, waits = ?6"
#define ENDED UNTOLD ", cancel_requested = 0, hold_requested = 0, finished_at = ?4, error = ?5"
#define AGAIN                                                                                      \
    "attempt = attempt + 1, faults = 0, error = NULL, " UNTOLD ", cancel_requested = 0,"           \
    " finished_at = 0"
/* A job without provenance has never started: its device becomes the one asked for
 * again, so that any matching device may take it. */
#define REQUEUED                                                                                   \
    TOLD ", hold_requested = 0, device = CASE"                                                     \
         " WHEN (SELECT provenance FROM job_texts WHERE job = seq) IS NULL THEN device_asked"      \
         " ELSE device END"
static const char *const job_sql[ACTIONS] = {
    [ACTION_CANCEL] = CHANGE("cancel_requested = (?3 = 'running'), " UNTOLD ","
                             " finished_at = iif(?3 = 'running', 0, ?4)"),
    [ACTION_HOLD] = CHANGE("waits_code = iif(?3 = 'running', waits_code, ?5),"
                           " waits = iif(?3 = 'running', waits, ?6), hold_requested ="
                           " iif(?3 = 'running', iif(?5 IS 'user_disabled', 2, 1), 0)"),
    [ACTION_RELEASE] = CHANGE(UNTOLD),
    [ACTION_RETRY] = CHANGE(AGAIN),
    [ACTION_RESTART] =
        CHANGE(AGAIN ", epoch = -1, loss = NULL, record_scalars = 0,"
                     " record_fields = 0, record_bytes = 0, started_at = 0, device = device_asked,"
                     " records = (SELECT seq FROM sqlite_sequence WHERE name = 'jobs')"),
    [ACTION_CLAIM] = CHANGE("device = ?5, " UNTOLD ","
                            " started_at = iif(started_at = 0, ?4, started_at)"),
    [ACTION_SUCCEED] = CHANGE(ENDED),
    [ACTION_FAIL] = CHANGE(ENDED),
    [ACTION_STOP] = CHANGE(ENDED),
    [ACTION_REQUEUE] = CHANGE(REQUEUED),
    [ACTION_FAULT] = CHANGE("attempt = attempt + 1, faults = faults + 1, " REQUEUED),
    [ACTION_EXHAUST] = CHANGE("faults = faults + 1, " ENDED),
    [ACTION_UNREADABLE] = CHANGE(ENDED),
};

static const char sql_state[] =
    "SELECT seq, state, cancel_requested, faults, max_attempts, epoch,"
    " hold_requested, max_seconds > 0 AND device_ms >= 1000 * max_seconds,"
    " json_extract(error, '$.code') IS ?2, iif(started_at = 0 AND attempt = 1, submitted_at, 0),"
    " blocked, started_at > 0, waits_code IS 'after', sweep"
    " FROM jobs WHERE id = ?1";

/* The data of a `job` event of action ?2 by actor ?3, in the form of the API's answers: RFC
 * 3339 times with microseconds, null for a time that has not come. */
#define TIME(column)                                                                               \
    "iif(" column " = 0, NULL,"                                                                    \
    " strftime('%Y-%m-%dT%H:%M:%S', " column " / 1000000, 'unixepoch')"                            \
    " || printf('.%06dZ', " column " % 1000000))"
/* What is stored of the reason why a job waits, and what it waits for; an unread one has none yet. */
#define REASON                                                                                     \
    "json(CASE WHEN blocked AND state = 'queued' THEN json_object('code', ?6, "                    \
    "'message', " AFTER_WAITS("jobs") ")"                                                          \
                                      " WHEN waits_code IS NOT NULL THEN json_object('code', "     \
                                      "waits_code, 'message', waits)"                              \
                                      " WHEN unread AND state = 'queued' THEN "                    \
                                      "json_object('code', ?4, 'message', ?5) END)"
#define SUBMITTED_AT TIME("submitted_at")
#define STARTED_AT TIME("started_at")
#define FINISHED_AT TIME("finished_at")
static const char sql_event[] =
    "SELECT json_object("
    "'id', id, 'name', name, 'tags', json(tags), 'user', user,"
    " 'state', state, 'priority', priority, 'attempt', attempt,"
    " 'cancel_requested', json(iif(cancel_requested, 'true', 'false')),"
    " 'hold_requested', json(iif(hold_requested, 'true', 'false')), 'urgent', urgent,"
    " 'submitted_at', " SUBMITTED_AT ","
    " 'started_at', " STARTED_AT ","
    " 'finished_at', " FINISHED_AT ","
    " 'epoch', iif(epoch < 0, NULL, epoch), 'epochs', epochs, 'loss', loss,"
    " 'device', device, 'memory_bytes', iif(unread, NULL, memory_bytes),"
    " 'error', json(error), 'waits', " REASON ","
    " 'action', ?2, 'actor', nullif(?3, ''),"
    " 'sweep', (SELECT s.id FROM sweeps s WHERE s.seq = jobs.sweep))"
    " FROM jobs WHERE id = ?1";
static const char sql_deleted[] =
    "SELECT json_object('id', ?1, 'state', 'deleted', 'action', ?2, 'actor', nullif(?3, ''))";

static const char sql_unfinished[] =
    "SELECT count(*) FROM jobs WHERE state IN ('queued', 'held', 'running')";
static const char sql_insert[] =
    "INSERT INTO jobs (id, name, tags, user, state, priority, max_attempts, submitted_at,"
    " epochs, device_asked, device,"
    " precision,"
    " memory_bytes, n_groups, n_tokens, unread, max_seconds,"
    " sweep, capped, record_every)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8,"
    " ?9, ?10, ?10,"
    " coalesce(json_extract(?11, '$.train.precision'), 'auto'),"
    " ?12, ?13, ?14, ?15, ?16,"
    " (SELECT seq FROM sweeps WHERE id = ?17),"
    " coalesce((SELECT seq FROM sweeps WHERE id = ?17 AND max_running), 0),"
    " coalesce(json_extract(?11, '$.train.record_every'), 1))";
static const char sql_insert_records[] = "UPDATE jobs SET records = seq WHERE seq = ?1";
static const char sql_insert_texts[] =
    "INSERT INTO job_texts (job, notes, spec, facts, group_names, corpus_sha256, setting)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
/* The migration 0004 writes the same. */
static const char sql_search[] =
    "REPLACE INTO job_search (job, folded)"
    " SELECT seq, fold(name) || char(10) || fold(notes) || char(10)"
    " || coalesce((SELECT group_concat(fold(value), char(10)) FROM json_each(tags)), '')"
    " FROM jobs JOIN job_texts ON job = seq WHERE id = ?1";
static const char sql_key_find[] =
    "SELECT i.body_sha256, j.id FROM idempotency i JOIN jobs j ON j.seq = i.job"
    " WHERE i.user = ?1 AND i.key = ?2";
static const char sql_key_insert[] =
    "INSERT INTO idempotency (user, key, body_sha256, job) VALUES (?1, ?2, ?3, ?4)";
static const char sql_patch[] =
    "UPDATE jobs SET name = coalesce(?2, name), tags = coalesce(?3, tags),"
    " priority = coalesce(?4, priority), max_seconds = coalesce(?5, max_seconds),"
    " urgent = iif(?6 IS NULL, urgent, nullif(?6, '')), pinned = coalesce(?7, pinned)"
    " WHERE id = ?1";
/* What a patch with the same parameters would change, in words; '' if nothing. */
static const char sql_patch_words[] =
    "SELECT substr("
    "iif(?2 <> name, '; name \"' || name || '\" to \"' || ?2 || '\"', '') ||"
    " iif(?3 <> tags, '; tags ' || tags || ' to ' || ?3, '') ||"
    " iif(?4 <> priority, '; priority ' || priority || ' to ' || ?4, '') ||"
    " iif(?5 <> max_seconds, '; max_seconds ' || max_seconds || ' to ' || ?5, '') ||"
    " iif(?6 IS NULL OR ?6 = coalesce(urgent, ''), '', iif(?6 = '', '; not urgent', '; urgent')) ||"
    " iif(?7 <> notes, '; notes', '') ||"
    " iif(?8 <> pinned, iif(?8, '; pinned', '; not pinned any more'), ''), 3)"
    " FROM jobs JOIN job_texts ON job = seq WHERE id = ?1";
/* The sentence of an error as it is stored: JSON {"code", "message", "epoch"}. */
static const char sql_message[] = "SELECT json_extract(?1, '$.message')";
/* The stored spec follows the row, so that it can be posted again unchanged. */
static const char sql_patch_texts[] =
    "UPDATE job_texts SET notes = coalesce(?2, notes),"
    " spec = json_set(spec, '$.name', j.name, '$.notes', coalesce(?2, notes),"
    " '$.tags', json(j.tags), '$.resources.priority', j.priority,"
    " '$.resources.max_seconds', coalesce(?3, json_extract(spec, '$.resources.max_seconds')))"
    " FROM jobs j WHERE j.id = ?1 AND job_texts.job = j.seq";
/* The id of an unfinished job that starts from the model of job ?1. */
static const char sql_needed_by[] =
    "SELECT id FROM jobs JOIN job_texts ON job = seq"
    " WHERE state IN ('queued', 'held', 'running') AND json_extract(spec, '$.init_from') = ?1"
    " LIMIT 1";
/* 1 if the spec ?1 starts from a job that has no model (any more). */
static const char sql_source_gone[] =
    "SELECT json_extract(?1, '$.init_from') IS NOT NULL AND NOT EXISTS ("
    "SELECT 1 FROM jobs WHERE id = json_extract(?1, '$.init_from') AND state = 'succeeded')";
static const char sql_delete[] = "DELETE FROM jobs WHERE id = ?1 AND state = ?2";
static const char sql_delete_sweep[] =
    "DELETE FROM sweeps WHERE seq = ?1 AND NOT EXISTS (SELECT 1 FROM jobs WHERE sweep = ?1)";
static const char sql_started[] =
    "UPDATE jobs SET memory_bytes = ?2 WHERE id = ?1 AND state = 'running'";
static const char sql_provenance[] = "UPDATE job_texts SET provenance = coalesce(provenance, ?2)"
                                     " WHERE job = (SELECT seq FROM jobs WHERE id = ?1)";
static const char sql_provenance_clear[] =
    "UPDATE job_texts SET provenance = NULL WHERE job = (SELECT seq FROM jobs WHERE id = ?1)";
/* Take the next number of the sequence of jobs.seq (AUTOINCREMENT). No job gets it, so
 * it is the number of a new set of records; the sequence still only grows. */
static const char sql_take_number[] =
    "UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'jobs'";
static const char sql_was_read[] =
    "UPDATE jobs SET unread = 0, memory_bytes = ?2, n_groups = ?3, n_tokens = ?4,"
    " waits_code = iif(state = 'queued', NULL, waits_code),"
    " waits = iif(state = 'queued', NULL, waits)"
    " WHERE id = ?1 AND unread AND state IN ('queued', 'held')";
static const char sql_was_read_texts[] = "UPDATE job_texts SET facts = ?2, group_names = ?3"
                                         " WHERE job = (SELECT seq FROM jobs WHERE id = ?1)";
static const char sql_set_unread[] =
    "UPDATE jobs SET unread = 1 WHERE id = ?1 AND state = 'queued'";
static const char sql_sliced[] = "UPDATE jobs SET slices = slices + 1 WHERE id = ?1";
static const char sql_charge[] =
    "UPDATE jobs SET device_ms = device_ms + ?2, stop_start_ms = stop_start_ms + ?3,"
    " cost_ms = iif(?4 > 0, ?4, cost_ms) WHERE id = ?1";
static const char sql_waits[] =
    "UPDATE jobs SET waits_code = ?2, waits = ?3"
    " WHERE id = ?1 AND (waits_code IS NOT ?2 OR waits IS NOT ?3) AND state = 'queued'";
/* The next job of a user ?1 in state ?2, and with reason code ?3 if that is not NULL, after seq ?4.
 * The + keeps SQLite from an index: in the order of seq a loop passes over each row once. */
static const char sql_of_user[] =
    "SELECT seq, id FROM jobs WHERE user = ?1 AND +state = ?2 AND (?3 IS NULL OR waits_code = ?3)"
    " AND NOT hold_requested AND seq > ?4 ORDER BY seq LIMIT 1";
static const char sql_go_on[] =
    "UPDATE jobs SET hold_requested = 0 WHERE seq = (SELECT seq FROM jobs WHERE user = ?1"
    " AND state = 'running' AND hold_requested = 2 LIMIT 1) RETURNING id";
static const char sql_owner_disabled[] =
    "SELECT u.name FROM jobs j JOIN users u ON u.name = j.user WHERE j.id = ?1 AND u.disabled"
    " AND (?2 IS NULL OR u.name = ?2)";
static const char sql_running[] =
    "SELECT id FROM jobs WHERE state = 'running' ORDER BY seq LIMIT 1";

/* The columns of a struct job; job_fill and job_texts go by their numbers, which
 * stand at the end of each line. ROW leaves the long texts out, FULL has them. */
#define ROW                                                                                        \
    "j.id, j.seq, j.name, j.tags, j.user, j.state, " /* 0 to 5 */                                  \
    "j.priority, j.attempt, j.cancel_requested, "    /* 6 to 8 */                                  \
    "j.submitted_at, j.started_at, j.finished_at, "  /* 9 to 11 */                                 \
    "j.epoch, j.epochs, j.device, j.precision, "     /* 12 to 15 */                                \
    "j.memory_bytes, j.error, iif(j.blocked AND j.state = 'queued', " AFTER_WAITS(                 \
        "j") ", j.waits), j.n_groups, "                       /* 16 to 19 */                       \
             "j.n_tokens, j.max_attempts, j.loss, "           /* 20 to 22 */                       \
             "t.provenance, t.group_names, t.corpus_sha256, " /* 23 to 25 */                       \
             "s.id, t.setting, j.unread, "                    /* 26 to 28 */                       \
             "j.urgent, j.hold_requested, j.max_seconds, "    /* 29 to 31 */                       \
             "j.device_ms, j.slices, j.stop_start_ms, "       /* 32 to 34 */                       \
             "j.cost_ms, coalesce("                           /* 35 */                             \
             "json_extract(t.provenance, '$.threads'), "                                           \
             "json_extract(t.spec, '$.resources.threads'), 0), "              /* 36 */             \
             "iif(j.blocked AND j.state = 'queued', 'after', j.waits_code), " /* 37 */             \
             "j.record_every"                                                 /* 38 */
#define FULL ROW ", t.notes, t.spec, t.facts, j.pinned"                       /* 39 to 42 */
#define FROM " FROM jobs j JOIN job_texts t ON t.job = j.seq LEFT JOIN sweeps s ON s.seq = j.sweep"
static const char sql_get[] = "SELECT " FULL FROM " WHERE j.id = ?1";
static const char sql_list[] =
    JOB_FILTER_WITH "SELECT " FULL FROM " WHERE" JOB_FILTER " ORDER BY j.seq DESC LIMIT ?8";
/* Jobs that the scheduler looks at. */
#define IN_LANES(t) #t ".state = 'queued' AND " #t ".unread = 0 AND " #t ".blocked = 0"
/* The order of a lane; the index jobs_queue has the same columns. */
static const char sql_queue[] =
    "SELECT " ROW FROM
    " WHERE " IN_LANES(j) " AND j.user = ?1 AND j.device = ?2 AND j.capped = ?5"
                          " ORDER BY j.urgent IS NULL, j.priority DESC, j.seq LIMIT ?4 OFFSET ?3";
/* Each step finds the next user, device or sweep in the index; the jobs between are not read. */
static const char sql_lanes[] =
    "WITH RECURSIVE"
    " owner (user) AS ("
    "SELECT min(user) FROM jobs WHERE " IN_LANES(
        jobs) " UNION ALL"
              " SELECT (SELECT min(j.user) FROM jobs j WHERE " IN_LANES(
                  j) " AND j.user > owner.user)"
                     " FROM owner WHERE owner.user IS NOT NULL),"
                     " place (user, device) AS ("
                     "SELECT user, (SELECT min(j.device) FROM jobs j WHERE " IN_LANES(
                         j) " AND j.user = owner.user)"
                            " FROM owner WHERE user IS NOT NULL UNION ALL"
                            " SELECT user, (SELECT min(j.device) FROM jobs j"
                            " WHERE " IN_LANES(
                                j) " AND j.user = place.user AND j.device > place.device)"
                                   " FROM place WHERE device IS NOT NULL),"
                                   " lane (user, device, capped) AS ("
                                   "SELECT user, device, (SELECT min(j.capped) FROM jobs j"
                                   " WHERE " IN_LANES(
                                       j) " AND j.user = place.user AND j.device = place.device)"
                                          " FROM place WHERE device IS NOT NULL UNION ALL"
                                          " SELECT user, device, (SELECT min(j.capped) FROM jobs j"
                                          " WHERE " IN_LANES(
                                              j) " AND j.user = lane.user AND j.device = "
                                                 "lane.device"
                                                 " AND j.capped > lane.capped)"
                                                 " FROM lane WHERE capped IS NOT NULL)"
                                                 " SELECT lane.user, device, capped, "
                                                 "coalesce(s.id, ''), coalesce(s.max_running, 0)"
                                                 " FROM lane LEFT JOIN sweeps s ON s.seq = capped "
                                                 "WHERE capped IS NOT NULL";
static const char sql_unread[] =
    "SELECT " FULL FROM " WHERE j.unread AND j.state IN ('queued', 'held') ORDER BY j.seq";
static const char sql_apart[] =
    "SELECT " ROW FROM " WHERE j.state = 'queued' AND (j.unread OR j.blocked) ORDER BY j.seq";
static const char sql_sweep[] = "SELECT " ROW FROM " WHERE s.id = ?1 ORDER BY j.seq";
/* Users beyond the ?1 with most jobs are one, whose name no user can have. */
static const char sql_user_counts[] =
    "WITH n AS MATERIALIZED (SELECT user, state, count(*) AS jobs FROM jobs GROUP BY user, state),"
    " named AS MATERIALIZED"
    " (SELECT user FROM n GROUP BY user ORDER BY sum(jobs) DESC, user LIMIT ?1)"
    " SELECT iif(user IN named, user, '(others)'), state, sum(jobs) FROM n GROUP BY 1, 2";
static const char sql_counts[] = "SELECT state, count(*) FROM jobs GROUP BY state";

/* ---- write ---- */

static int job_not_found(const char *id, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "there is no job %s", id);
}

/* Write a `job` event; `sql` makes its data from the job's id. It runs after the
 * change in the same transaction, so the data show the state after the change. action: a verb
 * of history, NULL for news of a run. */
static int job_event(struct db_writer *writer, const char *sql, const char *id, const char *action,
                     struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&writer->connection, sql,
                         VALUES(value_text(id), value_text(action), value_text(writer->actor),
                                value_text(reason_name(REASON_READING)),
                                value_text(reason_sentence(REASON_READING)),
                                value_text(reason_name(REASON_AFTER))),
                         &statement, err) < 0)
        return -1;
    int result = statement_step(statement, err);
    if (result > 0)
        result = events_add(writer, "job", id, 0, 0,
                            (const char *)sqlite3_column_text(statement, 0), err);
    statement_close(statement);
    return result;
}

/* Write the event and the entry of history of one change; NULL: the job has no such state, or
 * there is nothing to add. */
static int job_tell(struct db_writer *writer, const char *sql, const char *id, const char *action,
                    const char *from, const char *to, const char *detail, struct err *err)
{
    const struct history entry = {
        .kind = "job", .object = id, .action = action, .from = from, .to = to, .detail = detail};
    return job_event(writer, sql, id, action, err) < 0 ? -1 : history_add(writer, &entry, err);
}

/* The first column of the only row as text of n bytes, cut to fit; "" for NULL and no row. */
static int job_words(struct db_writer *writer, const char *sql, const struct value *values,
                     int n_values, char *words, size_t n, struct err *err)
{
    sqlite3_stmt *statement;
    words[0] = '\0';
    if (connection_start(&writer->connection, sql, values, n_values, &statement, err) < 0)
        return -1;
    const int found = statement_step(statement, err);
    if (found > 0 && sqlite3_column_type(statement, 0) != SQLITE_NULL)
        column_copy(statement, 0, words, n);
    statement_close(statement);
    return found < 0 ? -1 : 0;
}

/* The columns of a job on which a change depends. */
struct job_standing {
    int64_t seq, cancel_requested, faults, max_attempts, epoch, is_over, has_diverged, blocked,
        has_started, is_after, sweep;
    int64_t hold_requested; /* of a running job: 1 by a request, 2 because its user is disabled */
    int64_t waits_since;    /* of a job that has never started, else 0 */
    enum job_state state;
};

static int job_standing(struct connection *connection, const char *id, struct job_standing *out,
                        struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(connection, sql_state,
                         VALUES(value_text(id), value_text(err_name(ERR_DIVERGED))), &statement,
                         err) < 0)
        return -1;
    int result = statement_step(statement, err);
    if (result == 0)
        result = job_not_found(id, err);
    if (result > 0) {
        out->seq = sqlite3_column_int64(statement, 0);
        out->state =
            (enum job_state)job_state_from_name((const char *)sqlite3_column_text(statement, 1));
        out->cancel_requested = sqlite3_column_int64(statement, 2);
        out->faults = sqlite3_column_int64(statement, 3);
        out->max_attempts = sqlite3_column_int64(statement, 4);
        out->epoch = sqlite3_column_int64(statement, 5);
        out->hold_requested = sqlite3_column_int64(statement, 6);
        out->is_over = sqlite3_column_int64(statement, 7);
        out->has_diverged = sqlite3_column_int64(statement, 8);
        out->waits_since = sqlite3_column_int64(statement, 9);
        out->blocked = sqlite3_column_int64(statement, 10);
        out->has_started = sqlite3_column_int64(statement, 11);
        out->is_after = sqlite3_column_int64(statement, 12);
        out->sweep = sqlite3_column_int64(statement, 13);
    }
    statement_close(statement);
    return result < 0 ? -1 : 0;
}

static int job_refuse(const char *id, const struct job_standing *standing, enum job_action action,
                      struct err *err)
{
    return err_set(err, ERR_CONFLICT, "job %s is %s and cannot be %s", id,
                   job_state_names[standing->state], job_action_names[action].participle);
}

static int job_follow(struct db_writer *writer, const char *id, int64_t seq, enum job_state from,
                      enum job_state to, enum job_state *state, struct err *err);

/* Change the state, and what follows from it for jobs that wait. text: ?5 of the action's statement;
 * a code that names a sentence is given with it, that of `after` is the detail. detail: of the entry of history, NULL if
 * none. The writer thread is the only one that writes, so the swap
 * fails only if an earlier statement of the same operation changed the job. The
 * comparison makes that an error instead of a second transition. */
static int job_change(struct db_writer *writer, const char *id, const struct job_standing *standing,
                      enum job_action action, const char *text, const char *detail,
                      enum job_state *state, struct err *err)
{
    const int next = job_next[action][standing->state];
    const enum reason_code reason = reason_from_name(text);
    if (next < 0)
        return job_refuse(id, standing, action, err);
    if (connection_run(
            &writer->connection, job_sql[action],
            VALUES(value_integer(standing->seq), value_text(job_state_names[standing->state]),
                   value_text(job_state_names[next]), value_integer(db_now()), value_text(text),
                   value_text(reason == REASON_AFTER ? detail
                              : reason               ? reason_sentence(reason)
                                                     : NULL)),
            err) < 0)
        return -1;
    if (connection_changes(&writer->connection) != 1)
        return err_set(err, ERR_CONFLICT, "job %s is not %s any more", id,
                       job_state_names[standing->state]);
    if (job_tell(writer, sql_event, id, job_action_names[action].verb,
                 job_state_names[standing->state], job_state_names[next], detail, err) < 0)
        return -1;
    if (next >= JOB_SUCCEEDED && usage_end(writer, id, job_state_names[next], err) < 0)
        return -1;
    if (next != JOB_QUEUED && next != JOB_RUNNING &&
        notify_change(writer, standing->seq, job_state_names[next], err) < 0)
        return -1;
    if (state)
        *state = (enum job_state)next;
    return job_follow(writer, id, standing->seq, standing->state, (enum job_state)next, state, err);
}

/* ---- jobs of a disabled user ---- */

/* The action for each job of the user that has the state and the reason (a code, NULL: any). The
 * code `user_disabled` is also the mark by which enabling the user finds the jobs to release: every
 * later transition of a job replaces it. */
static int job_each_of_user(struct db_writer *writer, const char *user, enum job_state state,
                            const char *reason, enum job_action action, const char *text,
                            struct err *err)
{
    int64_t seq = 0;
    for (;;) {
        sqlite3_stmt *statement;
        struct job_standing standing;
        char id[DB_ID_MAX] = "";
        if (connection_start(&writer->connection, sql_of_user,
                             VALUES(value_text(user), value_text(job_state_names[state]),
                                    value_text(reason), value_integer(seq)),
                             &statement, err) < 0)
            return -1;
        const int found = statement_step(statement, err);
        if (found > 0) {
            seq = sqlite3_column_int64(statement, 0);
            column_copy(statement, 1, id, sizeof id);
        }
        statement_close(statement);
        if (found <= 0)
            return found;
        if (job_standing(&writer->connection, id, &standing, err) < 0 ||
            job_change(writer, id, &standing, action, text, text, NULL, err) < 0)
            return -1;
    }
}

int job_hold_all(struct db_writer *writer, const char *user, struct err *err)
{
    const char *reason = reason_name(REASON_USER_DISABLED);
    return job_each_of_user(writer, user, JOB_QUEUED, NULL, ACTION_HOLD, reason, err) < 0
               ? -1
               : job_each_of_user(writer, user, JOB_RUNNING, NULL, ACTION_HOLD, reason, err);
}

/* The running jobs that job_hold_all has not stopped yet need not stop. */
static int job_go_on(struct db_writer *writer, const char *user, struct err *err)
{
    for (;;) {
        char id[DB_ID_MAX];
        if (job_words(writer, sql_go_on, VALUES(value_text(user)), id, sizeof id, err) < 0)
            return -1;
        if (!id[0])
            return 0;
        if (job_tell(writer, sql_event, id, job_action_names[ACTION_RELEASE].verb,
                     job_state_names[JOB_RUNNING], job_state_names[JOB_RUNNING], NULL, err) < 0)
            return -1;
    }
}

int job_release_all(struct db_writer *writer, const char *user, struct err *err)
{
    const char *reason = reason_name(REASON_USER_DISABLED);
    return job_go_on(writer, user, err) < 0
               ? -1
               : job_each_of_user(writer, user, JOB_HELD, reason, ACTION_RELEASE, NULL, err);
}

/* Hold a job that has come into the queue, if its user was disabled meanwhile: its request or
 * its run began before. actor: only if that is its user; NULL: whoever it was. */
static int job_hold_of_disabled(struct db_writer *writer, const char *id, const char *actor,
                                enum job_state *state, struct err *err)
{
    sqlite3_stmt *statement;
    struct job_standing standing;
    const char *reason = reason_name(REASON_USER_DISABLED);
    if (connection_start(&writer->connection, sql_owner_disabled,
                         VALUES(value_text(id), value_text(actor)), &statement, err) < 0)
        return -1;
    const int found = statement_step(statement, err);
    statement_close(statement);
    if (found <= 0)
        return found;
    if (job_standing(&writer->connection, id, &standing, err) < 0)
        return -1;
    if (standing.state != JOB_QUEUED)
        return 0;
    return job_change(writer, id, &standing, ACTION_HOLD, reason, reason, state, err);
}

/* ---- jobs that wait for others ---- */

/* Count what a job in the queue waits for, and hold it if one of these will not succeed. */
static int job_await(struct db_writer *writer, const char *id, int64_t seq, enum job_state *state,
                     struct err *err)
{
    struct job_standing standing;
    char reason[AFTER_REASON_MAX];
    if (after_count(writer, seq, err) < 0)
        return -1;
    const int is_broken = after_is_broken(&writer->connection, seq, reason, err);
    if (is_broken <= 0)
        return is_broken;
    return job_standing(&writer->connection, id, &standing, err) < 0
               ? -1
               : job_change(writer, id, &standing, ACTION_HOLD, reason_name(REASON_AFTER), reason,
                            state, err);
}

/* Let a job that was held for one that failed back into the queue. */
static int job_mend(struct db_writer *writer, const char *id, struct err *err)
{
    struct job_standing standing;
    if (job_standing(&writer->connection, id, &standing, err) < 0 ||
        job_change(writer, id, &standing, ACTION_RELEASE, NULL, NULL, NULL, err) < 0)
        return -1;
    return job_hold_of_disabled(writer, id, NULL, NULL, err);
}

/* Job `seq` has ended, or a retry has opened it again: for the jobs that wait for it. */
static int job_tell_waiting(struct db_writer *writer, int64_t seq, struct err *err)
{
    int64_t at = 0;
    char id[DB_ID_MAX];
    int found;
    if (after_count_waiting(writer, seq, err) < 0)
        return -1;
    while ((found = after_next_broken(writer, seq, &at, id, err)) > 0)
        if (job_await(writer, id, at, NULL, err) < 0)
            return -1;
    for (at = 0; found == 0 && (found = after_next_mended(writer, seq, &at, id, err)) > 0;)
        if ((found = job_mend(writer, id, err)) < 0)
            return -1;
    return found;
}

static int job_follow(struct db_writer *writer, const char *id, int64_t seq, enum job_state from,
                      enum job_state to, enum job_state *state, struct err *err)
{
    if (to == JOB_QUEUED && job_await(writer, id, seq, state, err) < 0)
        return -1;
    return (from >= JOB_SUCCEEDED) == (to >= JOB_SUCCEEDED) ? 0
                                                            : job_tell_waiting(writer, seq, err);
}

int job_set_after(struct db_writer *writer, const char *id, const struct after_list *list,
                  struct err *err)
{
    struct job_standing standing;
    char words[64];
    if (job_standing(&writer->connection, id, &standing, err) < 0)
        return -1;
    if (standing.has_started || (standing.state != JOB_QUEUED && standing.state != JOB_HELD))
        return err_set(err, ERR_CONFLICT, "job %s %s and waits for no other any more", id,
                       standing.has_started ? "has started" : "has ended");
    snprintf(words, sizeof words, "after: %d job%s", list->n, list->n == 1 ? "" : "s");
    if (after_set(writer, standing.seq, list, err) < 0 ||
        job_set_waits(writer, id, REASON_NONE, NULL, err) < 0 ||
        job_tell(writer, sql_event, id, "change", NULL, NULL, words, err) < 0)
        return -1;
    if (standing.state == JOB_QUEUED)
        return job_await(writer, id, standing.seq, NULL, err);
    return standing.is_after ? job_mend(writer, id, err) : 0;
}

/* ---- keys and new jobs ---- */

/* Look a key up: 1 = the same request came before (id is set), 0 = the key is new. */
static int job_known(struct connection *connection, const char *user, const char *key,
                     const char *body_sha256, char id[DB_ID_MAX], struct err *err)
{
    sqlite3_stmt *statement;
    if (strlen(key) > JOB_KEY_MAX || !*key)
        return err_field(err, "/Idempotency-Key", "%zu bytes; 1 to %d are allowed", strlen(key),
                         JOB_KEY_MAX);
    if (connection_start(connection, sql_key_find, VALUES(value_text(user), value_text(key)),
                         &statement, err) < 0)
        return -1;
    int result = statement_step(statement, err);
    if (result > 0 && strcmp((const char *)sqlite3_column_text(statement, 0), body_sha256) != 0)
        result = err_field(err, "/Idempotency-Key", "\"%.60s\" was used with another body", key);
    if (result > 0)
        column_copy(statement, 1, id, DB_ID_MAX);
    statement_close(statement);
    return result;
}

int job_of_key(struct db_reader *reader, const char *user, const char *key, const char *body_sha256,
               char id[DB_ID_MAX], struct err *err)
{
    return job_known(&reader->connection, user, key, body_sha256, id, err);
}

static int job_insert_rows(struct db_writer *writer, const struct job *job, int64_t now,
                           int64_t *seq, struct err *err)
{
    struct connection *connection = &writer->connection;
    if (connection_run(connection, sql_insert,
                       VALUES(value_text(job->id), value_text(job->name), value_text(job->tags),
                              value_text(job->user), value_text(job_state_names[job->state]),
                              value_integer(job->priority), value_integer(job->max_attempts),
                              value_integer(now), value_integer(job->epochs),
                              value_text(job->device), value_text(job->spec),
                              value_integer(job->memory_bytes), value_integer(job->n_groups),
                              value_integer(job->n_tokens), value_integer(job->unread),
                              value_integer(job->max_seconds), value_text(job->sweep)),
                       err) < 0)
        return -1;
    *seq = sqlite3_last_insert_rowid(connection->handle);
    if (connection_run(connection, sql_insert_records, VALUES(value_integer(*seq)), err) < 0 ||
        connection_run(connection, sql_insert_texts,
                       VALUES(value_integer(*seq), value_text(job->notes), value_text(job->spec),
                              value_text(job->facts), value_text(job->group_names),
                              value_text(job->corpus_sha256), value_text(job->setting)),
                       err) < 0)
        return -1;
    if (connection_run(connection, sql_search, VALUES(value_text(job->id)), err) < 0)
        return -1;
    return job->work.shape[0] ? step_times_put_work(writer, job->id, &job->work, err) : 0;
}

static int job_does_not_fit(int64_t unfinished, int64_t max_queue, struct err *err)
{
    const struct err_limit limit = {.name = "max_queue",
                                    .change = "whoever starts the server: the setting max_queue",
                                    .value = (double)max_queue,
                                    .present = (double)unfinished,
                                    .asked = 1};
    return err_set_limit(err, ERR_TOO_MANY, &limit, "%lld jobs are not finished, the limit is %lld",
                         (long long)unfinished, (long long)max_queue);
}

int job_insert(struct db_writer *writer, struct job *job, const char *idempotency_key,
               const char *body_sha256, int64_t max_queue, int *existing, struct err *err)
{
    struct connection *connection = &writer->connection;
    int64_t unfinished, seq, now = db_now();
    int known = idempotency_key
                    ? job_known(connection, job->user, idempotency_key, body_sha256, job->id, err)
                    : 0;
    if (known != 0) {
        *existing = known > 0 ? 1 : *existing;
        return known < 0 ? -1 : 0;
    }
    if (job->state != JOB_QUEUED && job->state != JOB_HELD)
        return err_set(err, ERR_INVALID, "a new job cannot be %s", job_state_names[job->state]);
    if (connection_integer(connection, sql_unfinished, NO_VALUES, 0, &unfinished, err) < 0)
        return -1;
    if (unfinished >= max_queue)
        return job_does_not_fit(unfinished, max_queue, err);
    int64_t is_gone;
    if (connection_integer(connection, sql_source_gone, VALUES(value_text(job->spec)), 0, &is_gone,
                           err) < 0)
        return -1;
    if (is_gone)
        return err_field(err, "/init_from", "the job that this one starts from was just deleted");
    if (job_insert_rows(writer, job, now, &seq, err) < 0)
        return -1;
    if (idempotency_key && connection_run(connection, sql_key_insert,
                                          VALUES(value_text(job->user), value_text(idempotency_key),
                                                 value_text(body_sha256), value_integer(seq)),
                                          err) < 0)
        return -1;
    if (job->after && after_set(writer, seq, job->after, err) < 0)
        return -1;
    if (job_tell(writer, sql_event, job->id, "submit", NULL, job_state_names[job->state], NULL,
                 err) < 0 ||
        job_hold_of_disabled(writer, job->id, NULL, &job->state, err) < 0)
        return -1;
    if (job->after && job->state == JOB_QUEUED &&
        job_await(writer, job->id, seq, &job->state, err) < 0)
        return -1;
    job->seq = seq;
    job->submitted_at = now;
    job->attempt = 1;
    job->epoch = -1;
    job->loss = NAN;
    *existing = 0;
    return 0;
}

int job_patch(struct db_writer *writer, const char *id, const struct job_patch *patch,
              struct err *err)
{
    struct connection *connection = &writer->connection;
    const struct value none = value_text(NULL);
    const struct value priority = patch->priority ? value_integer(*patch->priority) : none;
    const struct value seconds = patch->max_seconds ? value_integer(*patch->max_seconds) : none;
    const struct value asked = patch->max_seconds ? value_integer(patch->asked_seconds) : none;
    const struct value pinned = patch->pinned ? value_integer(*patch->pinned) : none;
    char words[JOB_WORDS_MAX];
    if (job_words(writer, sql_patch_words,
                  VALUES(value_text(id), value_text(patch->name), value_text(patch->tags), priority,
                         seconds, value_text(patch->urgent), value_text(patch->notes), pinned),
                  words, sizeof words, err) < 0 ||
        connection_run(connection, sql_patch,
                       VALUES(value_text(id), value_text(patch->name), value_text(patch->tags),
                              priority, seconds, value_text(patch->urgent), pinned),
                       err) < 0)
        return -1;
    if (connection_changes(connection) != 1)
        return job_not_found(id, err);
    if (connection_run(connection, sql_patch_texts,
                       VALUES(value_text(id), value_text(patch->notes), asked), err) < 0)
        return -1;
    if ((patch->name || patch->notes || patch->tags) &&
        connection_run(connection, sql_search, VALUES(value_text(id)), err) < 0)
        return -1;
    return words[0] ? job_tell(writer, sql_event, id, "change", NULL, NULL, words, err)
                    : job_event(writer, sql_event, id, "change", err);
}

/* Before a restart: detach what the attempts before have stored. ACTION_RESTART gives the job
 * the number that is taken here for its new records. */
static int job_start_anew(struct db_writer *writer, const char *id, struct err *err)
{
    struct connection *connection = &writer->connection;
    if (deletions_add(writer, id, DELETIONS_EPOCH_EVENTS, err) < 0 ||
        connection_run(connection, sql_take_number, NO_VALUES, err) < 0)
        return -1;
    return connection_run(connection, sql_provenance_clear, VALUES(value_text(id)), err);
}

static const enum job_action job_request_actions[] = {[JOB_CANCEL] = ACTION_CANCEL,
                                                      [JOB_HOLD] = ACTION_HOLD,
                                                      [JOB_RELEASE] = ACTION_RELEASE,
                                                      [JOB_RETRY] = ACTION_RETRY,
                                                      [JOB_RESTART] = ACTION_RESTART};

/* ERR_CONFLICT if the job waits for one that has failed. */
static int job_check_release(struct connection *connection, const char *id, int64_t seq,
                             struct err *err)
{
    char reason[AFTER_REASON_MAX];
    const int is_broken = after_is_broken(connection, seq, reason, err);
    return is_broken > 0
               ? err_set(err, ERR_CONFLICT,
                         "job %s is held (%s): retry that job, or change what this one waits for",
                         id, reason)
               : is_broken;
}

/* Everything that refuses a request. */
static int job_check_request(struct connection *connection, const char *id,
                             const struct job_standing *standing, enum job_request request,
                             struct err *err)
{
    if (request == JOB_RETRY && standing->has_diverged)
        return err_set(
            err, ERR_CONFLICT,
            "job %s diverged, and from its checkpoint the same run diverges again: change "
            "its spec, or start it over (from=start)",
            id);
    if (standing->is_over && request >= JOB_RELEASE)
        return err_set(err, ERR_CONFLICT,
                       "job %s has used up its max_seconds: give it more time (PATCH) first", id);
    if (job_next[job_request_actions[request]][standing->state] < 0)
        return job_refuse(id, standing, job_request_actions[request], err);
    return request == JOB_RELEASE ? job_check_release(connection, id, standing->seq, err) : 0;
}

int job_request(struct db_writer *writer, const char *id, enum job_request request,
                enum job_state *state, struct err *err)
{
    struct job_standing standing;
    enum job_action action = job_request_actions[request];
    if (job_standing(&writer->connection, id, &standing, err) < 0 ||
        job_check_request(&writer->connection, id, &standing, request, err) < 0)
        return -1;
    if (action == ACTION_RETRY && standing.epoch < 0)
        action = ACTION_RESTART;
    if (action == ACTION_RESTART && job_start_anew(writer, id, err) < 0)
        return -1;
    if (job_change(writer, id, &standing, action,
                   request == JOB_HOLD ? reason_name(REASON_HELD) : NULL, NULL, state, err) < 0)
        return -1;
    /* Administrators may release or retry a job of a disabled user, but not that user, whose
     * request began before. */
    return job_hold_of_disabled(writer, id, writer->actor, state, err);
}

int job_may_request(struct connection *connection, const char *id, enum job_request request,
                    struct err *err)
{
    struct job_standing standing;
    if (job_standing(connection, id, &standing, err) < 0)
        return -1;
    return job_check_request(connection, id, &standing, request, err);
}

/* ERR_CONFLICT if an unfinished job starts from the model of this one. */
static int job_check_unneeded(struct connection *connection, const char *id, struct err *err)
{
    sqlite3_stmt *statement;
    char needed_by[DB_ID_MAX] = "";
    if (connection_start(connection, sql_needed_by, VALUES(value_text(id)), &statement, err) < 0)
        return -1;
    int found = statement_step(statement, err);
    if (found > 0)
        column_copy(statement, 0, needed_by, sizeof needed_by);
    statement_close(statement);
    if (found > 0)
        return err_set(err, ERR_CONFLICT, "job %s cannot be deleted: job %s starts from its model",
                       id, needed_by);
    return found;
}

/* ERR_CONFLICT if a job waits for this one to succeed. */
static int job_check_unawaited(struct connection *connection, const char *id, int64_t seq,
                               struct err *err)
{
    char by[DB_ID_MAX];
    const int found = after_needed_by(connection, seq, by, err);
    return found > 0 ? err_set(err, ERR_CONFLICT,
                               "job %s cannot be deleted: job %s waits for it to succeed", id, by)
                     : found;
}

/* Everything that refuses a deletion. */
static int job_check_delete(struct connection *connection, const char *id,
                            struct job_standing *standing, struct err *err)
{
    if (job_standing(connection, id, standing, err) < 0)
        return -1;
    if (standing->state < JOB_SUCCEEDED)
        return err_set(err, ERR_CONFLICT, "job %s is %s and cannot be deleted", id,
                       job_state_names[standing->state]);
    return job_check_unneeded(connection, id, err) < 0
               ? -1
               : job_check_unawaited(connection, id, standing->seq, err);
}

int job_may_delete(struct connection *connection, const char *id, struct err *err)
{
    struct job_standing standing;
    return job_check_delete(connection, id, &standing, err);
}

int job_delete(struct db_writer *writer, const char *id, struct err *err)
{
    struct connection *connection = &writer->connection;
    struct job_standing standing;
    if (job_check_delete(connection, id, &standing, err) < 0 ||
        deletions_add(writer, id, DELETIONS_ALL_EVENTS, err) < 0 ||
        connection_run(connection, sql_delete,
                       VALUES(value_text(id), value_text(job_state_names[standing.state])),
                       err) < 0 ||
        connection_run(connection, sql_delete_sweep, VALUES(value_integer(standing.sweep)), err) <
            0)
        return -1;
    return job_tell(writer, sql_deleted, id, "delete", job_state_names[standing.state], NULL, NULL,
                    err);
}

int job_claim(struct db_writer *writer, const char *id, const char *device, struct err *err)
{
    struct job_standing standing;
    if (job_standing(&writer->connection, id, &standing, err) < 0)
        return -1;
    if (standing.blocked)
        return err_set(err, ERR_CONFLICT, "job %s waits for other jobs", id);
    if (job_change(writer, id, &standing, ACTION_CLAIM, device, device, NULL, err) < 0)
        return -1;
    if (standing.waits_since)
        histogram_observe(writer->queue_wait, (double)(db_now() - standing.waits_since) / 1e6);
    return 0;
}

int job_started(struct db_writer *writer, const char *id, const char *provenance,
                int64_t memory_bytes, struct err *err)
{
    struct connection *connection = &writer->connection;
    if (connection_run(connection, sql_started, VALUES(value_text(id), value_integer(memory_bytes)),
                       err) < 0)
        return -1;
    if (connection_changes(connection) != 1)
        return err_set(err, ERR_CONFLICT, "job %s is not running", id);
    if (connection_run(connection, sql_provenance, VALUES(value_text(id), value_text(provenance)),
                       err) < 0)
        return -1;
    return job_event(writer, sql_event, id, NULL, err);
}

/* What each end of a run does: its action, the reason that history and a job that waits tell, and
 * what a requeue leaves open. */
static const struct {
    enum job_action action;
    enum reason_code reason; /* NONE: the message of the error, if there is one */
    int again, held;
} job_ends[] = {
    [JOB_END_SUCCEEDED] = {ACTION_SUCCEED, REASON_NONE, 0, 0},
    [JOB_END_FAILED] = {ACTION_FAIL, REASON_NONE, 0, 0},
    [JOB_END_CANCELLED] = {ACTION_STOP, REASON_NONE, 0, 0},
    [JOB_END_REQUEUE] = {ACTION_REQUEUE, REASON_NONE, 1, 0},
    [JOB_END_SLICED] = {ACTION_REQUEUE, REASON_SLICED, 1, 0},
    [JOB_END_LIMIT] = {ACTION_REQUEUE, REASON_TIME_LIMIT, 1, 1},
    [JOB_END_FAULT] = {ACTION_FAULT, REASON_NONE, 1, 0},
};

/* A job that has come into the queue and shall not stay there: it was to be held, or its user was
 * disabled meanwhile. */
static int job_settle(struct db_writer *writer, const char *id, int held, enum reason_code why,
                      enum job_state *state, struct err *err)
{
    struct job_standing standing;
    const char *code = reason_name(why ? why : REASON_HELD);
    if (job_standing(&writer->connection, id, &standing, err) < 0)
        return -1;
    if (standing.state != JOB_QUEUED)
        return 0;
    return held
               ? job_change(writer, id, &standing, ACTION_HOLD, code, why ? code : NULL, state, err)
               : job_hold_of_disabled(writer, id, NULL, state, err);
}

int job_finish(struct db_writer *writer, const char *id, enum job_end end, const char *error,
               enum job_state *state, struct err *err)
{
    struct job_standing standing;
    char message[JOB_WORDS_MAX];
    if (job_standing(&writer->connection, id, &standing, err) < 0 ||
        job_words(writer, sql_message, VALUES(value_text(error)), message, sizeof message, err) < 0)
        return -1;
    /* The retry decision: a cancel request wins over another run; a fault that uses
     * up max_attempts fails the job. */
    enum job_action action = job_ends[end].action;
    if (job_ends[end].again && standing.cancel_requested)
        action = ACTION_STOP;
    else if (end == JOB_END_FAULT && standing.faults + 1 >= standing.max_attempts)
        action = ACTION_EXHAUST;
    const int failed = action == ACTION_FAIL || action == ACTION_EXHAUST;
    const enum reason_code why = job_ends[end].reason;
    const char *reason = why && action == job_ends[end].action ? reason_name(why) : NULL;
    const char *detail = reason ? reason : message[0] ? message : NULL;
    if (job_change(writer, id, &standing, action, failed ? error : reason, detail, state, err) < 0)
        return -1;
    if (end == JOB_END_SLICED &&
        connection_run(&writer->connection, sql_sliced, VALUES(value_text(id)), err) < 0)
        return -1;
    return job_settle(writer, id, job_ends[end].held || standing.hold_requested == 1,
                      job_ends[end].held ? why : REASON_NONE, state, err);
}

int job_charge(struct db_writer *writer, const char *id, int64_t device_ms, int64_t stop_start_ms,
               int64_t cost_ms, struct err *err)
{
    if (connection_run(&writer->connection, sql_charge,
                       VALUES(value_text(id), value_integer(device_ms),
                              value_integer(stop_start_ms), value_integer(cost_ms)),
                       err) < 0)
        return -1;
    return usage_charge(writer, id, device_ms, err);
}

int job_set_waits(struct db_writer *writer, const char *id, enum reason_code code,
                  const char *sentence, struct err *err)
{
    return connection_run(&writer->connection, sql_waits,
                          VALUES(value_text(id), value_text(code ? reason_name(code) : NULL),
                                 value_text(code ? sentence : NULL)),
                          err);
}

int job_was_read(struct db_writer *writer, const struct job *job, struct err *err)
{
    struct connection *connection = &writer->connection;
    if (connection_run(connection, sql_was_read,
                       VALUES(value_text(job->id), value_integer(job->memory_bytes),
                              value_integer(job->n_groups), value_integer(job->n_tokens)),
                       err) < 0)
        return -1;
    if (connection_changes(connection) != 1)
        return 0;
    if (connection_run(
            connection, sql_was_read_texts,
            VALUES(value_text(job->id), value_text(job->facts), value_text(job->group_names)),
            err) < 0 ||
        (job->work.shape[0] && step_times_put_work(writer, job->id, &job->work, err) < 0))
        return -1;
    return job_event(writer, sql_event, job->id, NULL, err);
}

int job_unreadable(struct db_writer *writer, const char *id, const char *error, struct err *err)
{
    struct job_standing standing;
    char message[JOB_WORDS_MAX];
    if (job_standing(&writer->connection, id, &standing, err) < 0 ||
        job_words(writer, sql_message, VALUES(value_text(error)), message, sizeof message, err) < 0)
        return -1;
    return job_change(writer, id, &standing, ACTION_UNREADABLE, error, message[0] ? message : NULL,
                      NULL, err);
}

int job_set_unread(struct db_writer *writer, const char *id, struct err *err)
{
    if (connection_run(&writer->connection, sql_set_unread, VALUES(value_text(id)), err) < 0)
        return -1;
    return job_event(writer, sql_event, id, NULL, err);
}

/* 1 = *id is the oldest running job, 0 = no job is running. */
static int job_any_running(struct db_writer *writer, char id[DB_ID_MAX], struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&writer->connection, sql_running, NO_VALUES, &statement, err) < 0)
        return -1;
    int result = statement_step(statement, err);
    if (result > 0)
        column_copy(statement, 0, id, DB_ID_MAX);
    statement_close(statement);
    return result;
}

int job_reconcile(struct db_writer *writer, int *n, struct err *err)
{
    char id[DB_ID_MAX];
    int found, count = 0;
    for (; (found = job_any_running(writer, id, err)) > 0; count++)
        if (job_finish(writer, id, JOB_END_REQUEUE, NULL, NULL, err) < 0)
            return -1;
    if (found < 0)
        return -1;
    *n = count;
    return 0;
}

/* ---- read ---- */

void job_free(struct job *job)
{
    if (!job)
        return;
    char *texts[] = {job->name,          job->notes,     job->tags,    job->user,
                     job->device,        job->precision, job->error,   job->waits,
                     job->provenance,    job->spec,      job->facts,   job->group_names,
                     job->corpus_sha256, job->sweep,     job->setting, job->urgent};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free(texts[i]);
    free(job);
}

/* The text columns of ROW and FULL: column number and member of struct job. */
static const struct {
    int column;
    size_t offset;
} job_texts[] = {
    {2, offsetof(struct job, name)},         {3, offsetof(struct job, tags)},
    {4, offsetof(struct job, user)},         {14, offsetof(struct job, device)},
    {15, offsetof(struct job, precision)},   {17, offsetof(struct job, error)},
    {18, offsetof(struct job, waits)},       {23, offsetof(struct job, provenance)},
    {24, offsetof(struct job, group_names)}, {25, offsetof(struct job, corpus_sha256)},
    {26, offsetof(struct job, sweep)},       {27, offsetof(struct job, setting)},
    {29, offsetof(struct job, urgent)},      {39, offsetof(struct job, notes)},
    {40, offsetof(struct job, spec)},        {41, offsetof(struct job, facts)},
};

static int job_fill(sqlite3_stmt *row, struct job *job, struct err *err)
{
    column_copy(row, 0, job->id, sizeof job->id);
    job->seq = sqlite3_column_int64(row, 1);
    job->state = (enum job_state)job_state_from_name((const char *)sqlite3_column_text(row, 5));
    job->priority = sqlite3_column_int(row, 6);
    job->attempt = sqlite3_column_int(row, 7);
    job->cancel_requested = sqlite3_column_int(row, 8);
    job->submitted_at = sqlite3_column_int64(row, 9);
    job->started_at = sqlite3_column_int64(row, 10);
    job->finished_at = sqlite3_column_int64(row, 11);
    job->epoch = sqlite3_column_int64(row, 12);
    job->epochs = sqlite3_column_int64(row, 13);
    job->memory_bytes = sqlite3_column_int64(row, 16);
    job->n_groups = sqlite3_column_int(row, 19);
    job->n_tokens = sqlite3_column_int(row, 20);
    job->max_attempts = sqlite3_column_int64(row, 21);
    job->loss = sqlite3_column_type(row, 22) == SQLITE_NULL ? NAN : sqlite3_column_double(row, 22);
    job->unread = sqlite3_column_int(row, 28);
    job->hold_requested = sqlite3_column_int(row, 30);
    job->max_seconds = sqlite3_column_int64(row, 31);
    job->device_ms = sqlite3_column_int64(row, 32);
    job->slices = sqlite3_column_int64(row, 33);
    job->stop_start_ms = sqlite3_column_int64(row, 34);
    job->cost_ms = sqlite3_column_int64(row, 35);
    job->threads = sqlite3_column_int(row, 36);
    job->waits_code = reason_from_name((const char *)sqlite3_column_text(row, 37));
    job->record_every = sqlite3_column_int64(row, 38);
    int columns = sqlite3_column_count(row);
    job->pinned = columns > 42 && sqlite3_column_int(row, 42);
    for (size_t i = 0; i < sizeof job_texts / sizeof *job_texts; i++)
        if (job_texts[i].column < columns &&
            column_text(row, job_texts[i].column, (char **)((char *)job + job_texts[i].offset),
                        err) < 0)
            return -1;
    return 0;
}

static struct job *job_read(sqlite3_stmt *row, struct err *err)
{
    struct job *job = calloc(1, sizeof *job);
    if (!job) {
        err_set(err, ERR_NO_MEMORY, "no memory for a job");
        return NULL;
    }
    if (job_fill(row, job, err) < 0) {
        job_free(job);
        return NULL;
    }
    return job;
}

int job_get(struct db_reader *reader, const char *id, struct job **out, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_get, VALUES(value_text(id)), &statement, err) < 0)
        return -1;
    int result = statement_step(statement, err);
    if (result == 0)
        result = job_not_found(id, err);
    struct job *job = result > 0 ? job_read(statement, err) : NULL;
    statement_close(statement);
    if (!job)
        return -1;
    *out = job;
    return 0;
}

/* Read all rows of a started statement and close it. */
static int job_collect(sqlite3_stmt *statement, struct job ***jobs, int *n, struct err *err)
{
    struct job **list = NULL;
    int count = 0, room = 0, result;
    while ((result = statement_step(statement, err)) > 0) {
        if (count == room) {
            room = room ? 2 * room : 16;
            struct job **larger = realloc(list, (size_t)room * sizeof *list);
            if (!larger) {
                result = err_set(err, ERR_NO_MEMORY, "no memory for %d jobs", room);
                break;
            }
            list = larger;
        }
        list[count] = job_read(statement, err);
        if (!list[count]) {
            result = -1;
            break;
        }
        count++;
    }
    statement_close(statement);
    if (result < 0) {
        for (int i = 0; i < count; i++)
            job_free(list[i]);
        free(list);
        return -1;
    }
    *jobs = list;
    *n = count;
    return 0;
}

int job_list(struct db_reader *reader, const struct job_filter *filter, struct job ***jobs, int *n,
             struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_list,
                         VALUES(JOB_FILTER_VALUES(filter), value_integer(filter->limit)),
                         &statement, err) < 0)
        return -1;
    return job_collect(statement, jobs, n, err);
}

int job_lanes(struct db_reader *reader, struct job_lane **lanes, int *n, struct err *err)
{
    sqlite3_stmt *statement;
    struct job_lane *list = NULL;
    int count = 0, room = 0, result;
    if (connection_start(&reader->connection, sql_lanes, NO_VALUES, &statement, err) < 0)
        return -1;
    while ((result = statement_step(statement, err)) > 0) {
        if (count == room) {
            room = room ? 2 * room : 16;
            struct job_lane *larger = realloc(list, (size_t)room * sizeof *list);
            if (!larger) {
                result = err_set(err, ERR_NO_MEMORY, "no memory for %d lanes", room);
                break;
            }
            list = larger;
        }
        column_copy(statement, 0, list[count].user, sizeof list[count].user);
        column_copy(statement, 1, list[count].device, sizeof list[count].device);
        list[count].capped = sqlite3_column_int64(statement, 2);
        column_copy(statement, 3, list[count].sweep, sizeof list[count].sweep);
        list[count].max_running = sqlite3_column_int64(statement, 4);
        count++;
    }
    statement_close(statement);
    if (result < 0) {
        free(list);
        return -1;
    }
    *lanes = list;
    *n = count;
    return 0;
}

int job_queue(struct db_reader *reader, const struct job_lane *lane, int skip, int limit,
              struct job ***jobs, int *n, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_queue,
                         VALUES(value_text(lane->user), value_text(lane->device),
                                value_integer(skip), value_integer(limit),
                                value_integer(lane->capped)),
                         &statement, err) < 0)
        return -1;
    return job_collect(statement, jobs, n, err);
}

int job_unread(struct db_reader *reader, struct job ***jobs, int *n, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_unread, NO_VALUES, &statement, err) < 0)
        return -1;
    return job_collect(statement, jobs, n, err);
}

int job_apart(struct db_reader *reader, struct job ***jobs, int *n, struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_apart, NO_VALUES, &statement, err) < 0)
        return -1;
    return job_collect(statement, jobs, n, err);
}

int job_of_sweep(struct db_reader *reader, const char *sweep, struct job ***jobs, int *n,
                 struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_sweep, VALUES(value_text(sweep)), &statement,
                         err) < 0)
        return -1;
    return job_collect(statement, jobs, n, err);
}

int job_user_counts(struct db_reader *reader, int max_users, job_user_count *row, void *self,
                    struct err *err)
{
    sqlite3_stmt *statement;
    if (connection_start(&reader->connection, sql_user_counts, VALUES(value_integer(max_users)),
                         &statement, err) < 0)
        return -1;
    int result;
    while ((result = statement_step(statement, err)) > 0)
        row(self, (const char *)sqlite3_column_text(statement, 0),
            (const char *)sqlite3_column_text(statement, 1), sqlite3_column_int64(statement, 2));
    statement_close(statement);
    return result;
}

int job_counts(struct db_reader *reader, int64_t counts[JOB_STATES], struct err *err)
{
    sqlite3_stmt *statement;
    int64_t found[JOB_STATES] = {0};
    if (connection_start(&reader->connection, sql_counts, NO_VALUES, &statement, err) < 0)
        return -1;
    int result;
    while ((result = statement_step(statement, err)) > 0)
        found[job_state_from_name((const char *)sqlite3_column_text(statement, 0))] =
            sqlite3_column_int64(statement, 1);
    statement_close(statement);
    if (result < 0)
        return -1;
    memcpy(counts, found, sizeof found);
    return 0;
}
