/* JSON: what is accepted is within its limits, is written as valid JSON, and is then read as the same tree.
 */
#include "core/limits.h"
#include "format/json.h"
#include "fuzz.h"

static size_t depth_of(const json_t *value)
{
    size_t deepest = 0, i;
    const char *key;
    json_t *item;
    if (json_is_array(value))
        json_array_foreach(value, i, item)
        {
            size_t depth = depth_of(item);
            deepest = depth > deepest ? depth : deepest;
        }
    else if (json_is_object(value))
        json_object_foreach((json_t *)(uintptr_t)value, key, item)
        {
            size_t depth = depth_of(item);
            deepest = depth > deepest ? depth : deepest;
        }
    else
        return 0;
    return deepest + 1;
}

static void check_writing(struct arena *arena, const json_t *tree)
{
    struct buf first = BUF_INIT(16 << 20), second = BUF_INIT(16 << 20);
    json_t *again = NULL;
    json_write_tree(&first, tree);
    PROMISE(buf_ok(&first));
    PROMISE(json_parse(arena, buf_str(&first), &again, NULL) == RESULT_OK);
    PROMISE(json_equal(tree, again));
    json_write_tree(&second, again);
    PROMISE(str_equal(buf_str(&first), buf_str(&second)));
    buf_free(&first);
    buf_free(&second);
}

/* Any bytes become a valid string. */
static void check_text(struct arena *arena, struct str text)
{
    struct buf out = BUF_INIT(16 << 20);
    json_t *tree = NULL;
    json_open(&out, '[');
    json_text(&out, text);
    json_close(&out, ']');
    PROMISE(buf_ok(&out) && str_is_utf8(buf_str(&out)));
    if (str_is_utf8(text)) {
        PROMISE(json_parse(arena, buf_str(&out), &tree, NULL) == RESULT_OK);
        PROMISE(str_equal(json_str(json_array_get(tree, 0)), text));
    }
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct arena *arena = arena_create(64 << 20);
    struct str text = {(const char *)data, bytes};
    struct error error = {0};
    json_t *tree = NULL;
    PROMISE(arena != NULL);
    if (json_parse(arena, text, &tree, &error) == RESULT_OK) {
        PROMISE(depth_of(tree) <= LIMIT_JSON_DEPTH && str_is_utf8(text));
        check_writing(arena, tree);
    } else {
        PROMISE(error.code == RESULT_INVALID && error.text[0] != '\0');
    }
    check_text(arena, text);
    arena_destroy(arena);
    return 0;
}
