/* Event positions, and events as text: a long `epoch` event comes in parts whose
 * ranges follow each other without gap or repeat. */
#include "tests/unit/db_fixture.h"

#include <jansson.h>
#include <math.h>

#include "config/record.h"
#include "server/events/event_text.h"
#include "server/events/stream.h"

enum { EPOCHS = 3 * EVENT_TEXT_RECORDS - 7 };

static void test_positions(void **state)
{
    static const struct {
        const char *text;
        int good;
        int64_t id, epoch;
    } cases[] = {
        {"0", 1, 0, 0},     {"123", 1, 123, 0}, {"123.0000456", 1, 124, 456},
        {"", 0, 0, 0},      {"-1", 0, 0, 0},    {"1.", 0, 0, 0},
        {"1.2.3", 0, 0, 0}, {" 1", 0, 0, 0},    {"+1", 0, 0, 0},
        {"1x", 0, 0, 0},    {".5", 0, 0, 0},    {"99999999999999999999", 0, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stream_position position = {-1, -1};
        struct err err = ERR_INIT;
        int result = stream_position_parse(cases[i].text, "after", &position, &err);
        assert_int_equal(result, cases[i].good ? 0 : -1);
        if (!cases[i].good) {
            assert_int_equal(err.code, ERR_INVALID);
            continue;
        }
        assert_int_equal(position.id, cases[i].id);
        assert_int_equal(position.epoch, cases[i].epoch);
    }
}

static int append_all(struct db_writer *writer, struct call *call, struct err *err)
{
    return epochs_append(writer, call->id, 0, EPOCHS, call->values, call->n_values, call->tokens,
                         call->n_tokens, err);
}

static int keep_epoch_event(void *self, const struct event *event)
{
    if (strcmp(event->type, "epoch") == 0) {
        *(struct event *)self = *event;
        ((struct event *)self)->data = NULL;
    }
    return 0;
}

/* A running job with EPOCHS records in one event. */
static void make_event(struct fixture *f, struct event *event)
{
    int n = record_size(2);
    double *values = calloc((size_t)(EPOCHS * n), sizeof *values);
    float *tokens = calloc((size_t)EPOCHS * 3, sizeof *tokens);
    assert_non_null(values);
    assert_non_null(tokens);
    for (int epoch = 0; epoch < EPOCHS; epoch++)
        values[epoch * n + RECORD_LOSS] = 10.0 - 0.01 * epoch;
    struct job job = job_example("job");
    job.epochs = EPOCHS;
    assert_int_equal(insert(f, &job), 0);
    assert_int_equal(claim(f, "job"), 0);
    struct call call = {.body = append_all,
                        .id = "job",
                        .values = values,
                        .n_values = n,
                        .tokens = tokens,
                        .n_tokens = 3};
    assert_int_equal(call_run(f, &call), 0);
    assert_int_equal(events_read(f->reader, 0, NULL, 100, keep_epoch_event, event, &f->err), 0);
    assert_int_equal(event->from, 0);
    assert_int_equal(event->to, EPOCHS - 1);
    free(values);
    free(tokens);
}

static void test_parts(void **state)
{
    struct fixture *f = *state;
    struct event event = {0};
    int64_t next = 0, expected = 0;
    int parts = 0;
    make_event(f, &event);
    struct event_texts *cache = event_texts_new(f->reader);
    assert_non_null(cache);
    do {
        const char *text, *again;
        size_t n, n_again;
        int64_t first = next, next_again;
        err_clear(&f->err);
        assert_int_equal(event_texts_get(cache, &event, first, &text, &n, &next, &f->err), 0);
        assert_int_equal(
            event_texts_get(cache, &event, first, &again, &n_again, &next_again, &f->err), 0);
        assert_ptr_equal(text, again); /* made once */
        const char *data = strstr(text, "data: ");
        assert_non_null(data);
        assert_memory_equal(text, "event: epoch\n", 13);
        json_t *message = json_loads(data + 6, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(message);
        json_t *records = json_object_get(message, "records");
        assert_int_equal(json_integer_value(json_object_get(message, "from")), expected);
        assert_true(json_array_size(records) <= EVENT_TEXT_RECORDS);
        for (size_t i = 0; i < json_array_size(records); i++, expected++)
            assert_int_equal(
                json_integer_value(json_object_get(json_array_get(records, i), "epoch")), expected);
        assert_int_equal(json_integer_value(json_object_get(message, "to")), expected - 1);
        assert_int_equal(next, expected == EPOCHS ? 0 : expected);
        json_decref(message);
        parts++;
    } while (next);
    assert_int_equal(expected, EPOCHS);
    assert_int_equal(parts, 3);
    event_texts_free(cache);
}

/* The job was deleted after the event was read: nothing to tell, no error. */
static void test_gone(void **state)
{
    struct fixture *f = *state;
    struct event event = {.id = 5, .type = "epoch", .job = "nobody", .from = 0, .to = 3};
    const char *text;
    size_t n = 1;
    int64_t next = 1;
    struct event_texts *cache = event_texts_new(f->reader);
    assert_non_null(cache);
    err_clear(&f->err);
    assert_int_equal(event_texts_get(cache, &event, 0, &text, &n, &next, &f->err), 0);
    assert_int_equal(n, 0);
    assert_int_equal(next, 0);
    event_texts_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_positions),
        cmocka_unit_test_setup_teardown(test_parts, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(test_gone, fixture_open, fixture_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
