/* users: users, for administrators, and bearer tokens, for their owner too. The list runs on a pool thread, the
 * others on the HTTP thread. */
#ifndef TOKENFATE_API_USERS_H
#define TOKENFATE_API_USERS_H

#include "server/http/request.h"

request_handler api_user_list, api_user_create, api_user_show, api_user_patch, api_user_token_list,
    api_user_token_create, api_user_token_show, api_user_token_rotate, api_user_token_delete;

#endif
