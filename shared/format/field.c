/*
 * Reading declared fields out of JSON and out of query text. See field.h for how a table looks.
 *
 * Promises: a value that breaks its rule never reaches the caller (it has the default instead), every fault
 * is counted, and the text of a fault says the rule and never repeats the value, so that faults may be
 * logged.
 */
#include "format/field.h"
#include "core/buf.h"
#include "core/limits.h"
#include "format/check.h"
#include "format/json.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { POINTER_NAME_BYTES = 128 };           /* of a member's name in a pointer: the rest is cut */
static const long long INT_MOST = 1LL << 53; /* what every JSON reader keeps exactly (RFC 8259 section 6) */

/* ---- faults ---- */

__attribute__((format(printf, 4, 0))) static void
fault_put(struct faults *faults, struct str where, bool is_parameter, const char *format, va_list args)
{
    faults->total++;
    if (faults->count == FAULTS_MAX)
        return;
    char text[FAULT_TEXT_BYTES];
    vsnprintf(text, sizeof text, format, args);
    faults->items[faults->count++] = (struct fault){
        .pointer = arena_str(faults->arena, where),
        .is_parameter = is_parameter,
        .detail = arena_str(faults->arena, str_utf8_whole(str_from(text))),
    };
}

void fault_add(struct faults *faults, struct str pointer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fault_put(faults, pointer, false, format, args);
    va_end(args);
}

void fault_add_parameter(struct faults *faults, struct str name, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fault_put(faults, name, true, format, args);
    va_end(args);
}

struct str fault_pointer(struct arena *arena, struct str prefix, struct str name)
{
    name = str_utf8_cut(name, POINTER_NAME_BYTES);
    char escaped[2 * POINTER_NAME_BYTES];
    size_t bytes = 0;
    for (size_t i = 0; i < name.bytes; i++) {
        char c = name.data[i];
        bool special = c == '~' || c == '/';
        escaped[bytes++] = special ? '~' : c;
        if (special)
            escaped[bytes++] = c == '~' ? '0' : '1';
    }
    return str_from(arena_printf(arena, STR_FMT "/%.*s", STR_ARG(prefix), (int)bytes, escaped));
}

struct str fault_pointer_item(struct arena *arena, struct str prefix, size_t index)
{
    return str_from(arena_printf(arena, STR_FMT "/%zu", STR_ARG(prefix), index));
}

/* ---- one value ---- */

/* Where a value came from: its pointer is only built when there is a fault, since most requests have none. */
struct place {
    struct faults *faults;
    struct str prefix, name;
    bool is_parameter, is_whole; /* whole: prefix is the pointer itself */
};

static void place_fault(const struct place *at, const char *format, ...) PRINTF_LIKE(2, 3);
static void place_fault(const struct place *at, const char *format, ...)
{
    struct str where = at->is_parameter ? at->name
                       : at->is_whole   ? at->prefix
                                        : fault_pointer(at->faults->arena, at->prefix, at->name);
    va_list args;
    va_start(args, format);
    fault_put(at->faults, where, at->is_parameter, format, args);
    va_end(args);
}

static int choice_index(const struct field *field, struct str text)
{
    for (int i = 0; field->choices != NULL && field->choices[i] != NULL; i++)
        if (str_is(text, field->choices[i]))
            return i;
    return -1;
}

static void value_default(const struct field *field, struct field_value *out)
{
    *out = (struct field_value){
        .text = str_from(field->text), .number = field->number, .flag = field->number != 0};
    if (field->kind == FIELD_CHOICE)
        out->number = field->text == NULL ? -1 : choice_index(field, out->text);
}

static bool length_passes(const struct field *field, struct str text, const struct place *at)
{
    if (field->most == 0 && field->least == 0)
        return true;
    long long length = (long long)str_utf8_length(text);
    if (length >= field->least && (field->most == 0 || length <= field->most))
        return true;
    if (field->most == 0)
        place_fault(at, "must have at least %lld characters", field->least);
    else
        place_fault(at, "must have %lld to %lld characters", field->least, field->most);
    return false;
}

static bool choice_passes(const struct field *field, struct str text, const struct place *at,
                          struct field_value *out)
{
    out->number = choice_index(field, text);
    if (out->number >= 0)
        return true;
    char list[FAULT_TEXT_BYTES / 2] = "";
    size_t bytes = 0;
    for (int i = 0; field->choices != NULL && field->choices[i] != NULL && bytes < sizeof list; i++)
        bytes +=
            (size_t)snprintf(list + bytes, sizeof list - bytes, "%s%s", i ? ", " : "", field->choices[i]);
    place_fault(at, "must be one of: %s", list);
    return false;
}

/* The kinds that are text in JSON and in a query alike. */
static bool text_passes(const struct field *field, struct str text, const struct place *at,
                        struct field_value *out)
{
    struct url url;
    const char *rule = NULL;
    switch (field->kind) {
    case FIELD_ID:
        rule = check_id(text) ? NULL : "must be an id: 1 to 128 of A-Z a-z 0-9 . _ ~ @ | -";
        break;
    case FIELD_SLUG:
        rule = check_slug(text) ? NULL : "must be 1 to 64 of a-z 0-9 . _ - and begin with a letter or digit";
        break;
    case FIELD_TIME:
        rule = time_parse(text, &out->number) ? NULL
                                              : "must be a time as in RFC 3339, such as 2026-11-20T10:00:00Z";
        break;
    case FIELD_UUID:
        rule = uuid_parse(text, &out->uuid) ? NULL : "must be a UUID";
        break;
    case FIELD_URL:
        rule = url_parse(text, &url) ? NULL : "must be an absolute http or https URL of at most 2048 bytes";
        break;
    case FIELD_LINK:
        rule = check_link(text) ? NULL : "must be an absolute http or https URL of at most 2048 bytes";
        break;
    case FIELD_CHOICE:
        if (!choice_passes(field, text, at, out))
            return false;
        break;
    default:
        break;
    }
    if (rule == NULL && field->check != NULL && !field->check(text))
        rule = field->rule != NULL ? field->rule : "is not valid";
    if (rule != NULL) {
        place_fault(at, "%s", rule);
        return false;
    }
    out->text = text;
    return length_passes(field, text, at);
}

static bool int_passes(const struct field *field, bool is_whole, long long number, const struct place *at,
                       struct field_value *out)
{
    bool bounded = field->least != 0 || field->most != 0;
    long long least = bounded ? field->least : -INT_MOST, most = bounded ? field->most : INT_MOST;
    if (is_whole && number >= least && number <= most) {
        out->number = number;
        return true;
    }
    place_fault(at, "must be a whole number from %lld to %lld", least, most);
    return false;
}

static bool object_passes(const struct field *field, const json_t *value, const struct place *at,
                          struct field_value *out)
{
    if (!json_is_object(value)) {
        place_fault(at, "must be an object");
        return false;
    }
    out->tree = value;
    if (field->most == 0)
        return true;
    struct buf text = BUF_INIT((size_t)field->most);
    json_write_tree(&text, value);
    bool fits = buf_ok(&text);
    if (fits)
        out->text = arena_str(at->faults->arena, buf_str(&text));
    else
        place_fault(at, "must have at most %lld bytes as compact JSON", field->most);
    buf_free(&text);
    return fits;
}

static bool array_passes(const struct field *field, const json_t *value, const struct place *at,
                         struct field_value *out)
{
    if (!json_is_array(value)) {
        place_fault(at, "must be an array");
        return false;
    }
    long long items = (long long)json_array_size(value);
    if (items < field->least || (field->most != 0 && items > field->most)) {
        place_fault(at, "must have %lld to %lld items", field->least, field->most);
        return false;
    }
    out->tree = value;
    return true;
}

static bool field_convert(const struct field *field, const json_t *value, const struct place *at,
                          struct field_value *out)
{
    switch (field->kind) {
    case FIELD_INT:
        return int_passes(field, json_is_integer(value), (long long)json_integer_value(value), at, out);
    case FIELD_BOOL:
        out->flag = json_is_true(value);
        out->number = out->flag;
        if (!json_is_boolean(value))
            place_fault(at, "must be true or false");
        return json_is_boolean(value);
    case FIELD_OBJECT:
        return object_passes(field, value, at, out);
    case FIELD_ARRAY:
        return array_passes(field, value, at, out);
    default:
        if (json_is_string(value))
            return text_passes(field, json_str(value), at, out);
        place_fault(at, "must be a string");
        return false;
    }
}

static bool value_read(const struct field *field, const json_t *value, const struct place *at,
                       struct field_value *out)
{
    value_default(field, out);
    if (value == NULL) {
        if (field->flags & FIELD_REQUIRED)
            place_fault(at, "is required");
        return !(field->flags & FIELD_REQUIRED);
    }
    if (json_is_null(value) && (field->flags & FIELD_NULLABLE)) {
        out->is_null = true;
        return true;
    }
    struct field_value read = *out;
    if (!field_convert(field, value, at, &read))
        return false;
    read.given = true;
    *out = read;
    return true;
}

/* ---- tables ---- */

int fields_count(const struct field *fields)
{
    int count = 0;
    while (fields != NULL && fields[count].name != NULL)
        count++;
    return count;
}

void fields_default(const struct field *fields, struct field_value *values)
{
    for (int i = 0; fields != NULL && fields[i].name != NULL; i++)
        value_default(&fields[i], &values[i]);
}

static bool is_declared(const struct field *fields, const char *name)
{
    for (int i = 0; fields != NULL && fields[i].name != NULL; i++)
        if (strcmp(fields[i].name, name) == 0)
            return true;
    return false;
}

/* jansson 2.14 iterates only over objects that it could change; we do not. */
static json_t *iterable(const json_t *object)
{
    json_t *same;
    memcpy(&same, &object, sizeof same);
    return same;
}

/* Members that the table does not name, all of them: the sender wants to see each typing error at once. */
static bool refuse_unknown(const struct field *fields, const json_t *object, struct str prefix,
                           struct faults *faults)
{
    bool fine = true;
    const char *name;
    json_t *value;
    json_t *walked = iterable(object);
    json_object_foreach(walked, name, value)
    {
        if (is_declared(fields, name))
            continue;
        struct place at = {faults, prefix, str_from(name), false, false};
        place_fault(&at, "is not a known field");
        fine = false;
    }
    return fine;
}

bool fields_read(const struct field *fields, const json_t *object, struct str prefix, struct faults *faults,
                 struct field_value *values)
{
    fields_default(fields, values);
    if (!json_is_object(object)) {
        fault_add(faults, prefix, "must be an object");
        return false;
    }
    bool fine = true;
    for (int i = 0; fields != NULL && fields[i].name != NULL; i++) {
        struct place at = {faults, prefix, str_from(fields[i].name), false, false};
        fine &= value_read(&fields[i], json_object_get(object, fields[i].name), &at, &values[i]);
    }
    return refuse_unknown(fields, object, prefix, faults) && fine;
}

bool field_read(const struct field *field, const json_t *value, struct str pointer, struct faults *faults,
                struct field_value *out)
{
    struct place at = {faults, pointer, STR_NONE, false, true};
    return value_read(field, value, &at, out);
}

bool field_read_text(const struct field *field, struct str text, struct faults *faults,
                     struct field_value *out)
{
    struct place at = {faults, STR_NONE, str_from(field->name), true, false};
    struct field_value read;
    value_default(field, &read);
    *out = read;
    long long number = 0;
    bool fine;
    switch (field->kind) {
    case FIELD_INT:
        fine = str_to_int(text, 0, INT_MOST, &number);
        fine = int_passes(field, fine, number, &at, &read);
        break;
    case FIELD_BOOL:
        fine = str_is(text, "true") || str_is(text, "false");
        read.flag = str_is(text, "true");
        read.number = read.flag;
        if (!fine)
            place_fault(&at, "must be true or false");
        break;
    case FIELD_OBJECT:
    case FIELD_ARRAY:
        place_fault(&at, "cannot be a parameter");
        fine = false;
        break;
    default:
        fine = text_passes(field, text, &at, &read);
    }
    read.given = fine;
    if (fine)
        *out = read;
    return fine;
}
