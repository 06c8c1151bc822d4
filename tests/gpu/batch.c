/* batch: what an experiment trains on, for programs that are not ours: the token
 * stream's hash, the groups, and the batch of some epochs, as one JSON object.
 * Needs no GPU.
 *
 *   batch SHARE TEXT [EPOCH...] < spec.json      TEXT: path of the corpus */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/hash.h"
#include "config/record.h"
#include "lab/bpe.h"
#include "lab/dataset.h"
#include "lab/sampler.h"

static void print_ids(const char *name, const int32_t *ids, int64_t n)
{
    printf("\"%s\":[", name);
    for (int64_t i = 0; i < n; i++)
        printf("%s%" PRId32, i ? "," : "", ids[i]);
    putchar(']');
}

static void print_groups(const struct dataset *dataset)
{
    char sha256[HASH_HEX];
    hash_sha256(dataset->ids, dataset->n * sizeof *dataset->ids, sha256);
    printf("{\"tokens\":%zu,\"stream_sha256\":\"%s\",\"groups\":{", dataset->n, sha256);
    for (int g = 0; g < dataset->groups.n; g++) {
        const struct group *group = &dataset->groups.group[g];
        fputs(g ? "," : "", stdout);
        print_ids(group->name, group->ids, group->n);
    }
    putchar('}');
}

static int print_batches(const struct spec *spec, const struct dataset *dataset, int n,
                         char **epochs, struct err *err)
{
    const int64_t N = (int64_t)spec->train.batch_size * spec->model.seq_len;
    struct sampler *sampler = NULL;
    int32_t *ids = calloc((size_t)(2 * N), sizeof *ids);
    if (!ids)
        return err_set(err, ERR_NO_MEMORY, "no memory for a batch");
    const struct sampler_text text = dataset_text(dataset, NULL);
    if (sampler_open(spec, &text, &sampler, err) != 0) {
        free(ids);
        return -1;
    }
    fputs(",\"batches\":{", stdout);
    for (int i = 0; i < n; i++) {
        const int64_t epoch = atoll(epochs[i]);
        sampler_batch(sampler, epoch * sampler_steps_per_epoch(sampler), ids, ids + N);
        printf("%s\"%" PRId64 "\":{", i ? "," : "", epoch);
        print_ids("inputs", ids, N);
        putchar(',');
        print_ids("targets", ids + N, N);
        putchar('}');
    }
    puts("}}");
    sampler_close(sampler);
    free(ids);
    return 0;
}

int main(int argc, char **argv)
{
    static char json[SPEC_BYTES_MAX];
    struct spec *spec = NULL;
    struct bpe *bpe = NULL;
    struct dataset *dataset = NULL;
    struct err err = ERR_INIT;
    if (argc < 3) {
        fputs("usage: batch SHARE TEXT [EPOCH...] < spec.json\n", stderr);
        return 2;
    }
    const size_t n = fread(json, 1, sizeof json, stdin);
    int result = -1;
    if (hash_init(&err) == 0 && spec_parse(json, n, &spec, &err) == 0 &&
        bpe_open(argv[1], spec->corpus.tokenizer, &bpe, &err) == 0 &&
        dataset_open(spec, argv[2], bpe, &dataset, &err) == 0) {
        print_groups(dataset);
        result = print_batches(spec, dataset, argc - 3, argv + 3, &err);
    }
    if (result != 0)
        fprintf(stderr, "batch: %s\n", err.message);
    dataset_close(dataset);
    bpe_close(bpe);
    spec_free(spec);
    return result != 0;
}
