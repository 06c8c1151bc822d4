/* message: a notification as the receiver wants it. Pure. */
#ifndef TOKENFATE_NOTIFY_MESSAGE_H
#define TOKENFATE_NOTIFY_MESSAGE_H

#include "config/err.h"
#include "db/notify.h"

struct notify_message {
    char *body;        /* malloc */
    const char *type;  /* Content-Type */
    const char *title; /* of ntfy, NULL elsewhere */
};

/* Write the stored JSON as its format wants it: as it is; as the text of a Slack message, which
 * Mattermost takes too; as the sentence that ntfy shows. */
int notify_message_write(enum notify_format format, const char *json, struct notify_message *out,
                         struct err *err);

#endif
