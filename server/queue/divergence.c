/* divergence: see divergence.h. */
#include "server/queue/divergence.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

int divergence_of(const struct job *job, char *sentence, size_t n)
{
    json_t *error = job->state == JOB_FAILED && job->error ? json_loads(job->error, 0, NULL) : NULL;
    const char *code = json_string_value(json_object_get(error, "code"));
    const json_t *epoch = json_object_get(error, "epoch");
    const int is_diverged = code && strcmp(code, err_name(ERR_DIVERGED)) == 0;
    if (is_diverged && json_is_integer(epoch))
        snprintf(sentence, n, "the run diverged at epoch %lld",
                 (long long)json_integer_value(epoch));
    else if (is_diverged)
        snprintf(sentence, n, "the run diverged");
    json_decref(error);
    return is_diverged;
}

void divergence_unjudge(struct finding findings[FINDINGS_CLAIMS], const char *sentence)
{
    for (int c = 0; c < FINDINGS_CLAIMS; c++) {
        struct finding *finding = &findings[c];
        finding->verdict = FINDINGS_UNDETERMINED;
        snprintf(finding->measured, sizeof finding->measured, "%s", sentence);
        snprintf(finding->cause, sizeof finding->cause,
                 "what was measured until then is no result of the experiment");
        for (int i = 0; i < finding->n; i++)
            if (finding->number[i].verdict != FINDINGS_SHOWN)
                finding->number[i].verdict = FINDINGS_UNDETERMINED;
    }
}
