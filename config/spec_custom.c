/* spec_custom: see spec_custom.h. A reader reports every bad element, not only the first;
 * it stops early only without memory. */
#include "config/spec_custom.h"

#include <stdlib.h>
#include <string.h>

#include "config/pointer.h"
#include "config/spec_words.h"

static int read_token(const json_t *value, const char *pointer, struct spec_token *token,
                      struct err *err)
{
    char quoted[SPEC_QUOTE_MAX];
    int64_t id = 0;
    if (json_is_number(value)) {
        if (spec_check_integer(value, 0, INT32_MAX, pointer, &id, err))
            return -1;
        token->id = (int32_t)id;
        return 0;
    }
    if (!json_is_string(value))
        return err_field(err, pointer, "%s is neither a token id nor a text",
                         spec_quote(value, quoted));
    size_t n = json_string_length(value);
    if (n < 1 || n > SPEC_TOKEN_BYTES_MAX)
        return err_field(err, pointer, "%s has %zu bytes, outside 1 to %d",
                         spec_quote(value, quoted), n, SPEC_TOKEN_BYTES_MAX);
    token->id = -1;
    return spec_copy(&token->text, json_string_value(value), err);
}

static int read_custom_tokens(const json_t *value, const char *base, struct spec_custom *custom,
                              struct err *err)
{
    char list[ERR_POINTER_MAX], pointer[ERR_POINTER_MAX];
    int bad = 0;
    pointer_member(list, base, "tokens");
    if (!value)
        return err_field(err, list, "a custom group needs its tokens");
    if (spec_check_array(value, 1, SPEC_CUSTOM_TOKENS_MAX, list, err))
        return -1;
    size_t n = json_array_size(value);
    custom->tokens = calloc(n, sizeof *custom->tokens);
    if (!custom->tokens)
        return err_set(err, ERR_NO_MEMORY, "no memory for %zu tokens", n);
    for (size_t i = 0; i < n; i++) {
        pointer_index(pointer, list, i);
        custom->n_tokens++;
        if (read_token(json_array_get(value, i), pointer, &custom->tokens[i], err))
            bad = -1;
        if (err && err->code == ERR_NO_MEMORY)
            return -1;
    }
    return bad;
}

static int read_custom_name(const json_t *value, const char *base, const struct spec *spec,
                            struct spec_custom *custom, struct err *err)
{
    char pointer[ERR_POINTER_MAX], quoted[SPEC_QUOTE_MAX];
    pointer_member(pointer, base, "name");
    if (!value)
        return err_field(err, pointer, "a custom group needs a name");
    const char *name = spec_check_text(value, 1, RECORD_NAME_MAX - 1, "", pointer, err);
    if (!name)
        return -1;
    int taken = spec_word(spec_words_group, name) >= 0;
    for (const struct spec_custom *other = spec->groups.custom; other < custom; other++)
        taken |= strcmp(other->name, name) == 0;
    if (taken)
        return err_field(err, pointer, "%s names another group already", spec_quote(value, quoted));
    snprintf(custom->name, sizeof custom->name, "%s", name);
    return 0;
}

static int read_custom_group(const json_t *value, const char *base, struct spec *spec,
                             struct err *err)
{
    static const char *const keys[] = {"name", "tokens", NULL};
    char quoted[SPEC_QUOTE_MAX];
    struct spec_custom *custom = &spec->groups.custom[spec->groups.n_custom++];
    if (!json_is_object(value))
        return err_field(err, base, "%s is not an object", spec_quote(value, quoted));
    int bad = read_custom_name(json_object_get(value, "name"), base, spec, custom, err);
    if (read_custom_tokens(json_object_get(value, "tokens"), base, custom, err))
        bad = -1;
    if (err && err->code == ERR_NO_MEMORY)
        return -1;
    if (spec_check_members(value, keys, base, err))
        bad = -1;
    return bad;
}

static int read_custom(const struct spec_row *row, const json_t *value, struct spec *spec,
                       struct err *err)
{
    char pointer[ERR_POINTER_MAX];
    int bad = 0;
    if (spec_check_array(value, 0, SPEC_CUSTOM_MAX, row->pointer, err))
        return -1;
    for (size_t i = 0; i < json_array_size(value); i++) {
        pointer_index(pointer, row->pointer, i);
        if (read_custom_group(json_array_get(value, i), pointer, spec, err))
            bad = -1;
        if (err && err->code == ERR_NO_MEMORY)
            return -1;
    }
    return bad;
}

static void write_custom_group(const struct spec_custom *custom, struct emit *emit)
{
    emit_object(emit, NULL);
    emit_text(emit, "name", custom->name);
    emit_array(emit, "tokens");
    for (int i = 0; i < custom->n_tokens; i++) {
        if (custom->tokens[i].text)
            emit_text(emit, NULL, custom->tokens[i].text);
        else
            emit_integer(emit, NULL, custom->tokens[i].id);
    }
    emit_end(emit);
    emit_end(emit);
}

static void write_custom(const struct spec_row *row, const struct spec *spec, struct emit *emit,
                         const char *key)
{
    (void)row;
    emit_array(emit, key);
    for (int i = 0; i < spec->groups.n_custom; i++)
        write_custom_group(&spec->groups.custom[i], emit);
    emit_end(emit);
}

const struct spec_kind spec_custom_kind = {read_custom, write_custom};
