/*
 * Provider accounts. A configuration goes in and is never shown again: it is checked, sealed and stored; what
 * browsers may know of it (the public key of Web Push) is kept apart.
 *
 * What is held for want of an account leaves by itself once there is one: a duty of the scheduler looks.
 */
#include "domain/account.h"
#include "deploy/belfryctl/ctl.h"
#include "deploy/belfryctl/output.h"
#include "format/check.h"
#include "format/json.h"
#include "queries.h"
#include <string.h>

enum { PREFERENCE_DEFAULT = 100, PREFERENCE_MAX = 32767, CONFIG_BYTES_MAX = 65536 };

/* A new Web Push configuration needs keys that nobody has to make by hand: {"subject":"mailto:…"} is enough.
 */
static enum result complete_webpush(struct ctl *ctl, struct str *config, struct error *error)
{
    struct buf made = BUF_INIT(CONFIG_BYTES_MAX);
    json_t *tree;
    enum result code = json_parse(ctl->arena, *config, &tree, error);
    if (code != RESULT_OK)
        return code;
    struct str subject = json_str(json_object_get(tree, "subject"));
    if (json_object_size(tree) != 1 || !str_is_set(subject))
        return RESULT_OK;
    code = account_make_webpush(subject, &made, error);
    if (code == RESULT_OK)
        return ctl_take(ctl, &made, config, error);
    buf_free(&made);
    return code;
}

/* The configuration as it is stored, from --config JSON or --config @FILE. */
static enum result read_config(struct ctl *ctl, struct str provider, struct str *config, struct error *error)
{
    const char *given = ctl_value(ctl, "config") ? ctl_value(ctl, "config") : "{}";
    *config = str_from(given);
    if (given[0] == '@') {
        enum result code = ctl_read_file(ctl, given + 1, config, error);
        if (code != RESULT_OK)
            return code;
    }
    return str_is(provider, "webpush") ? complete_webpush(ctl, config, error) : RESULT_OK;
}

static enum result check_channel(struct str channel, struct str provider, struct error *error)
{
    struct str serves = account_channel_of(provider);
    if (!str_is_set(serves) && !str_is(provider, "null"))
        return error_set(error, RESULT_INVALID, "there is no provider \"" STR_FMT "\"", STR_ARG(provider));
    if (!str_is(provider, "null") && !str_equal(serves, channel))
        return error_set(error, RESULT_INVALID, "the provider " STR_FMT " serves the channel " STR_FMT,
                         STR_ARG(provider), STR_ARG(serves));
    if (!check_slug(channel))
        return error_set(error, RESULT_INVALID, "\"" STR_FMT "\" is no channel", STR_ARG(channel));
    return RESULT_OK;
}

struct new_account {
    int tenant;
    struct str id, channel, provider, config, shown, sealed;
    long long preference;
};

static enum result prepare(struct ctl *ctl, struct new_account *a, struct error *error)
{
    struct account_config parsed;
    struct buf shown = BUF_INIT(CONFIG_BYTES_MAX), sealed = BUF_INIT(CONFIG_BYTES_MAX);
    enum result code = account_parse(a->provider, a->config, ctl->arena, &parsed, error);
    if (code != RESULT_OK)
        return code;
    account_public(&parsed, &shown);
    code = ctl_take(ctl, &shown, &a->shown, error);
    if (code == RESULT_OK)
        code = account_seal(ctl->ring, a->tenant, a->id, a->config, &sealed, error);
    if (code == RESULT_OK)
        return ctl_take(ctl, &sealed, &a->sealed, error);
    buf_free(&sealed);
    return code;
}

static enum result store(struct ctl *ctl, const struct new_account *a, struct error *error)
{
    struct db_args args = DB_ARGS(ctl->arena);
    db_arg_int(&args, a->tenant);
    db_arg_text(&args, a->id);
    db_arg_text(&args, a->channel);
    db_arg_text(&args, a->provider);
    db_arg_int(&args, a->preference);
    db_arg_bytes(&args, a->sealed.data, a->sealed.bytes);
    db_arg_text(&args, a->shown);
    enum result code = ctl_run(ctl, &query_ctl_account_create, &args, NULL, error);
    if (code == RESULT_CONFLICT)
        return error_set(error, code,
                         "the tenant has an account \"" STR_FMT "\" already; choose another --id",
                         STR_ARG(a->id));
    return code;
}

static enum result account_create(struct ctl *ctl, struct error *error)
{
    struct new_account a = {.channel = str_from(ctl_value(ctl, "channel")),
                            .provider = str_from(ctl_value(ctl, "provider"))};
    a.id = ctl_is_given(ctl, "id") ? str_from(ctl_value(ctl, "id")) : a.provider;
    if (!check_id(a.id))
        return error_set(error, RESULT_INVALID, "--id must be 1 to 128 of A-Z a-z 0-9 . _ ~ @ | -");
    enum result code = check_channel(a.channel, a.provider, error);
    if (code == RESULT_OK)
        code = ctl_number(ctl, "preference", 0, PREFERENCE_MAX, PREFERENCE_DEFAULT, &a.preference, error);
    if (code == RESULT_OK)
        code = ctl_tenant(ctl, ctl->words[0], &a.tenant, error);
    if (code == RESULT_OK)
        code = read_config(ctl, a.provider, &a.config, error);
    if (code == RESULT_OK)
        code = prepare(ctl, &a, error);
    if (code == RESULT_OK)
        code = store(ctl, &a, error);
    if (code != RESULT_OK)
        return code;
    return OUTPUT_OBJECT(ctl, error, SHOW_TEXT("id", a.id), SHOW_TEXT("channel", a.channel),
                         SHOW_TEXT("provider", a.provider), SHOW_JSON("public", a.shown));
}

static enum result account_list(struct ctl *ctl, struct error *error)
{
    static const struct output_column columns[] = {{"id", OUTPUT_TEXT},       {"channel", OUTPUT_TEXT},
                                                   {"provider", OUTPUT_TEXT}, {"preference", OUTPUT_INT},
                                                   {"state", OUTPUT_TEXT},    {"pausedReason", OUTPUT_TEXT},
                                                   {"public", OUTPUT_JSON},   {"createdAt", OUTPUT_TIME}};
    struct db_args args = DB_ARGS(ctl->arena);
    struct db_result *rows;
    int tenant;
    enum result code = ctl_tenant(ctl, ctl->words[0], &tenant, error);
    if (code != RESULT_OK)
        return code;
    db_arg_int(&args, tenant);
    code = ctl_run(ctl, &query_ctl_account_list, &args, &rows, error);
    return code == RESULT_OK ? output_list(ctl, "accounts", columns, 8, rows, error) : code;
}

static enum result change(struct ctl *ctl, const struct db_query *query, const char *done,
                          struct error *error)
{
    struct db_args args = DB_ARGS(ctl->arena);
    struct db_result *rows;
    int tenant;
    enum result code = ctl_tenant(ctl, ctl->words[0], &tenant, error);
    if (code != RESULT_OK)
        return code;
    db_arg_int(&args, tenant);
    db_arg_cstr(&args, ctl->words[1]);
    code = ctl_run(ctl, query, &args, &rows, error);
    if (code != RESULT_OK)
        return code;
    if (db_affected(rows) == 0)
        return error_set(error, RESULT_MISSING, "the tenant has no account \"%.128s\"", ctl->words[1]);
    return OUTPUT_OBJECT(ctl, error, SHOW_CSTR("id", ctl->words[1]), SHOW_BOOL(done, true));
}

static enum result account_resume(struct ctl *ctl, struct error *error)
{
    return change(ctl, &query_ctl_account_resume, "active", error);
}

static enum result account_delete(struct ctl *ctl, struct error *error)
{
    return change(ctl, &query_ctl_account_delete, "deleted", error);
}

const struct ctl_command ctl_commands_account[] = {
    {.name = "account create",
     .words = "TENANT",
     .help = "add an account at a provider\n\n"
             "smtp     "
             "{\"host\",\"port\",\"tls\":\"starttls|implicit|none\",\"user\"?,\"password\"?,\"from\","
             "\"domain\"?}\n"
             "webpush  {\"subject\":\"mailto:you@example.com\"}: keys are made; or with \"publicKey\", "
             "\"privateKey\"\n"
             "webhook  {}\n"
             "null     {}: accepts everything, sends nothing",
     .needs = CTL_DB | CTL_RING,
     .run = account_create,
     .options = {{"channel", "CHANNEL", "email, push, webhook, ...", .required = true},
                 {"provider", "PROVIDER", "smtp, webpush, webhook or null", .required = true},
                 {"config", "JSON", "its configuration; @FILE reads it from a file, @- from standard input"},
                 {"id", "ID", "its name within the tenant; the provider's otherwise"},
                 {"preference", "N", "the lowest is used first (100)"}}},
    {.name = "account list",
     .words = "TENANT",
     .help = "list provider accounts and their states",
     .needs = CTL_DB,
     .run = account_list},
    {.name = "account resume",
     .words = "TENANT ACCOUNT",
     .help = "use an account again that was paused, and send what it held",
     .needs = CTL_DB,
     .run = account_resume},
    {.name = "account delete",
     .words = "TENANT ACCOUNT",
     .help = "forget an account and its configuration",
     .needs = CTL_DB,
     .run = account_delete},
    {0},
};
