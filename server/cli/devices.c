/* devices: see devices.h. */
#include "server/cli/devices.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "server/cli/client.h"

static const char *devices_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void devices_print_proof(const json_t *proof)
{
    const json_t *worst = json_object_get(proof, "worst");
    const char *state = devices_text(proof, "state"), *started = devices_text(proof, "started_at");
    const int is_without = strcmp(state, "passed") == 0 && devices_text(proof, "reason")[0];
    const long long checks = json_integer_value(json_object_get(proof, "checks"));
    printf("  proof %s%s%s%s", state, is_without ? ", without graphs" : "", started[0] ? ", " : "",
           started);
    if (checks > 0)
        printf(", %lld checks in %.1f s", checks,
               json_number_value(json_object_get(proof, "seconds")));
    printf("\n");
    if (is_without)
        printf("  %s\n", devices_text(proof, "reason"));
    if (json_is_object(worst))
        printf("  nearest to its bound: %s in %s, %.3g of %.3g\n", devices_text(worst, "check"),
               devices_text(worst, "precision"), json_number_value(json_object_get(worst, "error")),
               json_number_value(json_object_get(worst, "bound")));
    if (devices_text(proof, "library")[0])
        printf("  %s\n", devices_text(proof, "library"));
}

static void devices_print_jobs(const json_t *jobs)
{
    size_t i;
    json_t *job;
    json_array_foreach(jobs, i, job)
    {
        const long long threads = json_integer_value(json_object_get(job, "threads"));
        printf("  runs job %s", devices_text(job, "id"));
        if (threads)
            printf(" with %lld thread%s", threads, threads == 1 ? "" : "s");
        printf("\n");
    }
}

static void devices_print(const json_t *device)
{
    const json_t *proof = json_object_get(device, "proof");
    const char *driver = devices_text(device, "driver");
    const int is_available = json_is_true(json_object_get(device, "available"));
    printf("%s: %s%s%s\n", devices_text(device, "id"), devices_text(device, "name"),
           driver[0] ? ", driver " : "", driver);
    if (!is_available)
        printf("  not available: %s\n", devices_text(device, "reason"));
    else if (json_array_size(json_object_get(device, "jobs")) == 0)
        printf("  idle\n");
    devices_print_jobs(json_object_get(device, "jobs"));
    if (json_is_object(proof))
        devices_print_proof(proof);
}

int devices_command(const struct settings *settings, int argc, char **argv)
{
    struct err err = ERR_INIT;
    json_t *answer = NULL;
    (void)argv;
    if (argc != 0) {
        fprintf(stderr, "usage: tokenfate devices\n");
        return 2;
    }
    const int result = client_request(settings, "GET", "/devices", NULL, &answer, &err);
    if (result != 0) {
        fprintf(stderr, "tokenfate: %s%s\n", result > 0 ? "no server runs here: " : "",
                err.message);
        return 1;
    }
    size_t i;
    json_t *device;
    json_array_foreach(json_object_get(answer, "devices"), i, device)
    {
        devices_print(device);
    }
    json_decref(answer);
    return 0;
}
