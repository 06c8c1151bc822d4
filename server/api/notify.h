/* notify: where a user's messages go: list, add, remove, and the secret of their signatures. The
 * route table calls the handlers; each is for the user and for administrators. */
#ifndef TOKENFATE_API_NOTIFY_H
#define TOKENFATE_API_NOTIFY_H

#include "server/http/request.h"

enum request_result api_notify_list(struct request *request);
enum request_result api_notify_create(struct request *request);
enum request_result api_notify_delete(struct request *request);
enum request_result api_notify_secret(struct request *request);

#endif
