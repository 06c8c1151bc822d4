/* deliver: see deliver.h. The thread looks for messages that are due twice a second: one read of an
 * index, which is less than a wake from every change of a job would cost. */
#include "server/notify/deliver.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "config/hash.h"
#include "config/log.h"
#include "db/notify.h"
#include "server/notify/message.h"
#include "server/notify/reach.h"
#include "server/redact.h"

enum {
    DELIVER_LOOK_MS = 500,
    DELIVER_CONNECT_MS = 5000,
    DELIVER_SEND_MS = 10000,       /* all of it, with the answer */
    DELIVER_ANSWER_MAX = 64 << 10, /* bytes of an answer that are read; nobody looks at them */
    DELIVER_FIRST_S = 5,           /* after the first failure; then four times as long */
    DELIVER_LONGEST_S = 3600,
    DELIVER_TRIES_OF_LONGEST = 5, /* 5 s, 20 s, 80 s, 320 s, 1280 s */
    DELIVER_GIVE_UP_S = 86400
};

struct deliver {
    const struct settings *settings;
    struct db *db;
    struct db_reader *reader; /* of the thread */
    CURL *curl;               /* of the thread; keeps connections open */
    int stop_fd;              /* eventfd: readable once the thread is to end */
    pthread_t thread;
};

/* A copy of the message that is under way. */
struct parcel {
    struct deliver *deliver;
    int64_t seq, created_at, tries, due;
    char id[NOTIFY_ID_MAX], user[DB_ACTOR_MAX], url[NOTIFY_URL_MAX], secret[NOTIFY_SECRET_MAX];
    enum notify_format format;
    char *json;     /* as stored (malloc) */
    int is_refused; /* the address is private */
    size_t answer;  /* bytes read */
    char error[NOTIFY_ERROR_MAX];
};

static int deliver_ends(const struct deliver *deliver, int ms)
{
    struct pollfd fd = {.fd = deliver->stop_fd, .events = POLLIN};
    return poll(&fd, 1, ms) > 0;
}

/* ---- one request ---- */

static curl_socket_t open_socket(void *self, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct parcel *parcel = self;
    (void)purpose;
    parcel->is_refused =
        !reach_is_allowed(&address->addr, parcel->deliver->settings->notify_private);
    return parcel->is_refused
               ? CURL_SOCKET_BAD
               : socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* The answer is not kept. A long one ends the request; its status is known by then. */
static size_t drop_answer(char *bytes, size_t size, size_t n, void *self)
{
    struct parcel *parcel = self;
    (void)bytes;
    parcel->answer += size * n;
    return parcel->answer > DELIVER_ANSWER_MAX ? 0 : size * n;
}

static int look_for_end(void *self, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct parcel *parcel = self;
    (void)a, (void)b, (void)c, (void)d;
    return deliver_ends(parcel->deliver, 0);
}

/* Append "name: value"; the list stays as it is without memory. */
static struct curl_slist *add_head(struct curl_slist *heads, const char *name, const char *value)
{
    char line[300];
    snprintf(line, sizeof line, "%s: %s", name, value);
    struct curl_slist *longer = curl_slist_append(heads, line);
    return longer ? longer : heads;
}

static struct curl_slist *parcel_heads(const struct parcel *parcel,
                                       const struct notify_message *message)
{
    char stamp[32], signature[HASH_HEX + 8] = "sha256=";
    struct curl_slist *heads = add_head(NULL, "Content-Type", message->type);
    heads = add_head(heads, "Tokenfate-Id", parcel->id);
    heads = add_head(heads, "Expect", "");
    if (message->title)
        heads = add_head(heads, "Title", message->title);
    if (!parcel->secret[0])
        return heads;
    snprintf(stamp, sizeof stamp, "%lld.", (long long)time(NULL));
    hash_hmac_sha256(parcel->secret, stamp, message->body, signature + strlen(signature));
    stamp[strlen(stamp) - 1] = '\0';
    heads = add_head(heads, "Tokenfate-Timestamp", stamp);
    return add_head(heads, "Tokenfate-Signature", signature);
}

static void parcel_options(struct parcel *parcel, CURL *curl, const struct notify_message *message,
                           const struct curl_slist *heads)
{
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, parcel->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "tokenfate");
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, message->body);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, heads);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)DELIVER_CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)DELIVER_SEND_MS);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, parcel);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop_answer);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, parcel);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_for_end);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, parcel);
}

/* 1: it was answered with 2xx; 0: parcel->error says why not. */
static int parcel_post(struct parcel *parcel, const struct notify_message *message)
{
    CURL *curl = parcel->deliver->curl;
    long status = 0;
    struct curl_slist *heads = parcel_heads(parcel, message);
    parcel_options(parcel, curl, message, heads);
    const CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(heads);
    const int is_answered = code == CURLE_OK || (code == CURLE_WRITE_ERROR && status);
    if (is_answered && status >= 200 && status < 300)
        return 1;
    if (is_answered)
        snprintf(parcel->error, sizeof parcel->error, "it was answered with %ld", status);
    else if (parcel->is_refused)
        snprintf(parcel->error, sizeof parcel->error,
                 "its address is private: the setting notify_private does not allow it");
    else
        snprintf(parcel->error, sizeof parcel->error, "%s", curl_easy_strerror(code));
    return 0;
}

static int parcel_send(struct parcel *parcel)
{
    struct notify_message message = {0};
    struct err err = ERR_INIT;
    if (notify_message_write(parcel->format, parcel->json, &message, &err) < 0) {
        snprintf(parcel->error, sizeof parcel->error, "%.190s", err.message);
        return 0;
    }
    const int is_sent = parcel_post(parcel, &message);
    free(message.body);
    return is_sent;
}

/* ---- the thread ---- */

static int parcel_take(void *self, const struct notification *message)
{
    struct parcel *parcel = self;
    parcel->seq = message->seq;
    parcel->created_at = message->created_at;
    parcel->tries = message->tries;
    parcel->format = message->format;
    snprintf(parcel->id, sizeof parcel->id, "%s", message->id);
    snprintf(parcel->user, sizeof parcel->user, "%s", message->user);
    snprintf(parcel->url, sizeof parcel->url, "%s", message->url);
    parcel->json = strdup(message->body);
    return 1;
}

static int write_done(struct db_writer *writer, void *arg, struct err *err)
{
    const struct parcel *parcel = arg;
    return notification_done(writer, parcel->seq, err);
}

static int write_failed(struct db_writer *writer, void *arg, struct err *err)
{
    const struct parcel *parcel = arg;
    return notification_failed(writer, parcel->seq, parcel->due, parcel->error, err);
}

static int64_t pause_seconds(int64_t tries)
{
    return tries >= DELIVER_TRIES_OF_LONGEST ? DELIVER_LONGEST_S : DELIVER_FIRST_S << 2 * tries;
}

/* Store how the try ended. */
static int parcel_settle(struct parcel *parcel, int is_sent, struct err *err)
{
    char shown[128];
    const int64_t now = db_now();
    const int is_late = now - parcel->created_at > DELIVER_GIVE_UP_S * 1000000LL;
    redact_url(parcel->url, shown, sizeof shown);
    if (!is_sent)
        log_line(LOG_WARNING, "notification %s to %s: %s%s", parcel->id, shown, parcel->error,
                 is_late ? "; it is given up" : "");
    parcel->due = now + pause_seconds(parcel->tries) * 1000000LL;
    return db_call(parcel->deliver->db, is_sent || is_late ? write_done : write_failed, parcel,
                   err);
}

/* Send what is due first. 1: there was something, 0: nothing; -1: *err. */
static int deliver_next(struct deliver *deliver, struct err *err)
{
    struct parcel parcel = {.deliver = deliver};
    const int found = notification_due(deliver->reader, db_now(), parcel_take, &parcel, err);
    if (found <= 0)
        return found;
    int failed = !parcel.json ? err_set(err, ERR_NO_MEMORY, "no memory for a message")
                              : notify_secret(deliver->reader, parcel.user, parcel.secret, err);
    const int is_sent = !failed && parcel_send(&parcel);
    if (!failed && !is_sent && deliver_ends(deliver, 0)) {
        free(parcel.json);
        return 0; /* broken off: it was no try */
    }
    if (!failed)
        failed = parcel_settle(&parcel, is_sent, err);
    free(parcel.json);
    return failed ? -1 : 1;
}

static void *deliver_thread(void *arg)
{
    struct deliver *deliver = arg;
    int found = 0;
    while (!deliver_ends(deliver, found > 0 ? 0 : DELIVER_LOOK_MS)) {
        struct err err = ERR_INIT;
        found = deliver_next(deliver, &err);
        if (found < 0)
            log_line(LOG_WARNING, "notifications: %s", err.message);
    }
    return NULL;
}

/* ---- start and stop ---- */

static int deliver_open(struct deliver *deliver, struct err *err)
{
    deliver->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (deliver->stop_fd < 0)
        return err_set_errno(err, ERR_UNAVAILABLE, "no eventfd for notifications");
    if (curl_global_init(CURL_GLOBAL_DEFAULT) || !(deliver->curl = curl_easy_init()))
        return err_set(err, ERR_UNAVAILABLE, "libcurl cannot start");
    if (db_reader_open(deliver->db, &deliver->reader, err))
        return -1;
    errno = pthread_create(&deliver->thread, NULL, deliver_thread, deliver);
    return errno ? err_set_errno(err, ERR_UNAVAILABLE, "the thread of notifications cannot start")
                 : 0;
}

static void deliver_free(struct deliver *deliver)
{
    db_reader_close(deliver->reader);
    curl_easy_cleanup(deliver->curl);
    if (deliver->stop_fd >= 0)
        close(deliver->stop_fd);
    free(deliver);
}

int deliver_start(const struct settings *settings, struct db *db, struct deliver **out,
                  struct err *err)
{
    struct deliver *deliver = calloc(1, sizeof *deliver);
    if (!deliver)
        return err_set(err, ERR_NO_MEMORY, "no memory for notifications");
    deliver->settings = settings;
    deliver->db = db;
    if (deliver_open(deliver, err)) {
        deliver_free(deliver);
        return -1;
    }
    *out = deliver;
    return 0;
}

void deliver_stop(struct deliver *deliver)
{
    if (!deliver)
        return;
    eventfd_write(deliver->stop_fd, 1);
    pthread_join(deliver->thread, NULL);
    deliver_free(deliver);
}
