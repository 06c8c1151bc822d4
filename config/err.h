/* err: the one error type of every room.
 *
 * A function that can fail returns 0 or -1 (or a pointer or NULL) and takes `struct err
 * *err` as its last parameter. On failure its outputs are untouched, and *err holds a code
 * and a sentence that names the offending value. Input with several bad fields collects all
 * of them. Only the top layer logs or answers. One table (err_table) maps codes to names and
 * HTTP status. Plain data, no allocation, any thread. */
#ifndef TOKENFATE_ERR_H
#define TOKENFATE_ERR_H

enum err_code {
    ERR_NONE,
    ERR_MALFORMED,        /* cannot be parsed at all: broken JSON, bad header */
    ERR_INVALID,          /* parsed, but a field has an impossible value */
    ERR_UNAUTHORIZED,     /* no or wrong credentials */
    ERR_FORBIDDEN,        /* known, but not allowed */
    ERR_NOT_FOUND,        /* no such job, corpus, file, route */
    ERR_METHOD,           /* the path exists, the method does not */
    ERR_SLOW,             /* the request did not come in time */
    ERR_CONFLICT,         /* the present state does not allow it */
    ERR_TOO_LARGE,        /* above a named limit */
    ERR_LONG_TARGET,      /* the address of a request is above its limit */
    ERR_LARGE_HEAD,       /* the head of a request is above its limit */
    ERR_MEDIA_TYPE,       /* body is not of the type the route takes */
    ERR_RANGE,            /* a Range that the file does not have */
    ERR_TOO_MANY,         /* rate or queue limit; try later */
    ERR_UNAVAILABLE,      /* a device, the database or the service cannot serve at present */
    ERR_IO,               /* the operating system refused; errno in the message */
    ERR_NO_MEMORY,        /* an allocation failed, or the exact need exceeds the available memory */
    ERR_CORRUPT,          /* stored data fail their checksum or their format */
    ERR_PROTOCOL,         /* server and trainer do not understand each other */
    ERR_DEVICE,           /* the compute device failed; its process must be replaced */
    ERR_DEVICE_WRONG,     /* it computes other numbers than the processor; its process likewise */
    ERR_DIVERGED,         /* the loss became non-finite */
    ERR_NONDETERMINISTIC, /* replayed epochs differ from the stored ones */
    ERR_CANCELLED,        /* stopped on request */
    ERR_TIMEOUT,          /* no answer, or no time left */
    ERR_INTERNAL,         /* a bug */
    ERR_CODES
};

enum {
    ERR_MESSAGE_MAX = 512, /* longest message in bytes, with its zero */
    ERR_CHANGE_MAX = 160,  /* bytes of the words that tell who can change a limit */
    ERR_POINTER_MAX = 96,  /* longest JSON pointer (RFC 6901) kept for a field */
    ERR_DETAIL_MAX = 224,  /* longest sentence about one field */
    ERR_FIELDS_MAX = 24    /* bad fields reported at once; more are counted, not kept */
};

struct err_field {
    char pointer[ERR_POINTER_MAX];
    char detail[ERR_DETAIL_MAX];
};

/* A limit that stands in the way. value, present and asked are in the unit of the limit. */
struct err_limit {
    char name[24];                /* "" : the error is of another kind */
    char change[ERR_CHANGE_MAX];  /* who can change it, and how */
    double value, present, asked; /* present NaN: a limit of each job */
    int fits;                     /* how many of the jobs asked for would fit */
};

struct err {
    enum err_code code;
    char message[ERR_MESSAGE_MAX];
    struct err_limit limit;
    int n_fields; /* fields kept in fields[] */
    int n_more;   /* fields that were bad too, beyond ERR_FIELDS_MAX */
    struct err_field fields[ERR_FIELDS_MAX];
};

/* Initialiser of every local: `struct err err = ERR_INIT;`. A reader of the code and a
 * writer that adds a field then find no error instead of stack contents. */
#define ERR_INIT                                                                                   \
    {                                                                                              \
        .code = ERR_NONE                                                                           \
    }

/* Empty *err, so that it can be used again. */
void err_clear(struct err *err);

/* Set code and message (printf format) and drop the previous ones. Returns -1, so that
 * `return err_set(err, ERR_IO, "...")` is the idiom. err may be NULL. */
int err_set(struct err *err, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As err_set, with ": " and strerror(errno) appended. ERR_IO becomes ERR_UNAVAILABLE where the disk
 * is full: as for the database, that is a state of the machine and no fault of the server. */
int err_set_errno(struct err *err, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Add one bad field: an RFC 6901 pointer and a sentence with the value. Sets the code to
 * ERR_INVALID and, for the first field, the message to "POINTER: detail". Returns -1. */
int err_field(struct err *err, const char *pointer, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As err_set, with the limit that stands in the way. */
int err_set_limit(struct err *err, enum err_code code, const struct err_limit *limit,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Put "context: " in front of the message. Returns -1. */
int err_prefix(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Short stable name of a code ("not_found", "diverged"): the `code` that the
 * API, the protocol and the database carry. */
const char *err_name(enum err_code code);

/* The code of that name, or ERR_INTERNAL if there is none. */
enum err_code err_from_name(const char *name);

/* HTTP status (RFC 9110) and title of a code. */
int err_http_status(enum err_code code);
const char *err_title(enum err_code code);

#endif
