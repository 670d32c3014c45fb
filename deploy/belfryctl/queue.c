/*
 * Sending by hand, and looking at what is on its way, was given up, or happened to one notification.
 */
#include "domain/queue.h"
#include "deploy/belfryctl/ctl.h"
#include "deploy/belfryctl/output.h"
#include "format/json.h"
#include "format/text.h"
#include "queries.h"
#include <string.h>

enum { LIST_MAX = 10000, LIST_DEFAULT = 100, SEND_BYTES_MAX = 1 << 20, REPLAY_STEP = 500 };

/* ---- send ---- */

static void write_text(struct ctl *ctl, struct buf *out, const char *key, const char *option)
{
    if (!ctl_is_given(ctl, option))
        return;
    json_key(out, key);
    json_text(out, str_from(ctl_value(ctl, option)));
}

static void write_repeated(struct ctl *ctl, struct buf *out, const char *key, const char *option)
{
    if (!ctl_is_given(ctl, option))
        return;
    json_key(out, key);
    json_open(out, '[');
    for (int i = 0; ctl_value_at(ctl, option, i); i++)
        json_text(out, str_from(ctl_value_at(ctl, option, i)));
    json_close(out, ']');
}

/* The body of POST /notifications; what is wrong with it is found when it is expanded, but for its JSON. */
static enum result write_send(struct ctl *ctl, struct str *body, struct error *error)
{
    static const struct {
        const char *key, *option;
    } texts[] = {
        {"title", "title"},       {"body", "body"},      {"type", "type"},         {"category", "category"},
        {"priority", "priority"}, {"scheduledAt", "at"}, {"expiresAt", "expires"}, {"dedupKey", "dedup"},
    };
    struct buf out = BUF_INIT(SEND_BYTES_MAX);
    json_t *data;
    json_open(&out, '{');
    write_repeated(ctl, &out, "to", "to");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        write_text(ctl, &out, texts[i].key, texts[i].option);
    write_repeated(ctl, &out, "channels", "channel");
    if (ctl_is_given(ctl, "data")) {
        struct str given = str_from(ctl_value(ctl, "data"));
        enum result code = json_parse(ctl->arena, given, &data, error);
        if (code != RESULT_OK) {
            buf_free(&out);
            return code;
        }
        json_key(&out, "data");
        json_raw(&out, given);
    }
    json_close(&out, '}');
    return ctl_take(ctl, &out, body, error);
}

static enum result send(struct ctl *ctl, struct error *error)
{
    struct db_args args = DB_ARGS(ctl->arena);
    struct db_result *rows;
    struct str body;
    int tenant;
    enum result code = write_send(ctl, &body, error);
    if (code == RESULT_OK)
        code = ctl_tenant(ctl, ctl->words[0], &tenant, error);
    if (code != RESULT_OK)
        return code;
    db_arg_int(&args, tenant);
    db_arg_text(&args, body);
    code = ctl_run(ctl, &query_ctl_send, &args, &rows, error);
    return code == RESULT_OK ? OUTPUT_OBJECT(ctl, error, SHOW_TEXT("request", db_text(rows, 0, 0))) : code;
}

static enum result send_failures(struct ctl *ctl, struct error *error)
{
    static const struct output_column columns[] = {{"tenant", OUTPUT_TEXT},
                                                   {"request", OUTPUT_TEXT},
                                                   {"failure", OUTPUT_TEXT},
                                                   {"createdAt", OUTPUT_TIME}};
    struct db_args args = DB_ARGS(ctl->arena);
    struct db_result *rows;
    long long limit;
    enum result code = ctl_number(ctl, "limit", 1, LIST_MAX, LIST_DEFAULT, &limit, error);
    if (code != RESULT_OK)
        return code;
    db_arg_int(&args, limit);
    code = ctl_run(ctl, &query_ctl_send_failures, &args, &rows, error);
    return code == RESULT_OK ? output_list(ctl, "failures", columns, 4, rows, error) : code;
}

/* ---- queue ---- */

static enum result queue(struct ctl *ctl, struct error *error)
{
    static const struct output_column columns[] = {
        {"tenant", OUTPUT_TEXT},           {"channel", OUTPUT_TEXT}, {"ready", OUTPUT_INT},
        {"scheduled", OUTPUT_INT},         {"leased", OUTPUT_INT},   {"dead", OUTPUT_INT},
        {"oldestReadySeconds", OUTPUT_INT}};
    struct db_result *rows;
    enum result code = ctl_run(ctl, &query_ctl_queue, NULL, &rows, error);
    return code == RESULT_OK ? output_list(ctl, "queues", columns, 7, rows, error) : code;
}

static enum result dead_letters_list(struct ctl *ctl, struct error *error)
{
    static const struct output_column columns[] = {
        {"id", OUTPUT_TEXT},     {"tenant", OUTPUT_TEXT},  {"user", OUTPUT_TEXT}, {"channel", OUTPUT_TEXT},
        {"reason", OUTPUT_TEXT}, {"attempts", OUTPUT_INT}, {"at", OUTPUT_TIME}};
    struct db_args args = DB_ARGS(ctl->arena);
    struct db_result *rows;
    long long limit;
    enum result code = ctl_number(ctl, "limit", 1, LIST_MAX, LIST_DEFAULT, &limit, error);
    if (code != RESULT_OK)
        return code;
    db_arg_cstr(&args, ctl_value(ctl, "tenant"));
    db_arg_int(&args, limit);
    code = ctl_run(ctl, &query_ctl_dead_letter_list, &args, &rows, error);
    return code == RESULT_OK ? output_list(ctl, "deadLetters", columns, 7, rows, error) : code;
}

/* "UUID.N" */
static bool parse_delivery_id(struct str text, struct uuid *notification, int *n)
{
    struct str rest, id = str_cut(text, '.', &rest);
    long long number;
    if (!uuid_parse(id, notification) || !str_to_int(rest, 1, 32767, &number))
        return false;
    *n = (int)number;
    return true;
}

static enum result replay_all(struct ctl *ctl, int tenant, struct error *error)
{
    int64_t total = 0;
    int replayed = REPLAY_STEP;
    while (replayed == REPLAY_STEP) {
        enum result code = queue_replay_all(ctl->db, tenant, REPLAY_STEP, ctl->arena, &replayed, error);
        if (code != RESULT_OK)
            return code;
        total += replayed;
    }
    return OUTPUT_OBJECT(ctl, error, SHOW_INT("replayed", total));
}

static enum result dead_letters_replay(struct ctl *ctl, struct error *error)
{
    struct str id = str_from(ctl_value(ctl, "id")), channel;
    struct uuid notification;
    int tenant, n = 0;
    if (str_is_set(id) == ctl_is_given(ctl, "all"))
        return error_set(error, RESULT_INVALID, "dead-letters replay needs --id or --all");
    if (str_is_set(id) && !parse_delivery_id(id, &notification, &n))
        return error_set(error, RESULT_INVALID, "--id must be as dead-letters list shows it: UUID.N");
    enum result code = ctl_tenant(ctl, ctl->words[0], &tenant, error);
    if (code != RESULT_OK)
        return code;
    if (!str_is_set(id))
        return replay_all(ctl, tenant, error);
    code = queue_replay(ctl->db, tenant, &notification, n, ctl->arena, &channel, error);
    return code == RESULT_OK ? OUTPUT_OBJECT(ctl, error, SHOW_INT("replayed", 1)) : code;
}

/* ---- timeline ---- */

static const struct output_column attempt_columns[] = {
    {"n", OUTPUT_INT},
    {"channel", OUTPUT_TEXT},
    {"provider", OUTPUT_TEXT},
    {"device", OUTPUT_TEXT},
    {"state", OUTPUT_TEXT},
    {"number", OUTPUT_INT},
    {"outcome", OUTPUT_TEXT},
    {"code", OUTPUT_INT},
    {"detail", OUTPUT_TEXT},
    {"account", OUTPUT_TEXT},
    {"providerMessageId", OUTPUT_TEXT},
    {"finishedAt", OUTPUT_TIME},
    {"retryAt", OUTPUT_TIME},
};
enum { ATTEMPT_COLUMNS = sizeof attempt_columns / sizeof *attempt_columns, HEAD_FIELDS_MAX = 16 };

static int head_fields(const struct db_result *head, struct output_field *fields)
{
    static const struct output_column columns[] = {
        {"tenant", OUTPUT_TEXT},    {"user", OUTPUT_TEXT},        {"type", OUTPUT_TEXT},
        {"title", OUTPUT_TEXT},     {"request", OUTPUT_TEXT},     {"category", OUTPUT_TEXT},
        {"sandbox", OUTPUT_BOOL},   {"createdAt", OUTPUT_TIME},   {"scheduledAt", OUTPUT_TIME},
        {"expiresAt", OUTPUT_TIME}, {"cancelledAt", OUTPUT_TIME}, {"readAt", OUTPUT_TIME},
        {"decisions", OUTPUT_JSON},
    };
    int count = (int)(sizeof columns / sizeof *columns);
    for (int i = 0; i < count; i++)
        fields[i] = output_field(&columns[i], head, 0, i + 1);
    return count;
}

static enum result timeline(struct ctl *ctl, struct error *error)
{
    struct db_args args = DB_ARGS(ctl->arena), of_one = DB_ARGS(ctl->arena);
    struct output_field fields[HEAD_FIELDS_MAX];
    struct db_result *head, *attempts;
    struct uuid id;
    if (!uuid_parse(str_from(ctl->words[0]), &id))
        return error_set(error, RESULT_INVALID, "\"%.60s\" is no id of a notification", ctl->words[0]);
    db_arg_uuid(&args, &id);
    enum result code = ctl_run(ctl, &query_ctl_timeline_find, &args, &head, error);
    if (code != RESULT_OK)
        return code;
    if (db_rows(head) == 0)
        return error_set(error, RESULT_MISSING, "there is no notification %s", ctl->words[0]);
    db_arg_int(&of_one, db_int(head, 0, 0));
    db_arg_uuid(&of_one, &id);
    code = ctl_run(ctl, &query_ctl_timeline_deliveries, &of_one, &attempts, error);
    if (code != RESULT_OK)
        return code;
    int count = head_fields(head, fields);
    if (ctl->json) {
        struct buf json = BUF_INIT(SEND_BYTES_MAX);
        output_write_rows(&json, attempt_columns, ATTEMPT_COLUMNS, attempts);
        fields[count] = SHOW_JSON("deliveries", STR_NONE);
        code = ctl_take(ctl, &json, &fields[count++].text, error);
    }
    if (code == RESULT_OK)
        code = output_object(ctl, fields, count, error);
    if (code == RESULT_OK && !ctl->json && db_rows(attempts) > 0)
        code = output_list(ctl, "deliveries", attempt_columns, ATTEMPT_COLUMNS, attempts, error);
    return code;
}

const struct ctl_command ctl_commands_queue[] = {
    {.name = "send",
     .words = "TENANT",
     .help =
         "send a notification\n\nThe scheduler expands it; what is wrong with it is shown by send failures.",
     .needs = CTL_DB,
     .run = send,
     .options = {{"to", "USER", "a recipient", .required = true, .repeats = true},
                 {"title", "TEXT", "its title", .required = true},
                 {"body", "TEXT", "its text"},
                 {"type", "NAME", "its type (general)"},
                 {"category", "NAME", "its category (general)"},
                 {"priority", "WORD", "low, medium, high or urgent (medium)"},
                 {"channel", "CHANNEL", "push, email or webhook; all otherwise", .repeats = true},
                 {"data", "JSON", "an object for the product's own use"},
                 {"at", "TIME", "when it is to arrive, as 2030-01-31T09:00:00Z"},
                 {"expires", "TIME", "when it is worth nothing any more"},
                 {"dedup", "TEXT", "once only for a user within a day"}}},
    {.name = "send failures",
     .words = "",
     .help = "list sends made through SQL or belfryctl that could not be expanded",
     .needs = CTL_DB,
     .run = send_failures,
     .options = {{"limit", "N", "at most so many (100)"}}},
    {.name = "queue",
     .words = "",
     .help = "show how many deliveries wait, by tenant and channel",
     .needs = CTL_DB,
     .run = queue},
    {.name = "dead-letters list",
     .words = "",
     .help = "list deliveries that were given up, newest first",
     .needs = CTL_DB,
     .run = dead_letters_list,
     .options = {{"tenant", "TENANT", "of one tenant"}, {"limit", "N", "at most so many (100)"}}},
    {.name = "dead-letters replay",
     .words = "TENANT",
     .help = "try again what was given up",
     .needs = CTL_DB,
     .run = dead_letters_replay,
     .options = {{"id", "UUID.N", "one, as dead-letters list shows it"}, {"all", NULL, "all of them"}}},
    {.name = "timeline",
     .words = "NOTIFICATION",
     .help = "show what was decided about a notification and every attempt to deliver it",
     .needs = CTL_DB,
     .run = timeline},
    {0},
};
