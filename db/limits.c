/* limits: see limits.h. `limit_table` has the setting of each limit and the query of what a user
 * has. Every query reads an index or a sum that is kept with the writes (db/schema), so a
 * handler may ask. */
#include "db/limits.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "db/connection.h"
#include "db/history.h"

enum {
    LIMITS_WEEK_HOURS = 7 * 24,
    LIMITS_WORDS_MAX = 256 /* bytes of an entry's detail: all names with a number each */
};

#define LIMITS_HOUR_US 3600000000LL

/* The index jobs_queue begins with state, unread and user. */
#define JOBS_IN(states)                                                                            \
    "SELECT count(*) FROM jobs WHERE state IN (" states ") AND unread IN (0, 1) AND user = ?1"
/* A text with several names counts once. */
static const struct {
    const char *name;
    size_t setting;
    const char *sql; /* NULL: a limit of each job */
} limit_table[LIMITS] = {
    [LIMIT_QUEUED] = {"queued", offsetof(struct settings, user_queued),
                      JOBS_IN("'queued', 'held'")},
    [LIMIT_RUNNING] = {"running", offsetof(struct settings, user_running), JOBS_IN("'running'")},
    [LIMIT_STORED_BYTES] = {"stored_bytes", offsetof(struct settings, user_stored_bytes),
                            "SELECT coalesce((SELECT bytes FROM user_bytes WHERE user = ?1), 0)"
                            " + (SELECT coalesce(sum(bytes), 0)"
                            " FROM (SELECT DISTINCT sha256, bytes FROM corpora WHERE user = ?1))"},
    [LIMIT_DEVICE_HOURS] = {"device_hours", offsetof(struct settings, user_device_hours),
                            "SELECT coalesce(sum(ms), 0) / 3600000.0 FROM device_use"
                            " WHERE user = ?1 AND hour > ?2"},
    [LIMIT_LARGEST_BYTES] = {"largest_bytes", offsetof(struct settings, user_largest_bytes), NULL},
};

static const char sql_own[] = "SELECT name, value FROM user_limits WHERE user = ?1";
static const char sql_user[] = "SELECT count(*) FROM users WHERE name = ?1";
static const char sql_set[] =
    "INSERT INTO user_limits (user, name, value) VALUES (?1, ?2, ?3)"
    " ON CONFLICT (user, name) DO UPDATE SET value = ?3 WHERE value <> ?3";
static const char sql_drop[] = "DELETE FROM user_limits WHERE user = ?1 AND name = ?2";
static const char sql_charge[] = "INSERT INTO device_use (user, hour, ms) VALUES (?1, ?2, ?3)"
                                 " ON CONFLICT (user, hour) DO UPDATE SET ms = ms + ?3";
static const char sql_forget[] = "DELETE FROM device_use WHERE user = ?1 AND hour <= ?2";

const char *limit_name(enum limit limit)
{
    return limit_table[limit].name;
}

int limit_from_name(const char *name)
{
    for (int i = 0; i < LIMITS; i++)
        if (strcmp(limit_table[i].name, name) == 0)
            return i;
    return -1;
}

static int64_t limits_hour(void)
{
    return db_now() / LIMITS_HOUR_US;
}

/* ---- reading ---- */

static int limits_own(struct connection *connection, struct limits *limits, struct err *err)
{
    sqlite3_stmt *statement;
    int more;
    if (connection_start(connection, sql_own, VALUES(value_text(limits->user)), &statement, err) <
        0)
        return -1;
    while ((more = statement_step(statement, err)) > 0) {
        const int limit = limit_from_name((const char *)sqlite3_column_text(statement, 0));
        if (limit < 0) /* of a later program */
            continue;
        limits->value[limit] = sqlite3_column_int64(statement, 1);
        limits->is_own[limit] = 1;
    }
    statement_close(statement);
    return more;
}

/* What the user has of the limits of the set `wanted`. */
static int limits_present(struct connection *connection, struct limits *limits, unsigned wanted,
                          struct err *err)
{
    const int64_t since = limits_hour() - LIMITS_WEEK_HOURS;
    for (int i = 0; i < LIMITS; i++) {
        sqlite3_stmt *statement;
        if (!limit_table[i].sql || !(wanted >> i & 1))
            continue;
        if (connection_start(connection, limit_table[i].sql,
                             VALUES(value_text(limits->user), value_integer(since)), &statement,
                             err) < 0)
            return -1;
        const int found = statement_step(statement, err);
        if (found > 0)
            limits->present[i] = sqlite3_column_double(statement, 0);
        statement_close(statement);
        if (found < 0)
            return -1;
    }
    return 0;
}

static int limits_values(struct connection *connection, const struct settings *settings,
                         const char *user, struct limits *limits, struct err *err)
{
    *limits = (struct limits){0};
    snprintf(limits->user, sizeof limits->user, "%s", user);
    for (int i = 0; i < LIMITS; i++)
        limits->value[i] = *(const int64_t *)((const char *)settings + limit_table[i].setting);
    return limits_own(connection, limits, err);
}

static int limits_of(struct connection *connection, const struct settings *settings,
                     const char *user, struct limits *out, struct err *err)
{
    struct limits limits;
    if (limits_values(connection, settings, user, &limits, err) < 0 ||
        limits_present(connection, &limits, ~0U, err) < 0)
        return -1;
    *out = limits;
    return 0;
}

int limits_to_run(struct db_reader *reader, const struct settings *settings, const char *user,
                  struct limits *out, struct err *err)
{
    struct limits limits;
    if (limits_values(&reader->connection, settings, user, &limits, err) < 0)
        return -1;
    const unsigned wanted = (limits.value[LIMIT_STORED_BYTES] ? 1U << LIMIT_STORED_BYTES : 0) |
                            (limits.value[LIMIT_DEVICE_HOURS] ? 1U << LIMIT_DEVICE_HOURS : 0);
    if (limits_present(&reader->connection, &limits, wanted, err) < 0)
        return -1;
    *out = limits;
    return 0;
}

int limits_get(struct db_reader *reader, const struct settings *settings, const char *user,
               struct limits *out, struct err *err)
{
    return limits_of(&reader->connection, settings, user, out, err);
}

int limits_read(struct db_writer *writer, const struct settings *settings, const char *user,
                struct limits *out, struct err *err)
{
    return limits_of(&writer->connection, settings, user, out, err);
}

/* ---- decisions ---- */

/* Numbers of the limit `which`, for an error. */
static struct err_limit limits_numbers(const struct limits *limits, enum limit which, double asked,
                                       int fits)
{
    struct err_limit numbers = {.value = (double)limits->value[which],
                                .present = limit_table[which].sql ? limits->present[which] : NAN,
                                .asked = asked,
                                .fits = fits};
    snprintf(numbers.name, sizeof numbers.name, "%s", limit_table[which].name);
    snprintf(numbers.change, sizeof numbers.change,
             limits->is_own[which] ? "an administrator: PATCH /users/%s"
                                   : "an administrator: PATCH /users/%s, or the setting user_%s",
             limits->user, limit_table[which].name);
    return numbers;
}

static int limits_refuse(const struct limits *limits, enum limit which, double asked, int fits,
                         int n, struct err *err)
{
    const struct err_limit numbers = limits_numbers(limits, which, asked, fits);
    char present[40] = "", jobs[64] = "";
    if (limit_table[which].sql)
        snprintf(present, sizeof present, "present: %.15g, ", numbers.present);
    if (n > 1)
        snprintf(jobs, sizeof jobs, "; %d of the %d jobs would fit", fits, n);
    return err_set_limit(err, which == LIMIT_QUEUED ? ERR_TOO_MANY : ERR_CONFLICT, &numbers,
                         "the limit %s of %s is %lld; %sasked for: %.15g%s. Who can change it: %s",
                         numbers.name, limits->user, (long long)limits->value[which], present,
                         asked, jobs, numbers.change);
}

int limits_admit_queued(const struct limits *limits, int n, struct err *err)
{
    const double room = (double)limits->value[LIMIT_QUEUED] - limits->present[LIMIT_QUEUED];
    if (!limits->value[LIMIT_QUEUED] || n <= room)
        return 0;
    return limits_refuse(limits, LIMIT_QUEUED, n, room > 0 ? (int)room : 0, n, err);
}

/* Jobs count as they come: those before the first that does not fit are those that would. */
static int limits_admit_stored(const struct limits *limits, const struct limits_ask *asks, int n,
                               struct err *err)
{
    double sum = 0;
    int fits = 0;
    for (int i = 0; i < n; i++) {
        sum += (double)asks[i].stored_bytes;
        fits +=
            limits->present[LIMIT_STORED_BYTES] + sum <= (double)limits->value[LIMIT_STORED_BYTES];
    }
    if (!limits->value[LIMIT_STORED_BYTES] || fits == n)
        return 0;
    return limits_refuse(limits, LIMIT_STORED_BYTES, sum, fits, n, err);
}

static int limits_admit_largest(const struct limits *limits, const struct limits_ask *asks, int n,
                                struct err *err)
{
    int64_t largest = 0;
    int fits = 0;
    for (int i = 0; i < n; i++) {
        fits += asks[i].memory_bytes <= limits->value[LIMIT_LARGEST_BYTES];
        largest = asks[i].memory_bytes > largest ? asks[i].memory_bytes : largest;
    }
    if (!limits->value[LIMIT_LARGEST_BYTES] || fits == n)
        return 0;
    return limits_refuse(limits, LIMIT_LARGEST_BYTES, (double)largest, fits, n, err);
}

int limits_admit(const struct limits *limits, const struct limits_ask *asks, int n, struct err *err)
{
    return limits_admit_largest(limits, asks, n, err) < 0 ||
                   limits_admit_stored(limits, asks, n, err) < 0 ||
                   limits_admit_queued(limits, n, err) < 0
               ? -1
               : 0;
}

int limits_admit_bytes(const struct limits *limits, int64_t bytes, struct err *err)
{
    const struct limits_ask ask = {.stored_bytes = bytes};
    return limits_admit_stored(limits, &ask, 1, err);
}

int limits_is_out_of_hours(const struct limits *limits)
{
    return limits->value[LIMIT_DEVICE_HOURS] &&
           limits->present[LIMIT_DEVICE_HOURS] >= (double)limits->value[LIMIT_DEVICE_HOURS];
}

int limits_may_run(const struct limits *limits, int running, int64_t memory_bytes, char *why,
                   size_t size, int *is_its_own)
{
    const int64_t *value = limits->value;
    const char *user = limits->user;
    *is_its_own = 0;
    if (value[LIMIT_RUNNING] && running >= value[LIMIT_RUNNING])
        snprintf(why, size, "jobs of %s that run: %d, the limit of the user (running) is %lld",
                 user, running, (long long)value[LIMIT_RUNNING]);
    else if (limits_is_out_of_hours(limits))
        snprintf(why, size,
                 "%s had devices for %.1f hours in seven days, the limit of the user "
                 "(device_hours) is %lld",
                 user, limits->present[LIMIT_DEVICE_HOURS], (long long)value[LIMIT_DEVICE_HOURS]);
    else if (value[LIMIT_STORED_BYTES] &&
             limits->present[LIMIT_STORED_BYTES] >= (double)value[LIMIT_STORED_BYTES])
        snprintf(why, size, "%s stores %.0f bytes, the limit of the user (stored_bytes) is %lld",
                 user, limits->present[LIMIT_STORED_BYTES], (long long)value[LIMIT_STORED_BYTES]);
    else if (value[LIMIT_LARGEST_BYTES] && memory_bytes > value[LIMIT_LARGEST_BYTES]) {
        *is_its_own = 1;
        snprintf(why, size,
                 "it needs %lld bytes of memory, the limit of its user (largest_bytes) is %lld",
                 (long long)memory_bytes, (long long)value[LIMIT_LARGEST_BYTES]);
    } else
        return 1;
    return 0;
}

/* ---- writing ---- */

static int limits_tell(struct db_writer *writer, const char *user, const char *detail,
                       struct err *err)
{
    const struct history entry = {
        .kind = "user", .object = user, .action = "limits", .detail = detail};
    return history_add(writer, &entry, err);
}

int limits_set(struct db_writer *writer, const char *user, const int64_t values[LIMITS],
               struct err *err)
{
    char words[LIMITS_WORDS_MAX] = "";
    int64_t known;
    if (connection_integer(&writer->connection, sql_user, VALUES(value_text(user)), 0, &known,
                           err) < 0)
        return -1;
    if (!known)
        return err_set(err, ERR_NOT_FOUND, "there is no user \"%.64s\"", user);
    for (int i = 0; i < LIMITS; i++) {
        const size_t used = strlen(words);
        if (values[i] == LIMIT_KEEP)
            continue;
        if (connection_run(
                &writer->connection, values[i] < 0 ? sql_drop : sql_set,
                VALUES(value_text(user), value_text(limit_table[i].name), value_integer(values[i])),
                err) < 0)
            return -1;
        if (connection_changes(&writer->connection) == 0)
            continue;
        if (values[i] < 0)
            snprintf(words + used, sizeof words - used, "%s%s as the site's", used ? "; " : "",
                     limit_table[i].name);
        else
            snprintf(words + used, sizeof words - used, "%s%s %lld", used ? "; " : "",
                     limit_table[i].name, (long long)values[i]);
    }
    return words[0] ? limits_tell(writer, user, words, err) : 0;
}

int limits_charge(struct db_writer *writer, const char *user, int64_t ms, struct err *err)
{
    const int64_t hour = limits_hour();
    if (connection_run(&writer->connection, sql_charge,
                       VALUES(value_text(user), value_integer(hour), value_integer(ms)), err) < 0)
        return -1;
    return connection_run(&writer->connection, sql_forget,
                          VALUES(value_text(user), value_integer(hour - LIMITS_WEEK_HOURS)), err);
}
