/* login: POST /login, by which an account of this machine becomes a user, and POST /login/link, by
 * which a user brings a browser along. */
#ifndef TOKENFATE_API_LOGIN_H
#define TOKENFATE_API_LOGIN_H

#include "server/api/links.h"
#include "server/http/request.h"

request_handler api_login, api_login_link;

/* Use up the one-time code of api_login_link. ERR_UNAUTHORIZED, counted as a refused credential
 * (logins.h). HTTP thread. */
int login_take(struct request *request, const char *code, struct link_owner *owner,
               struct err *err);

/* ERR_INVALID: the setting admin_group names no group of this machine. */
int login_check_settings(const struct settings *settings, struct err *err);

#endif
