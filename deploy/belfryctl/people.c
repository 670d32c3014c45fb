/*
 * Users as an operator may see them (addresses masked), and where a tenant's developers are told when a
 * delivery is given up or an account is refused.
 *
 * Developers are the reserved user "~developers": an alert is a notification to that user, so it goes through
 * the same queue, retries and logs as any other.
 */
#include "deploy/belfryctl/ctl.h"
#include "deploy/belfryctl/output.h"
#include "domain/address.h"
#include "format/check.h"
#include "queries.h"
#include <string.h>

#define DEVELOPERS STR("~developers")

enum { LIST_MAX = 10000, LIST_DEFAULT = 100 };

static enum result user_list(struct ctl *ctl, struct error *error)
{
    static const struct output_column columns[] = {{"id", OUTPUT_TEXT},
                                                   {"name", OUTPUT_TEXT},
                                                   {"locale", OUTPUT_TEXT},
                                                   {"timeZone", OUTPUT_TEXT},
                                                   {"createdAt", OUTPUT_TIME}};
    struct db_args args = DB_ARGS(ctl->arena);
    struct db_result *rows;
    long long limit;
    int tenant;
    enum result code = ctl_number(ctl, "limit", 1, LIST_MAX, LIST_DEFAULT, &limit, error);
    if (code == RESULT_OK)
        code = ctl_tenant(ctl, ctl->words[0], &tenant, error);
    if (code != RESULT_OK)
        return code;
    db_arg_int(&args, tenant);
    db_arg_cstr(&args, ctl_is_given(ctl, "after") ? ctl_value(ctl, "after") : "");
    db_arg_int(&args, limit);
    code = ctl_run(ctl, &query_ctl_user_list, &args, &rows, error);
    return code == RESULT_OK ? output_list(ctl, "users", columns, 5, rows, error) : code;
}

static struct str or_empty(struct str json, const char *empty)
{
    return str_is_set(json) ? json : str_from(empty);
}

static enum result user_show(struct ctl *ctl, struct error *error)
{
    struct db_args args = DB_ARGS(ctl->arena);
    struct db_result *r;
    int tenant;
    enum result code = ctl_tenant(ctl, ctl->words[0], &tenant, error);
    if (code != RESULT_OK)
        return code;
    db_arg_int(&args, tenant);
    db_arg_cstr(&args, ctl->words[1]);
    code = ctl_run(ctl, &query_ctl_user_find, &args, &r, error);
    if (code != RESULT_OK)
        return code;
    if (db_rows(r) == 0)
        return error_set(error, RESULT_MISSING, "the tenant has no user \"%.128s\"", ctl->words[1]);
    return OUTPUT_OBJECT(ctl, error, SHOW_CSTR("id", ctl->words[1]), SHOW_TEXT("name", db_text(r, 0, 0)),
                         SHOW_TEXT("locale", db_text(r, 0, 1)), SHOW_TEXT("timeZone", db_text(r, 0, 2)),
                         SHOW_JSON("attributes", or_empty(db_text(r, 0, 3), "{}")),
                         SHOW_TIME("createdAt", db_int(r, 0, 4)), SHOW_INT("unreadCount", db_int(r, 0, 5)),
                         SHOW_INT("unseenCount", db_int(r, 0, 6)),
                         SHOW_JSON("optOuts", or_empty(db_text(r, 0, 7), "[]")),
                         SHOW_JSON("devices", or_empty(db_text(r, 0, 8), "[]")));
}

/* Tokens end within 5 s, wherever they are remembered; one that is issued later is good. */
static enum result user_revoke(struct ctl *ctl, struct error *error)
{
    struct db_args args = DB_ARGS(ctl->arena);
    struct db_result *r;
    int tenant;
    enum result code = ctl_tenant(ctl, ctl->words[0], &tenant, error);
    if (code == RESULT_OK && !check_id(str_from(ctl->words[1])))
        code = error_set(error, RESULT_INVALID, "cannot revoke tokens: this is no user id");
    if (code != RESULT_OK)
        return code;
    db_arg_int(&args, tenant);
    db_arg_cstr(&args, ctl->words[1]);
    code = ctl_run(ctl, &query_ctl_user_revoke, &args, &r, error);
    return code == RESULT_OK ? OUTPUT_OBJECT(ctl, error, SHOW_CSTR("user", ctl->words[1]),
                                             SHOW_TIME("tokensValidFrom", db_int(r, 0, 0)))
                             : code;
}

/* ---- alerts ---- */

struct alert_device {
    const char *id, *channel, *provider;
    struct address address;
};

static enum result put_device(struct ctl *ctl, int tenant, const struct alert_device *d, struct error *error)
{
    struct db_args args = DB_ARGS(ctl->arena);
    struct buf out = BUF_INIT(ADDRESS_JSON_BYTES_MAX + 64);
    struct str sealed;
    unsigned char index[16];
    char *hint = arena_alloc(ctl->arena, ADDRESS_HINT_BYTES);
    if (!hint)
        return error_set(error, RESULT_FAILED, "could not store an address: no memory");
    enum result code = address_seal(ctl->ring, tenant, DEVELOPERS, &d->address, &out, error);
    if (code != RESULT_OK) {
        buf_free(&out);
        return code;
    }
    code = ctl_take(ctl, &out, &sealed, error);
    if (code != RESULT_OK)
        return code;
    address_index(ctl->ring, tenant, &d->address, index);
    db_arg_int(&args, tenant);
    db_arg_text(&args, DEVELOPERS);
    db_arg_cstr(&args, d->id);
    db_arg_cstr(&args, d->channel);
    db_arg_cstr(&args, d->provider);
    db_arg_bytes(&args, sealed.data, sealed.bytes);
    db_arg_bytes(&args, index, sizeof index);
    db_arg_cstr(&args, address_hint(&d->address, hint));
    return ctl_run(ctl, &query_ctl_device_put, &args, NULL, error);
}

static enum result set_email(struct ctl *ctl, int tenant, struct error *error)
{
    struct alert_device d = {"email", "email", "", {.kind = ADDRESS_EMAIL}};
    d.address.email = str_from(ctl_value(ctl, "email"));
    enum result code = address_check(&d.address, error);
    return code == RESULT_OK ? put_device(ctl, tenant, &d, error) : code;
}

/* *secret: made here unless one was given. */
static enum result set_webhook(struct ctl *ctl, int tenant, struct str *secret, struct error *error)
{
    struct alert_device d = {"webhook", "webhook", "webhook", {.kind = ADDRESS_WEBHOOK}};
    enum result code = RESULT_OK;
    d.address.url = str_from(ctl_value(ctl, "webhook"));
    d.address.secret_count = 1;
    *secret = str_from(ctl_value(ctl, "secret"));
    if (!str_is_set(*secret))
        code = address_secret_make(ctl->arena, secret, error);
    d.address.secrets[0] = *secret;
    if (code == RESULT_OK)
        code = address_check(&d.address, error);
    return code == RESULT_OK ? put_device(ctl, tenant, &d, error) : code;
}

static enum result alert_set(struct ctl *ctl, struct error *error)
{
    struct str secret = STR_NONE;
    int tenant;
    if (!ctl_is_given(ctl, "email") && !ctl_is_given(ctl, "webhook"))
        return error_set(error, RESULT_INVALID, "alert set needs --email, --webhook or both");
    enum result code = ctl_tenant(ctl, ctl->words[0], &tenant, error);
    if (code == RESULT_OK && ctl_is_given(ctl, "email"))
        code = set_email(ctl, tenant, error);
    if (code == RESULT_OK && ctl_is_given(ctl, "webhook"))
        code = set_webhook(ctl, tenant, &secret, error);
    if (code != RESULT_OK)
        return code;
    return OUTPUT_OBJECT(ctl, error, SHOW_BOOL("email", ctl_is_given(ctl, "email")),
                         SHOW_BOOL("webhook", ctl_is_given(ctl, "webhook")), SHOW_TEXT("secret", secret));
}

static enum result alert_clear(struct ctl *ctl, struct error *error)
{
    struct db_args args = DB_ARGS(ctl->arena);
    struct db_result *rows;
    int tenant;
    enum result code = ctl_tenant(ctl, ctl->words[0], &tenant, error);
    if (code != RESULT_OK)
        return code;
    db_arg_int(&args, tenant);
    db_arg_text(&args, DEVELOPERS);
    code = ctl_run(ctl, &query_ctl_devices_remove, &args, &rows, error);
    return code == RESULT_OK ? OUTPUT_OBJECT(ctl, error, SHOW_INT("removed", db_affected(rows))) : code;
}

const struct ctl_command ctl_commands_people[] = {
    {.name = "user list",
     .words = "TENANT",
     .help = "list users",
     .needs = CTL_DB,
     .run = user_list,
     .options = {{"limit", "N", "at most so many (100)"}, {"after", "USER", "those after this id"}}},
    {.name = "user show",
     .words = "TENANT USER",
     .help = "show a user, with addresses masked",
     .needs = CTL_DB,
     .run = user_show},
    {.name = "user revoke",
     .words = "TENANT USER",
     .help = "refuse the user's tokens that were issued until now; they end within 5 seconds",
     .needs = CTL_DB,
     .run = user_revoke},
    {.name = "alert set",
     .words = "TENANT",
     .help = "where a tenant's developers are told of deliveries given up and accounts refused\n\n"
             "A webhook is signed (Standard Webhooks); its secret is shown once.",
     .needs = CTL_DB | CTL_RING,
     .run = alert_set,
     .options = {{"email", "ADDRESS", "by e-mail, through the tenant's own account"},
                 {"webhook", "URL", "by a signed webhook"},
                 {"secret", "WHSEC", "the webhook's secret (whsec_...); one is made otherwise"}}},
    {.name = "alert clear", .words = "TENANT", .help = "tell nobody", .needs = CTL_DB, .run = alert_clear},
    {0},
};
