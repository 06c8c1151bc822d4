/* The route table and what admits a request by its head: paths and methods,
 * Allow, Host names that are ours, addresses, percent-decoded paths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/api/files.h"
#include "server/api/health.h"
#include "server/api/jobs.h"
#include "server/api/presets.h"
#include "server/api/routes.h"
#include "server/api/submit.h"
#include "server/api/users.h"
#include "server/http/guard.h"
#include "server/http/static.h"
#include "server/http/word_list.h"
#include "server/http/request.h"
#include "server/http/route.h"

/* "/a/b" cut into segments, as request_split_path does. */
static int cut(const char *target, struct request *request)
{
    struct err err = ERR_INIT;
    memset(request, 0, sizeof *request);
    request->target = strdup(target);
    assert_non_null(request->target);
    if (!request_split_path(request, &err))
        return 0;
    return (int)err.code;
}

static void drop(struct request *request)
{
    free(request->target);
    free(request->path);
}

static void test_find(void **state)
{
    static const struct {
        const char *method, *target;
        request_handler *handler; /* NULL: none */
        int known;
        const char *param;
    } cases[] = {
        {"POST", "/api/v1/jobs", api_job_create, 0, NULL},
        {"GET", "/api/v1/jobs?limit=3", api_job_list, 0, NULL},
        {"HEAD", "/api/v1/jobs", api_job_list, 0, NULL},
        {"GET", "/api/v1/jobs/abc", api_job_show, 0, "abc"},
        {"GET", "/api/v1/jobs/abc/checkpoint/config.json", api_checkpoint_config, 0, "abc"},
        {"GET", "/api/v1/presets/a%20b", api_preset, 0, "a b"},
        {"PATCH", "/api/v1/users/ada", api_user_patch, 0, "ada"},
        {"DELETE", "/api/v1/users/ada/tokens/x", api_user_token_delete, 0, "ada"},
        {"PUT", "/api/v1/jobs", NULL, ROUTE_KNOWN, NULL},
        {"GET", "/api/v1/jobs/", api_job_show, 0, ""},
        {"GET", "/api/v1/nothing", NULL, 0, NULL},
        {"GET", "/api/v2/jobs", NULL, 0, NULL},
        {"GET", "/api/v1/jobs/a/b/c", NULL, 0, NULL},
        {"GET", "/", static_file, 0, NULL},
        {"GET", "/style.css", static_file, 0, NULL},
        {"GET", "/vendor/uPlot.esm.js", static_file, 0, NULL},
        {"POST", "/style.css", NULL, ROUTE_KNOWN_FILE, NULL},
        {"GET", "/healthz", api_healthz, 0, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct request request;
        const char *params[REQUEST_PARAMS_MAX] = {NULL};
        int known = -1;
        assert_int_equal(cut(cases[i].target, &request), 0);
        const struct route *route = route_find(&api_routes, cases[i].method, request.segments,
                                               request.n_segments, params, &known);
        if (cases[i].handler) {
            assert_non_null(route);
            assert_ptr_equal(route->handler, cases[i].handler);
        } else {
            assert_null(route);
            assert_int_equal(known, cases[i].known);
        }
        if (cases[i].param)
            assert_string_equal(params[0], cases[i].param);
        drop(&request);
    }
}

static void test_allow(void **state)
{
    static const char *const cases[][2] = {
        {"/api/v1/jobs", "POST, GET, HEAD"},
        {"/api/v1/jobs/x", "GET, HEAD, PATCH, DELETE"},
        {"/api/v1/jobs/x/cancel", "POST"},
        {"/style.css", "GET, HEAD"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct request request;
        char allow[64];
        assert_int_equal(cut(cases[i][0], &request), 0);
        route_allow(&api_routes, request.segments, request.n_segments, allow, sizeof allow);
        assert_string_equal(allow, cases[i][1]);
        drop(&request);
    }
}

/* No route twice; what changes something is never open but the logins; users are
 * for administrators alone, but for everybody's own tokens and addresses. */
static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < api_routes.n; i++) {
        for (size_t j = 0; j < i; j++)
            assert_false(strcmp(api_routes.routes[i].path, api_routes.routes[j].path) == 0 &&
                         strcmp(api_routes.routes[i].method, api_routes.routes[j].method) == 0);
        if (strcmp(api_routes.routes[i].method, "GET") != 0 &&
            strcmp(api_routes.routes[i].path, "/api/v1/session") != 0 &&
            strcmp(api_routes.routes[i].path, "/api/v1/login") != 0)
            assert_int_equal(api_routes.routes[i].flags & ROUTE_OPEN, 0);
        if (strncmp(api_routes.routes[i].path, "/api/v1/users", 13) == 0 &&
            !strstr(api_routes.routes[i].path, "/tokens") &&
            !strstr(api_routes.routes[i].path, "/notify"))
            assert_int_equal(api_routes.routes[i].flags & (ROUTE_ADMIN | ROUTE_OPEN), ROUTE_ADMIN);
        if (strcmp(api_routes.routes[i].method, "GET") == 0)
            assert_int_equal(api_routes.routes[i].flags & (ROUTE_BODY_JSON | ROUTE_BODY_FILE), 0);
    }
}

static void test_paths(void **state)
{
    static const struct {
        const char *target;
        int code;
    } cases[] = {
        {"/a%zz", ERR_MALFORMED},
        {"/a%0", ERR_MALFORMED},
        {"/a%00b", ERR_MALFORMED},
        {"/%ff", ERR_MALFORMED},
        {"/%c0%80", ERR_MALFORMED},
        {"*", ERR_MALFORMED},
        {"http://x/", ERR_MALFORMED},
        {"/1/2/3/4/5/6/7/8/9/10/11/12/13", ERR_NOT_FOUND},
        {"/%e2%82%ac", 0},
        {"/", 0},
    };
    struct request request;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(cut(cases[i].target, &request), cases[i].code);
        drop(&request);
    }
    /* An escaped slash stays inside its segment and opens no folder. */
    assert_int_equal(cut("/..%2fetc", &request), 0);
    assert_int_equal(request.n_segments, 1);
    assert_string_equal(request.segments[0], "../etc");
    drop(&request);
}

static void test_lists(void **state)
{
    (void)state;
    assert_true(word_list_has("a,b,c", "b"));
    assert_true(word_list_has(" one , two", "two"));
    assert_true(word_list_has(" one , two", "one"));
    assert_false(word_list_has("ab,c", "a"));
    assert_false(word_list_has("", "a"));
    assert_false(word_list_has("a,,b", ""));
}

static void test_addresses(void **state)
{
    static const struct {
        const char *address, *host, *port;
    } cases[] = {
        {"127.0.0.1:8080", "127.0.0.1", "8080"},
        {"[::1]:0", "::1", "0"},
        {"localhost:1", "localhost", "1"},
        {"127.0.0.1:65535", "127.0.0.1", "65535"},
        {"127.0.0.1:65536", NULL, NULL},
        {"::1:80", NULL, NULL},
        {"127.0.0.1", NULL, NULL},
        {"127.0.0.1:", NULL, NULL},
        {":80", NULL, NULL},
        {"a:8o", NULL, NULL},
        {"[::1:80", NULL, NULL},
        {"[]:80", NULL, NULL},
    };
    char host[64], port[16];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int result = guard_split_address(cases[i].address, host, sizeof host, port, sizeof port);
        assert_int_equal(result, cases[i].host ? 0 : -1);
        if (cases[i].host) {
            assert_string_equal(host, cases[i].host);
            assert_string_equal(port, cases[i].port);
        }
    }
}

static void test_hosts(void **state)
{
    static const struct {
        const char *host;
        int loopback, any; /* is it ours when listening on 127.0.0.1, on 0.0.0.0 */
    } cases[] = {
        {"localhost", 1, 1},
        {"LOCALHOST:8080", 1, 1},
        {"127.0.0.1:80", 1, 1},
        {"127.1.2.3", 1, 1},
        {"[::1]:8080", 1, 1},
        {"[::1]", 1, 1},
        {"lab.example:8080", 1, 1},
        {"evil.example", 0, 0},
        {"localhost.evil.example", 0, 0},
        {"127.0.0.1.evil.example", 0, 0},
        {"10.0.0.7:8080", 0, 1},
        {"[fe80::1]:80", 0, 1},
        {"", 0, 0},
        {"localhost:80x", 0, 0},
        {"::1", 0, 0},
    };
    struct server server = {.listen_host = "127.0.0.1"};
    (void)state;
    strcpy(server.settings.allowed_hosts, "other.example, lab.example");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        strcpy(server.listen_host, "127.0.0.1");
        server.listen_any = 0;
        assert_int_equal(guard_host_is_ours(&server, cases[i].host), cases[i].loopback);
        strcpy(server.listen_host, "0.0.0.0");
        server.listen_any = 1;
        assert_int_equal(guard_host_is_ours(&server, cases[i].host), cases[i].any);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),  cmocka_unit_test(test_allow),
        cmocka_unit_test(test_table), cmocka_unit_test(test_paths),
        cmocka_unit_test(test_lists), cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
