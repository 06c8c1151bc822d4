/* The pool of slow routes behind a real HTTP server with made-up routes: light requests beside
 * heavy ones, turns of clients, bounds, clients that leave or never read, answers in pieces,
 * and the end of the server in the middle of all that. */
#include "tests/unit/db_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "config/clock.h"
#include "server/http/http.h"
#include "server/http/latency.h"
#include "server/http/large_reply.h"
#include "server/http/pool.h"
#include "server/http/route.h"
#include "server/server.h"

enum {
    SECONDS = 20, /* until a test gives up */
    MANY = 1000,  /* pieces of an answer that no socket buffer holds */
    LOG_MAX = 512
};

/* ---- routes ---- */

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int open;          /* the gate of /gate */
    int entered;       /* requests in /gate */
    char log[LOG_MAX]; /* last letter of the path of each handled request */
    int n;
} gate = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static atomic_int pieces_made;

static void gate_set(int open)
{
    pthread_mutex_lock(&gate.mutex);
    gate.open = open;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.mutex);
}

static void gate_log(const struct request *request)
{
    pthread_mutex_lock(&gate.mutex);
    assert_true(gate.n < LOG_MAX);
    gate.log[gate.n++] = request->params[0][0];
    pthread_mutex_unlock(&gate.mutex);
}

static enum request_result light(struct request *request)
{
    return request_reply_text(request, 200, "text/plain", "light");
}

/* Occupies its thread until the gate is open. */
static enum request_result through_gate(struct request *request)
{
    gate_log(request);
    pthread_mutex_lock(&gate.mutex);
    gate.entered++;
    pthread_cond_broadcast(&gate.changed);
    while (!gate.open)
        pthread_cond_wait(&gate.changed, &gate.mutex);
    pthread_mutex_unlock(&gate.mutex);
    return request_reply_text(request, 200, "text/plain", "through");
}

struct pieces {
    int left, fails;
};

static int pieces_write(void *state, struct large_reply *reply, struct err *err)
{
    struct pieces *pieces = state;
    atomic_fetch_add(&pieces_made, 1);
    if (pieces->left == 1 && pieces->fails)
        return err_set(err, ERR_CORRUPT, "the last piece is bad");
    for (int i = 0; !large_reply_is_full(reply); i++)
        fprintf(reply->out, "%d of %d\n", i, pieces->left);
    return --pieces->left > 0;
}

static enum request_result in_pieces(struct request *request)
{
    struct pieces *pieces = calloc(1, sizeof *pieces);
    assert_non_null(pieces);
    pieces->left = atoi(request->params[0]);
    pieces->fails = request_query(request, "fails") != NULL;
    return large_reply_start(request, "text/plain", pieces_write, pieces, free);
}

static const struct route routes[] = {
    {"GET", "/api/light", light, ROUTE_SLOW, NULL},
    {"GET", "/api/gate/{name}", through_gate, ROUTE_SLOW | ROUTE_HEAVY, NULL},
    {"POST", "/api/gate/{name}", through_gate, ROUTE_SLOW | ROUTE_HEAVY, NULL},
    {"GET", "/api/pieces/{n}", in_pieces, ROUTE_SLOW | ROUTE_HEAVY, "fails"},
};
static const struct route_table table = {
    .routes = routes,
    .n = sizeof routes / sizeof *routes,
    .files = {"GET", "/", light, ROUTE_OPEN, NULL},
};

/* ---- server and clients ---- */

struct bed {
    struct fixture *db;
    struct server *server;
    int port, stopped;
};

static void bed_stop(struct bed *bed)
{
    if (bed->stopped)
        return;
    bed->stopped = 1;
    atomic_store(&bed->server->stopping, 1);
    gate_set(1);
    pool_stop(bed->server->pool);
    http_stop(bed->server->http);
    assert_int_equal(atomic_load(&bed->server->suspended), 0);
    pool_free(bed->server->pool);
}

static int bed_open(void **state, int heavy_threads)
{
    struct bed *bed = calloc(1, sizeof *bed);
    struct err err = ERR_INIT;
    assert_non_null(bed);
    fixture_open((void **)&bed->db);
    struct server *server = bed->server = calloc(1, sizeof *server);
    assert_non_null(server);
    strcpy(server->settings.listen, "127.0.0.1:0");
    strcpy(server->listen_host, "127.0.0.1");
    server->settings.max_connections = 1000;
    server->settings.max_body_bytes = 1 << 20;
    server->routes = &table;
    server->db = bed->db->db;
    server->reader = bed->db->reader;
    gate.open = gate.entered = gate.n = 0;
    atomic_store(&pieces_made, 0);
    assert_int_equal(latency_open(server, &err), 0);
    assert_int_equal(pool_start(server->db, 1, heavy_threads, &server->pool, &err), 0);
    assert_int_equal(http_start(server, &err), 0);
    bed->port = atoi(strrchr(server->url, ':') + 1);
    *state = bed;
    return 0;
}

static int open_one(void **state)
{
    return bed_open(state, 1);
}

static int open_two(void **state)
{
    return bed_open(state, 2);
}

static int bed_close(void **state)
{
    struct bed *bed = *state;
    bed_stop(bed);
    latency_close(bed->server);
    free(bed->server);
    fixture_close((void **)&bed->db);
    free(bed);
    return 0;
}

/* A request from 127.0.0.<host>: the socket. */
static int ask(const struct bed *bed, int host, const char *method, const char *path)
{
    char text[300];
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr =
                                   htonl((INADDR_LOOPBACK & ~0xffu) + (unsigned)host)};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)bed->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = SECONDS};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    int n = snprintf(text, sizeof text,
                     "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 0\r\n"
                     "Connection: close\r\n\r\n",
                     method, path, bed->port);
    assert_int_equal(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
    return fd;
}

static int get_from(const struct bed *bed, int host, const char *path)
{
    return ask(bed, host, "GET", path);
}

/* Everything up to the end of the connection (malloc, *n bytes and a zero). */
static char *take_all(int fd, size_t *n)
{
    size_t room = 1 << 16;
    char *text = malloc(room);
    ssize_t got;
    *n = 0;
    while (assert_non_null(text), (got = recv(fd, text + *n, room - *n - 1, 0)) > 0) {
        *n += (size_t)got;
        if (room - *n < 1 << 15)
            text = realloc(text, room *= 2);
    }
    assert_true(got == 0 || errno == ECONNRESET); /* else no answer came in time */
    text[*n] = '\0';
    close(fd);
    return text;
}

/* Status of the answer, 0: the connection ended without one. */
static int status_of(int fd)
{
    size_t n;
    char *text = take_all(fd, &n);
    int status = n > 12 ? atoi(text + 9) : 0;
    if (status == 429 || status == 503)
        assert_non_null(strstr(text, "Retry-After:"));
    free(text);
    return status;
}

static void wait_until(int (*is_so)(const struct bed *bed, int wanted), const struct bed *bed,
                       int wanted)
{
    for (int64_t end = clock_monotonic_ms() + 1000 * SECONDS; !is_so(bed, wanted); usleep(1000))
        assert_true(clock_monotonic_ms() < end);
}

static int has_entered(const struct bed *bed, int wanted)
{
    (void)bed;
    pthread_mutex_lock(&gate.mutex);
    int so = gate.entered >= wanted;
    pthread_mutex_unlock(&gate.mutex);
    return so;
}

static int has_suspended(const struct bed *bed, int wanted)
{
    return atomic_load(&bed->server->suspended) == wanted;
}

/* ---- tests ---- */

static void test_light_beside_heavy(void **state)
{
    struct bed *bed = *state;
    int fd[8];
    for (int i = 0; i < 8; i++)
        fd[i] = get_from(bed, 1, "/api/gate/a");
    wait_until(has_entered, bed, 2);
    wait_until(has_suspended, bed, 8);
    for (int i = 0; i < 5; i++)
        assert_int_equal(status_of(get_from(bed, 1, "/api/light")), 200);
    gate_set(1);
    for (int i = 0; i < 8; i++)
        assert_int_equal(status_of(fd[i]), 200);
}

/* One thread: it has the first request of client 1, nine more of it wait, then comes client 2. */
static void test_turns(void **state)
{
    struct bed *bed = *state;
    int fd[11];
    for (int i = 0; i < 10; i++) {
        fd[i] = get_from(bed, 1, "/api/gate/a");
        wait_until(has_suspended, bed, i + 1);
    }
    wait_until(has_entered, bed, 1);
    fd[10] = get_from(bed, 2, "/api/gate/b");
    wait_until(has_suspended, bed, 11);
    gate_set(1);
    for (int i = 0; i < 11; i++)
        assert_int_equal(status_of(fd[i]), 200);
    assert_int_equal(gate.n, 11);
    assert_memory_equal(gate.log, "aabaaaaaaaa", 11);
}

static void test_client_left(void **state)
{
    struct bed *bed = *state;
    int first = get_from(bed, 1, "/api/gate/a"), gone[3];
    wait_until(has_entered, bed, 1);
    for (int i = 0; i < 3; i++)
        gone[i] = get_from(bed, 1, "/api/gate/x");
    int posted = ask(bed, 1, "POST", "/api/gate/p"); /* is carried out all the same */
    wait_until(has_suspended, bed, 5);
    int last = get_from(bed, 1, "/api/gate/z");
    wait_until(has_suspended, bed, 6);
    for (int i = 0; i < 3; i++)
        close(gone[i]);
    close(posted);
    gate_set(1);
    assert_int_equal(status_of(first), 200);
    assert_int_equal(status_of(last), 200);
    wait_until(has_suspended, bed, 0);
    assert_int_equal(gate.n, 3);
    assert_memory_equal(gate.log, "apz", 3);
}

static void test_bound(void **state)
{
    struct bed *bed = *state;
    int fd[POOL_HEAVY_PER_CLIENT];
    for (int i = 0; i < POOL_HEAVY_PER_CLIENT; i++)
        fd[i] = get_from(bed, 1, "/api/gate/a");
    wait_until(has_suspended, bed, POOL_HEAVY_PER_CLIENT);
    wait_until(has_entered, bed, 1);
    assert_int_equal(status_of(get_from(bed, 1, "/api/gate/c")), 429);
    int other = get_from(bed, 2, "/api/gate/b"); /* another client's bound is its own */
    wait_until(has_suspended, bed, POOL_HEAVY_PER_CLIENT + 1);
    for (int i = 1; i <= 10; i++)
        close(fd[i]);
    int late[10]; /* take the places of those that left */
    for (int i = 0; i < 10; i++)
        late[i] = get_from(bed, 1, "/api/gate/d");
    wait_until(has_suspended, bed, POOL_HEAVY_PER_CLIENT + 1);
    assert_int_equal(status_of(get_from(bed, 1, "/api/gate/c")), 429);
    gate_set(1);
    assert_int_equal(status_of(other), 200);
    for (int i = 0; i < 10; i++)
        assert_int_equal(status_of(late[i]), 200);
    for (int i = 0; i < POOL_HEAVY_PER_CLIENT; i++)
        if (i < 1 || i > 10)
            assert_int_equal(status_of(fd[i]), 200);
    assert_int_equal(gate.n, POOL_HEAVY_PER_CLIENT + 1);
}

/* Content of a chunked body, put in its place; *whole: the last chunk came. */
static size_t unchunk(char *body, int *whole)
{
    char *to = body, *at = body;
    *whole = 0;
    for (;;) {
        char *end;
        size_t n = strtoul(at, &end, 16);
        if (end == at || strncmp(end, "\r\n", 2) != 0)
            break;
        if (n == 0) {
            *whole = 1;
            break;
        }
        if (strlen(end + 2) < n)
            n = strlen(end + 2);
        memmove(to, end + 2, n);
        to += n;
        at = end + 2 + n + 2;
    }
    *to = '\0';
    return (size_t)(to - body);
}

static void test_pieces(void **state)
{
    struct bed *bed = *state;
    static const struct {
        const char *path;
        int pieces, chunked, whole;
    } cases[] = {
        {"/api/pieces/1", 1, 0, 1},
        {"/api/pieces/2", 2, 1, 1},
        {"/api/pieces/9", 9, 1, 1},
        {"/api/pieces/4?fails=1", 3, 1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n;
        int whole = 1, line = 0, left = atoi(cases[i].path + 12), ended = 0;
        char *text = take_all(get_from(bed, 1, cases[i].path), &n),
             *body = strstr(text, "\r\n\r\n") + 4;
        assert_int_equal(strncmp(text, "HTTP/1.1 200", 12), 0);
        assert_int_equal(strstr(text, "Transfer-Encoding: chunked") != NULL, cases[i].chunked);
        if (cases[i].chunked)
            unchunk(body, &whole);
        assert_int_equal(whole, cases[i].whole);
        for (char *at = body; *at; at = strchr(at, '\n') + 1, line++) {
            char wanted[32];
            int begins = !strncmp(at, "0 of", 4) && line;
            ended += begins;
            line = begins ? 0 : line;
            snprintf(wanted, sizeof wanted, "%d of %d\n", line, left - ended);
            assert_int_equal(strncmp(at, wanted, strlen(wanted)), 0);
        }
        assert_int_equal(ended + 1, cases[i].pieces);
        free(text);
    }
    assert_int_equal(status_of(get_from(bed, 1, "/api/pieces/1?fails=1")), 500);
}

/* Wait until the sockets of clients that do not read are full. Pieces made until then. */
static int sockets_are_full(const struct bed *bed)
{
    int made = -1;
    for (int now; (now = atomic_load(&pieces_made)) != made || !has_suspended(bed, 0);
         usleep(200000))
        made = now;
    return made;
}

/* Clients that never read keep neither a thread nor more pieces than the sockets hold. */
static void test_silent(void **state)
{
    struct bed *bed = *state;
    int fd[20];
    for (int i = 0; i < 20; i++)
        fd[i] = get_from(bed, 1, "/api/pieces/1000");
    wait_until(has_suspended, bed, 0);
    const int made = sockets_are_full(bed);
    assert_true(made >= 20 && made < 20 * MANY / 4);
    assert_int_equal(status_of(get_from(bed, 1, "/api/pieces/9")), 200);
    assert_int_equal(status_of(get_from(bed, 2, "/api/pieces/9")), 200);
    for (int i = 0; i < 20; i++)
        close(fd[i]);
}

/* The end comes while a handler is blocked, requests wait, one begun answer waits for its next
 * piece, and others are not read. */
static void test_stop(void **state)
{
    struct bed *bed = *state;
    int silent[4], waiting[4];
    char bytes[4096];
    for (int i = 0; i < 4; i++)
        silent[i] = get_from(bed, 1, "/api/pieces/1000");
    while (!atomic_load(&pieces_made))
        usleep(1000);
    sockets_are_full(bed);
    int blocked = get_from(bed, 1, "/api/gate/a");
    wait_until(has_entered, bed, 1);
    for (int i = 0; i < 4; i++)
        waiting[i] = get_from(bed, 1, "/api/gate/b");
    wait_until(has_suspended, bed, 5);
    while (!has_suspended(bed, 6))
        assert_true(recv(silent[0], bytes, sizeof bytes, 0) > 0);
    int64_t start = clock_monotonic_ms();
    bed_stop(bed);
    assert_true(clock_monotonic_ms() - start < 1000 * (HTTP_STOP_SECONDS + 2));
    assert_int_equal(status_of(blocked), 200);
    for (int i = 0; i < 4; i++) {
        const int status = status_of(waiting[i]);
        assert_true(status == 503 || status == 200); /* 200: before the pool began to stop */
        close(silent[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_light_beside_heavy, open_two, bed_close),
        cmocka_unit_test_setup_teardown(test_turns, open_one, bed_close),
        cmocka_unit_test_setup_teardown(test_client_left, open_one, bed_close),
        cmocka_unit_test_setup_teardown(test_bound, open_one, bed_close),
        cmocka_unit_test_setup_teardown(test_pieces, open_two, bed_close),
        cmocka_unit_test_setup_teardown(test_silent, open_two, bed_close),
        cmocka_unit_test_setup_teardown(test_stop, open_one, bed_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
