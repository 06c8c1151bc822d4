/* Users, their credentials, and the names and addresses of texts. */
#include "tests/unit/db_fixture.h"

#include "db/corpora.h"
#include "db/users.h"

static int body_user(struct db_writer *writer, struct call *call, struct err *err)
{
    return user_insert(writer, call->id, call->n, err);
}

static int body_change(struct db_writer *writer, struct call *call, struct err *err)
{
    return user_change(writer, call->id, (int)call->number, call->n, err);
}

static int body_credential(struct db_writer *writer, struct call *call, struct err *err)
{
    const char *label = strcmp(call->key, "session") == 0 ? "h1" : "label";
    return credential_insert(writer, call->id, call->key, call->text, label, call->number, err);
}

/* call->key: the id of the session's token. */
static int body_session(struct db_writer *writer, struct call *call, struct err *err)
{
    return credential_insert(writer, call->id, "session", call->text, call->key, 0, err);
}

static int body_revoke_token(struct db_writer *writer, struct call *call, struct err *err)
{
    return token_revoke(writer, call->id, call->text, err);
}

static int body_revoke(struct db_writer *writer, struct call *call, struct err *err)
{
    return credential_revoke(writer, call->text, err);
}

static int add_user(struct fixture *f, const char *name, int admin)
{
    struct call call = {.body = body_user, .id = name, .n = admin};
    return call_run(f, &call);
}

/* admin, disabled: -1 leaves the value. */
static int change(struct fixture *f, const char *name, int admin, int disabled)
{
    struct call call = {.body = body_change, .id = name, .number = admin, .n = disabled};
    return call_run(f, &call);
}

static int issue(struct fixture *f, const char *user, const char *kind, const char *hash,
                 int64_t expires_at)
{
    struct call call = {
        .body = body_credential, .id = user, .key = kind, .text = hash, .number = expires_at};
    return call_run(f, &call);
}

static int take_back(struct fixture *f, const char *hash)
{
    struct call call = {.body = body_revoke, .text = hash};
    return call_run(f, &call);
}

static int take_back_token(struct fixture *f, const char *user, const char *id)
{
    struct call call = {.body = body_revoke_token, .id = user, .text = id};
    return call_run(f, &call);
}

static int add_name(void *self, const struct user *user)
{
    strcat(self, user->name);
    strcat(self, user->admin ? "! " : user->disabled ? "- " : " ");
    return 0;
}

static void test_users(void **state)
{
    struct fixture *f = *state;
    char names[200] = "";
    assert_int_equal(add_user(f, "ben", 0), 0);
    assert_int_equal(add_user(f, "ada", 1), 0);
    assert_int_equal(add_user(f, "ada", 0), -1);
    assert_int_equal(f->err.code, ERR_CONFLICT);
    static const char *const bad[] = {"",
                                      "a b",
                                      "a/b",
                                      "..",
                                      "\xc3\xa9",
                                      "12345678901234567890123456789012345678901234567890"
                                      "123456789012345"};
    for (int i = 0; i < 6; i++) {
        assert_int_equal(add_user(f, bad[i], 0), -1);
        assert_int_equal(f->err.code, ERR_INVALID);
        assert_string_equal(f->err.fields[0].pointer, "/name");
        assert_non_null(strstr(f->err.fields[0].detail, bad[i]));
    }
    static const char *const reserved[] = {"local", "Local", "admin", "ADMIN"};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(add_user(f, reserved[i], 1), -1);
        assert_int_equal(f->err.code, ERR_CONFLICT);
    }
    assert_int_equal(change(f, "ben", -1, 1), 0);
    assert_int_equal(change(f, "carl", -1, 1), -1);
    assert_int_equal(f->err.code, ERR_NOT_FOUND);
    assert_int_equal(user_list(f->reader, add_name, names, &f->err), 0);
    assert_string_equal(names, "ada! ben- ");
}

/* One enabled administrator must remain, because only administrators add users. */
static void test_last_admin(void **state)
{
    struct fixture *f = *state;
    static const int takes[][2] = {{-1, 1}, {0, -1}, {0, 1}};
    struct user user;
    assert_int_equal(add_user(f, "ben", 0), 0);
    assert_int_equal(change(f, "ben", -1, 1), 0); /* there is no administrator yet */
    assert_int_equal(add_user(f, "ada", 1), 0);
    assert_int_equal(add_user(f, "eve", 1), 0);
    assert_int_equal(change(f, "eve", -1, 1), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(change(f, "ada", takes[i][0], takes[i][1]), -1);
        assert_int_equal(f->err.code, ERR_CONFLICT);
        assert_int_equal(user_get(f->reader, "ada", &user, &f->err), 0);
        assert_true(user.admin && !user.disabled);
    }
    assert_int_equal(change(f, "ben", 1, -1), 0); /* a disabled administrator does not count */
    assert_int_equal(change(f, "ada", -1, 1), -1);
    assert_int_equal(change(f, "eve", -1, 0), 0);
    assert_int_equal(change(f, "ada", 0, 1), 0);
    assert_int_equal(user_get(f->reader, "ada", &user, &f->err), 0);
    assert_true(!user.admin && user.disabled);
    assert_int_equal(user_get(f->reader, "carl", &user, &f->err), -1);
    assert_int_equal(f->err.code, ERR_NOT_FOUND);
}

static void refuse(struct fixture *f, const char *kind, const char *hash)
{
    struct user user;
    assert_int_equal(credential_user(f->reader, kind, hash, &user, &f->err), -1);
    assert_int_equal(f->err.code, ERR_UNAUTHORIZED);
}

static void test_credentials(void **state)
{
    struct fixture *f = *state;
    struct user user;
    int64_t hour = 3600LL * 1000000, past = db_now() - 1, number;
    assert_int_equal(add_user(f, "ada", 1), 0);
    assert_int_equal(add_user(f, "eve", 1), 0); /* so that ada can be disabled */
    assert_int_equal(issue(f, "ada", "token", "h1", 0), 0);
    assert_int_equal(issue(f, "ada", "session", "h2", db_now() + hour), 0);
    assert_int_equal(issue(f, "ada", "session", "h3", past), 0);
    assert_int_equal(issue(f, "ben", "token", "h4", 0), -1);
    assert_int_equal(f->err.code, ERR_NOT_FOUND);
    assert_int_equal(issue(f, "ada", "password", "h5", 0), -1);

    assert_int_equal(credential_user(f->reader, "token", "h1", &user, &f->err), 0);
    assert_string_equal(user.name, "ada");
    assert_int_equal(user.admin, 1);
    assert_int_equal(credential_user(f->reader, "session", "h2", &user, &f->err), 0);
    refuse(f, "session", "h1"); /* a token is no session */
    refuse(f, "session", "h3"); /* expired */
    refuse(f, "token", "nothing");

    assert_int_equal(change(f, "ada", -1, 1), 0);
    refuse(f, "token", "h1");
    assert_int_equal(change(f, "ada", -1, 0), 0);
    assert_int_equal(credential_user(f->reader, "token", "h1", &user, &f->err), 0);
    assert_int_equal(take_back(f, "h1"), 0);
    refuse(f, "token", "h1");
    assert_int_equal(take_back(f, "h1"), -1);
    assert_int_equal(f->err.code, ERR_NOT_FOUND);

    assert_int_equal(issue(f, "ada", "token", "h6", 0), 0); /* deletes expired credentials */
    assert_int_equal(connection_integer(&f->reader->connection, "SELECT count(*) FROM credentials",
                                        NO_VALUES, 0, &number, &f->err),
                     0);
    assert_int_equal(number, 2);
}

static int add_token(void *self, const struct token *token)
{
    sprintf((char *)self + strlen(self), "%s/%s/%s%s", token->user, token->id, token->label,
            token->created_at > 0 ? " " : "!");
    return 0;
}

static void expect_tokens(struct fixture *f, const char *user, const char *id, const char *expected)
{
    char list[200] = "";
    assert_int_equal(token_list(f->reader, user, id, add_token, list, &f->err), 0);
    assert_string_equal(list, expected);
}

static void test_tokens(void **state)
{
    struct fixture *f = *state;
    struct user user;
    static const char one[] = "1111111111111111-one", two[] = "2222222222222222-two",
                      session[] = "3333333333333333-session", more[] = "5555555555555555-more";
    struct call call = {.body = body_session, .id = "ada", .key = "1111111111111111"};
    assert_int_equal(add_user(f, "ada", 1), 0);
    assert_int_equal(add_user(f, "ben", 0), 0);
    assert_int_equal(issue(f, "ada", "token", one, 0), 0);
    assert_int_equal(issue(f, "ben", "token", two, 0), 0);
    expect_tokens(f, NULL, NULL, "ada/1111111111111111/label ben/2222222222222222/label ");
    expect_tokens(f, "ben", NULL, "ben/2222222222222222/label ");
    expect_tokens(f, NULL, "1111111111111111", "ada/1111111111111111/label ");
    expect_tokens(f, "ben", "1111111111111111", "");

    assert_int_equal(change(f, "ben", -1, 1), 0);
    assert_int_equal(issue(f, "ben", "token", "h", 0), -1);
    assert_int_equal(f->err.code, ERR_CONFLICT);

    /* Revoking a token ends the sessions that it was exchanged for, and no others. */
    call.text = session;
    assert_int_equal(call_run(f, &call), 0);
    call.text = "4444444444444444-other", call.key = "2222222222222222";
    assert_int_equal(call_run(f, &call), -1); /* a token of another user */
    assert_int_equal(f->err.code, ERR_UNAUTHORIZED);
    assert_int_equal(issue(f, "ada", "token", more, 0), 0);
    call.key = "5555555555555555";
    assert_int_equal(call_run(f, &call), 0);
    assert_int_equal(take_back_token(f, "ben", "1111111111111111"), -1);
    assert_int_equal(f->err.code, ERR_NOT_FOUND);
    assert_int_equal(take_back_token(f, "ada", "3333333333333333"), -1);
    assert_int_equal(credential_user(f->reader, "session", session, &user, &f->err), 0);
    assert_int_equal(take_back_token(f, "ada", "1111111111111111"), 0);
    refuse(f, "token", one);
    refuse(f, "session", session);
    assert_int_equal(credential_user(f->reader, "session", call.text, &user, &f->err), 0);
    expect_tokens(f, NULL, NULL, "ben/2222222222222222/label ada/5555555555555555/label ");
}

static void test_labels(void **state)
{
    (void)state;
    char label[TOKEN_LABEL_MAX + 2] = "";
    struct err err = ERR_INIT;
    memset(label, 'x', TOKEN_LABEL_MAX);
    assert_int_equal(token_check_label(label, &err), 0);
    assert_int_equal(token_check_label("", &err), 0);
    assert_int_equal(token_check_label("caf\xc3\xa9", &err), 0);
    label[TOKEN_LABEL_MAX] = 'x';
    assert_int_equal(token_check_label(label, &err), -1);
    assert_int_equal(token_check_label("a\x1b[2J", &err), -1);
    assert_int_equal(token_check_label("\x7f", &err), -1);
    assert_int_equal(err.n_fields, 3);
    assert_string_equal(err.fields[1].pointer, "/label");
}

struct upload {
    struct corpus corpus;
    enum corpus_replace replace;
    int created;
};

static int upload_operation(struct db_writer *writer, void *arg, struct err *err)
{
    struct upload *upload = arg;
    return corpus_insert(writer, &upload->corpus, upload->replace, &upload->created, err);
}

/* sha: the letter of which the address consists. */
static int upload_by(struct fixture *f, const char *user, const char *name, char sha,
                     enum corpus_replace replace, int *created)
{
    struct upload upload = {.corpus = {.bytes = sha}, .replace = replace, .created = -1};
    memset(upload.corpus.sha256, sha, 64);
    snprintf(upload.corpus.user, sizeof upload.corpus.user, "%s", user);
    snprintf(upload.corpus.name, sizeof upload.corpus.name, "%s", name);
    err_clear(&f->err);
    const int result = db_call(f->db, upload_operation, &upload, &f->err);
    *created = upload.created;
    return result;
}

/* 1 if something was created. */
static int upload(struct fixture *f, const char *name, char sha)
{
    int created;
    assert_int_equal(upload_by(f, "ada", name, sha, CORPUS_REPLACE_ANY, &created), 0);
    return created;
}

static void refuse_upload(struct fixture *f, const char *user, const char *name,
                          enum corpus_replace replace, enum err_code code)
{
    int created;
    assert_int_equal(upload_by(f, user, name, 'z', replace, &created), -1);
    assert_int_equal(f->err.code, code);
    assert_int_equal(created, -1);
}

static void expect(struct fixture *f, const char *id, const char *name, char sha)
{
    struct corpus corpus;
    assert_int_equal(corpus_get(f->reader, id, &corpus, &f->err), 0);
    assert_string_equal(corpus.name, name);
    assert_int_equal(corpus.sha256[0], sha);
    assert_int_equal(corpus.bytes, sha);
    assert_string_equal(corpus.user, "ada");
    assert_true(corpus.created_at > 0);
}

static int add_corpus(void *self, const struct corpus *corpus)
{
    sprintf((char *)self + strlen(self), "%s=%c ", corpus->name, corpus->sha256[0]);
    return 0;
}

static void test_corpora(void **state)
{
    struct fixture *f = *state;
    char address[65] = "", list[200] = "";
    struct corpus corpus;
    memset(address, 'a', 64);
    assert_int_equal(upload(f, "gulliver", 'a'), 1);
    assert_int_equal(upload(f, "gulliver", 'a'), 0);
    assert_int_equal(upload(f, "gulliver", 'b'), 1);
    expect(f, "gulliver", "gulliver", 'b'); /* the newest text of the name */
    expect(f, address, "gulliver", 'a');    /* the older one keeps its address */
    assert_int_equal(upload(f, "gulliver", 'a'), 1);
    expect(f, "gulliver", "gulliver", 'a');
    assert_int_equal(upload(f, "other", 'a'), 1);
    expect(f, address, "other", 'a');
    assert_int_equal(upload(f, address, 'c'), 1); /* a name that looks like an address */
    expect(f, address, "other", 'a');
    assert_int_equal(corpus_get(f->reader, "moby", &corpus, &f->err), -1);
    assert_int_equal(f->err.code, ERR_NOT_FOUND);
    assert_int_equal(script(f, "DELETE FROM corpora WHERE length(name) = 64"), 0);
    assert_int_equal(corpus_list(f->reader, add_corpus, list, &f->err), 0);
    assert_string_equal(list, "other=a gulliver=a gulliver=b ");
}

/* Only the newest text of a name is what replace asks about; ASCII case does not count. */
static void test_replacement(void **state)
{
    struct fixture *f = *state;
    int created;
    assert_int_equal(upload(f, "Book", 'a'), 1);
    refuse_upload(f, "ada", "book", CORPUS_REPLACE_NONE, ERR_CONFLICT);
    refuse_upload(f, "ben", "book", CORPUS_REPLACE_NONE, ERR_CONFLICT);
    refuse_upload(f, "ben", "BOOK", CORPUS_REPLACE_OWN, ERR_FORBIDDEN);
    assert_int_equal(upload_by(f, "ben", "BOOK", 'a', CORPUS_REPLACE_NONE, &created), 0);
    assert_int_equal(created, 0);
    assert_int_equal(upload_by(f, "ada", "book", 'b', CORPUS_REPLACE_OWN, &created), 0);
    assert_int_equal(created, 1);
    expect(f, "BOOK", "Book", 'b'); /* the first spelling stays */
    refuse_upload(f, "ada", "book", CORPUS_REPLACE_NONE, ERR_CONFLICT);
    assert_int_equal(upload(f, "\xc3\xa9", 'c'), 1);
    assert_int_equal(upload(f, "\xc3\x89", 'd'), 1); /* other letters have their case */
    expect(f, "\xc3\xa9", "\xc3\xa9", 'c');
}

static int body_delete(struct db_writer *writer, struct call *call, struct err *err)
{
    return corpus_delete(writer, call->id, call->key, &call->n, err);
}

/* The text's *last, -1 if it is refused. user NULL: an administrator. */
static int drop(struct fixture *f, const char *id, const char *user)
{
    struct call call = {.body = body_delete, .id = id, .key = user, .n = -2};
    return call_run(f, &call) < 0 ? -1 : call.n;
}

static void expect_texts(struct fixture *f, const char *expected)
{
    char list[400] = "";
    assert_int_equal(corpus_list(f->reader, add_corpus, list, &f->err), 0);
    assert_string_equal(list, expected);
}

/* A name that is deleted stands for nothing; the texts that it stood for before keep their
 * address and lose the name. */
static void test_deletion(void **state)
{
    struct fixture *f = *state;
    char a[65] = "", b[65] = "", list[300];
    memset(a, 'a', 64), memset(b, 'b', 64);
    assert_int_equal(upload(f, "book", 'a'), 1);
    assert_int_equal(upload(f, "book", 'b'), 1);
    assert_int_equal(upload(f, "tome", 'b'), 1);
    assert_int_equal(drop(f, "book", "ben"), -1);
    assert_int_equal(f->err.code, ERR_FORBIDDEN);
    assert_int_equal(drop(f, "BOOK", "ada"), 0); /* b still is tome */
    snprintf(list, sizeof list, "tome=b %s=a ", a);
    expect_texts(f, list);
    assert_int_equal(drop(f, "book", NULL), -1);
    assert_int_equal(f->err.code, ERR_NOT_FOUND);
    assert_int_equal(upload(f, "tome", 'a'), 1); /* the row without a name goes */
    expect_texts(f, "tome=a tome=b ");
    assert_int_equal(drop(f, b, NULL), 1); /* an older text: the name stays */
    expect_texts(f, "tome=a ");
    assert_int_equal(upload(f, "book", 'a'), 1);
    assert_int_equal(drop(f, a, "ada"), 1);
    expect_texts(f, "");
}

/* ---- jobs of a disabled user ---- */

static void insert_of(struct fixture *f, const char *id, const char *user)
{
    struct job job = job_example(id);
    job.user = (char *)(uintptr_t)user;
    assert_int_equal(insert(f, &job), 0);
}

static void expect_job(struct fixture *f, const char *id, enum job_state state, const char *waits)
{
    struct job *job = get(f, id);
    assert_int_equal(job->state, state);
    assert_string_equal(reason_name(job->waits_code), waits);
    job_free(job);
}

static void test_jobs_of_disabled(void **state)
{
    static const char reason[] = "user_disabled";
    struct fixture *f = *state;
    assert_int_equal(add_user(f, "ben", 0), 0);
    assert_int_equal(add_user(f, "eve", 0), 0);
    insert_of(f, "queued", "ben"), insert_of(f, "held", "ben"), insert_of(f, "running", "ben");
    insert_of(f, "freed", "ben"), insert_of(f, "other", "eve");
    assert_int_equal(request(f, "held", JOB_HOLD), 0);
    assert_int_equal(claim(f, "running"), 0);
    assert_int_equal(change(f, "ben", 0, -1), 0);
    expect_job(f, "queued", JOB_QUEUED, "");
    assert_int_equal(change(f, "ben", -1, 1), 0);
    expect_job(f, "queued", JOB_HELD, reason);
    expect_job(f, "held", JOB_HELD, "held");
    expect_job(f, "running", JOB_RUNNING, "");
    expect_job(f, "freed", JOB_HELD, reason);
    expect_job(f, "other", JOB_QUEUED, "");

    assert_int_equal(finish(f, "running", JOB_END_REQUEUE), 0); /* its run ended meanwhile */
    expect_job(f, "running", JOB_HELD, reason);
    insert_of(f, "late", "ben"); /* its request began before */
    expect_job(f, "late", JOB_HELD, reason);
    struct call release = {.body = body_request, .id = "freed", .request = JOB_RELEASE};
    assert_int_equal(db_call_as(f->db, "ben", call_operation, &release, &f->err), 0); /* late too */
    expect_job(f, "freed", JOB_HELD, reason);
    assert_int_equal(request(f, "freed", JOB_RELEASE), 0); /* by an administrator */
    assert_int_equal(change(f, "ben", -1, 1), 0);
    expect_job(f, "freed", JOB_QUEUED, "");
    assert_int_equal(request(f, "freed", JOB_HOLD), 0);

    assert_int_equal(change(f, "ben", 0, 0), 0);
    expect_job(f, "queued", JOB_QUEUED, "");
    expect_job(f, "running", JOB_QUEUED, "");
    expect_job(f, "late", JOB_QUEUED, "");
    expect_job(f, "held", JOB_HELD, "held");
    expect_job(f, "freed", JOB_HELD, "held");
}

/* The jobs of a text are found by an index, and no statement goes through all jobs. */
static void test_jobs_of_a_text(void **state)
{
    struct fixture *f = *state;
    sqlite3_stmt *plan;
    int searches = 0;
    assert_int_equal(sqlite3_prepare_v2(f->reader->connection.handle,
                                        "EXPLAIN QUERY PLAN SELECT j.id FROM job_texts t JOIN jobs"
                                        " j ON j.seq = t.job WHERE t.corpus_sha256 = ?1"
                                        " ORDER BY t.job",
                                        -1, &plan, NULL),
                     SQLITE_OK);
    for (; sqlite3_step(plan) == SQLITE_ROW; searches++)
        assert_int_equal(strncmp((const char *)sqlite3_column_text(plan, 3), "SEARCH ", 7), 0);
    assert_int_equal(searches, 2);
    sqlite3_finalize(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_users),          test(test_last_admin),         test(test_credentials),
        test(test_tokens),         cmocka_unit_test(test_labels), test(test_corpora),
        test(test_replacement),    test(test_deletion),           test(test_jobs_of_disabled),
        test(test_jobs_of_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
