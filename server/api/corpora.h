/* corpora: texts: upload, deletion, list, counts of their tokens. The list runs on the HTTP thread, the
 * others on a pool thread. */
#ifndef TOKENFATE_API_CORPORA_H
#define TOKENFATE_API_CORPORA_H

#include "server/http/request.h"

request_handler api_corpus_create, api_corpus_delete, api_corpus_list, api_corpus_show,
    api_corpus_frequencies;

#endif
