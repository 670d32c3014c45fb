/*
 * App keys of services, issuers of user tokens, and tokens for trying things out.
 *
 * An app secret is shown once, when it is made: what is stored is its MAC under the key ring. An issuer's key
 * is sealed; the algorithm is pinned with it.
 */
#include "core/clock.h"
#include "deploy/belfryctl/ctl.h"
#include "deploy/belfryctl/output.h"
#include "domain/auth.h"
#include "format/check.h"
#include "format/json.h"
#include "format/text.h"
#include "queries.h"
#include <string.h>

enum {
    KEY_ID_CHARS = 20,
    SECRET_BYTES = 32,
    LABEL_CHARS_MAX = 100,
    TOKEN_TTL_S = 3600,
    TOKEN_TTL_S_MAX = 366 * 24 * 3600,
    TOKEN_BYTES_MAX = 16384
};

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static const struct scope_name {
    unsigned scope;
    const char *name;
} scope_names[] = {
    {SCOPE_SEND, "send"}, {SCOPE_SEND_URGENT, "send:urgent"}, {SCOPE_READ, "read"}, {SCOPE_USERS, "users"},
    {SCOPE_OPS, "ops"},
};
enum { SCOPES = sizeof scope_names / sizeof *scope_names };

/* "bk_" and random letters and digits, each as likely as any other. */
static enum result make_key_id(struct ctl *ctl, struct str *id, struct error *error)
{
    struct buf out = BUF_INIT(64);
    buf_add_text(&out, "bk_");
    while (buf_ok(&out) && out.bytes < 3 + KEY_ID_CHARS) {
        unsigned char random;
        enum result code = crypto_random(&random, 1, error);
        if (code != RESULT_OK) {
            buf_free(&out);
            return code;
        }
        if (random < 4 * 62) /* others would favour some */
            buf_add_char(&out, base62[random % 62]);
    }
    return ctl_take(ctl, &out, id, error);
}

/* prefix and 32 random bytes as base64url; raw, if not NULL, gets the bytes. */
static enum result make_secret(struct ctl *ctl, const char *prefix, unsigned char *raw, struct str *secret,
                               struct error *error)
{
    unsigned char bytes[SECRET_BYTES];
    struct buf out = BUF_INIT(128);
    enum result code = crypto_random(bytes, sizeof bytes, error);
    if (code != RESULT_OK)
        return code;
    buf_add_text(&out, prefix);
    text_base64url(&out, bytes, sizeof bytes);
    if (raw)
        memcpy(raw, bytes, sizeof bytes);
    return ctl_take(ctl, &out, secret, error);
}

static enum result parse_scopes(const char *list, unsigned *scopes, struct error *error)
{
    struct str rest = str_from(list);
    *scopes = 0;
    while (str_is_set(rest)) {
        struct str name = str_cut(rest, ',', &rest);
        unsigned scope = auth_scope_parse(name);
        if (!scope)
            return error_set(error, RESULT_INVALID,
                             "\"" STR_FMT "\" is no scope: send, send:urgent, read, users or ops",
                             STR_ARG(name));
        *scopes |= scope;
    }
    return RESULT_OK;
}

static enum result key_create(struct ctl *ctl, struct error *error)
{
    struct db_args args = DB_ARGS(ctl->arena);
    const char *label = ctl_value(ctl, "label") ? ctl_value(ctl, "label") : "";
    struct str id, secret;
    unsigned scopes;
    int tenant;
    if (!str_is_utf8(str_from(label)) || str_utf8_length(str_from(label)) > LABEL_CHARS_MAX)
        return error_set(error, RESULT_INVALID, "--label must be UTF-8 of at most %d characters",
                         LABEL_CHARS_MAX);
    enum result code = parse_scopes(ctl_value(ctl, "scopes"), &scopes, error);
    if (code == RESULT_OK)
        code = ctl_tenant(ctl, ctl->words[0], &tenant, error);
    if (code == RESULT_OK)
        code = make_key_id(ctl, &id, error);
    if (code == RESULT_OK)
        code = make_secret(ctl, "bs_", NULL, &secret, error);
    if (code != RESULT_OK)
        return code;
    unsigned char mac[SHA256_BYTES];
    struct str purpose = str_from(arena_printf(ctl->arena, "app-secret:" STR_FMT, STR_ARG(id)));
    keyring_auth_mac(ctl->ring, purpose, secret, mac);
    db_arg_int(&args, tenant);
    db_arg_text(&args, id);
    db_arg_bytes(&args, mac, sizeof mac);
    db_arg_int(&args, scopes);
    db_arg_bool(&args, ctl_is_given(ctl, "sandbox"));
    db_arg_cstr(&args, label);
    code = ctl_run(ctl, &query_ctl_key_create, &args, NULL, error);
    if (code != RESULT_OK)
        return code;
    return OUTPUT_OBJECT(ctl, error, SHOW_TEXT("appKey", id), SHOW_TEXT("appSecret", secret));
}

static enum result key_list(struct ctl *ctl, struct error *error)
{
    static const struct output_column columns[] = {{"appKey", OUTPUT_TEXT},    {"scopes", OUTPUT_TEXT},
                                                   {"sandbox", OUTPUT_BOOL},   {"label", OUTPUT_TEXT},
                                                   {"createdAt", OUTPUT_TIME}, {"revokedAt", OUTPUT_TIME}};
    struct db_args args = DB_ARGS(ctl->arena);
    struct db_result *rows;
    struct db_array names, bits;
    int tenant;
    enum result code = ctl_tenant(ctl, ctl->words[0], &tenant, error);
    if (code != RESULT_OK)
        return code;
    db_arg_int(&args, tenant);
    db_array_begin(&names, &args);
    for (int i = 0; i < SCOPES; i++)
        db_array_text(&names, str_from(scope_names[i].name));
    db_array_end(&names);
    db_array_begin(&bits, &args);
    for (int i = 0; i < SCOPES; i++)
        db_array_int(&bits, scope_names[i].scope);
    db_array_end(&bits);
    code = ctl_run(ctl, &query_ctl_key_list, &args, &rows, error);
    return code == RESULT_OK ? output_list(ctl, "keys", columns, 6, rows, error) : code;
}

/* A change to one thing of a tenant, named by the second word. */
static enum result change_one(struct ctl *ctl, const struct db_query *query, const char *what,
                              const char *name, struct error *error)
{
    struct db_args args = DB_ARGS(ctl->arena);
    struct db_result *rows;
    int tenant;
    enum result code = ctl_tenant(ctl, ctl->words[0], &tenant, error);
    if (code != RESULT_OK)
        return code;
    db_arg_int(&args, tenant);
    db_arg_cstr(&args, name);
    code = ctl_run(ctl, query, &args, &rows, error);
    if (code != RESULT_OK)
        return code;
    if (db_affected(rows) == 0)
        return error_set(error, RESULT_MISSING, "the tenant has no %s \"%.128s\"", what, name);
    return OUTPUT_OBJECT(ctl, error, SHOW_CSTR(what, name), SHOW_BOOL("revoked", true));
}

static enum result key_revoke(struct ctl *ctl, struct error *error)
{
    return change_one(ctl, &query_ctl_key_revoke, "key", ctl->words[1], error);
}

static enum result issuer_revoke(struct ctl *ctl, struct error *error)
{
    return change_one(ctl, &query_ctl_issuer_revoke, "issuer", ctl->words[1], error);
}

/* ---- issuers ---- */

/* The key as it is sealed: raw bytes of an HS256 secret, PEM otherwise. *shown is a secret made here. */
static enum result issuer_key(struct ctl *ctl, enum jws_algorithm algorithm, struct str *key,
                              struct str *shown, struct error *error)
{
    const char *secret_file = ctl_value(ctl, "secret-file"), *public_file = ctl_value(ctl, "public-key");
    *shown = STR_NONE;
    if (algorithm != JWS_HS256) {
        if (!public_file || secret_file)
            return error_set(error, RESULT_INVALID, "this algorithm needs --public-key FILE, a PEM file");
        return ctl_read_file(ctl, public_file, key, error);
    }
    if (public_file)
        return error_set(error, RESULT_INVALID, "HS256 has no public key: use --secret-file, or neither");
    if (secret_file) {
        enum result code = ctl_read_file(ctl, secret_file, key, error);
        if (code == RESULT_OK && key->bytes > 0 && key->data[key->bytes - 1] == '\n')
            key->bytes--;
        return code;
    }
    unsigned char *raw = arena_alloc(ctl->arena, SECRET_BYTES);
    if (!raw)
        return error_set(error, RESULT_FAILED, "could not make a secret: no memory");
    *key = (struct str){(const char *)raw, SECRET_BYTES};
    return make_secret(ctl, "", raw, shown, error);
}

static enum result check_key(enum jws_algorithm algorithm, struct str key, struct error *error)
{
    struct jws_key *loaded = NULL;
    enum result code = jws_key_load(algorithm, key, &loaded, error);
    jws_key_free(loaded);
    return code;
}

static enum result issuer_create(struct ctl *ctl, struct error *error)
{
    struct db_args args = DB_ARGS(ctl->arena);
    struct str name = str_from(ctl_value(ctl, "name")), key = STR_NONE, shown, sealed;
    const char *algorithm_name = ctl_value(ctl, "alg");
    int tenant, algorithm = jws_algorithm_parse(str_from(algorithm_name));
    if (algorithm < 0)
        return error_set(error, RESULT_INVALID, "--alg must be HS256, RS256, ES256 or EdDSA");
    if (name.bytes == 0 || name.bytes > 255 || !str_is_utf8(name))
        return error_set(error, RESULT_INVALID,
                         "--name must be 1 to 255 bytes of UTF-8, as in the claim iss");
    enum result code = ctl_tenant(ctl, ctl->words[0], &tenant, error);
    if (code == RESULT_OK)
        code = issuer_key(ctl, (enum jws_algorithm)algorithm, &key, &shown, error);
    if (code == RESULT_OK)
        code = check_key((enum jws_algorithm)algorithm, key, error);
    if (code == RESULT_OK)
        code = ctl_seal(ctl, ctl_context(ctl, "issuer", tenant, name), key, &sealed, error);
    if (code != RESULT_OK)
        return code;
    db_arg_int(&args, tenant);
    db_arg_text(&args, name);
    db_arg_cstr(&args, algorithm_name);
    db_arg_bytes(&args, sealed.data, sealed.bytes);
    code = ctl_run(ctl, &query_ctl_issuer_create, &args, NULL, error);
    if (code == RESULT_CONFLICT)
        return error_set(error, code,
                         "the issuer \"" STR_FMT "\" exists already; names are unique among all tenants",
                         STR_ARG(name));
    if (code != RESULT_OK)
        return code;
    if (!str_is_set(shown))
        return OUTPUT_OBJECT(ctl, error, SHOW_TEXT("issuer", name));
    return OUTPUT_OBJECT(ctl, error, SHOW_TEXT("issuer", name), SHOW_TEXT("secret", shown));
}

static enum result issuer_list(struct ctl *ctl, struct error *error)
{
    static const struct output_column columns[] = {{"issuer", OUTPUT_TEXT},
                                                   {"algorithm", OUTPUT_TEXT},
                                                   {"createdAt", OUTPUT_TIME},
                                                   {"revokedAt", OUTPUT_TIME}};
    struct db_args args = DB_ARGS(ctl->arena);
    struct db_result *rows;
    int tenant;
    enum result code = ctl_tenant(ctl, ctl->words[0], &tenant, error);
    if (code != RESULT_OK)
        return code;
    db_arg_int(&args, tenant);
    code = ctl_run(ctl, &query_ctl_issuer_list, &args, &rows, error);
    return code == RESULT_OK ? output_list(ctl, "issuers", columns, 4, rows, error) : code;
}

/* ---- tokens ---- */

/* An HS256 issuer's signing key. The caller frees it. */
static enum result open_issuer(struct ctl *ctl, int tenant, struct str name, struct jws_key **key,
                               struct error *error)
{
    struct db_args args = DB_ARGS(ctl->arena);
    struct db_result *rows;
    struct str secret;
    db_arg_int(&args, tenant);
    db_arg_text(&args, name);
    enum result code = ctl_run(ctl, &query_ctl_issuer_find, &args, &rows, error);
    if (code != RESULT_OK)
        return code;
    if (db_rows(rows) == 0)
        return error_set(error, RESULT_MISSING, "the tenant has no issuer \"" STR_FMT "\"", STR_ARG(name));
    if (!str_is(db_text(rows, 0, 0), "HS256"))
        return error_set(
            error, RESULT_INVALID,
            "cannot sign for this issuer: only HS256 keys are known here, others are public keys");
    code = ctl_open(ctl, ctl_context(ctl, "issuer", tenant, name), db_bytes(rows, 0, 1, ctl->arena), &secret,
                    error);
    return code == RESULT_OK ? jws_key_load(JWS_HS256, secret, key, error) : code;
}

static enum result sign_token(struct ctl *ctl, const struct jws_key *key, struct str issuer, struct str user,
                              long long ttl_s, struct str *token, struct error *error)
{
    struct buf claims = BUF_INIT(4096), out = BUF_INIT(TOKEN_BYTES_MAX);
    struct str payload;
    int64_t now_s = clock_now_us() / 1000000;
    json_open(&claims, '{');
    json_key(&claims, "iss");
    json_text(&claims, issuer);
    json_key(&claims, "sub");
    json_text(&claims, user);
    json_key(&claims, "iat");
    json_int(&claims, now_s);
    json_key(&claims, "exp");
    json_int(&claims, now_s + ttl_s);
    json_close(&claims, '}');
    enum result code = ctl_take(ctl, &claims, &payload, error);
    if (code == RESULT_OK)
        code = jws_sign(key, "", payload, &out, error);
    if (code == RESULT_OK)
        return ctl_take(ctl, &out, token, error);
    buf_free(&out);
    return code;
}

static enum result token_create(struct ctl *ctl, struct error *error)
{
    struct str issuer = str_from(ctl_value(ctl, "issuer")), user = str_from(ctl_value(ctl, "user")), token;
    struct jws_key *key = NULL;
    long long ttl_s;
    int tenant;
    if (!check_id(user))
        return error_set(error, RESULT_INVALID, "--user must be 1 to 128 of A-Z a-z 0-9 . _ ~ @ | -");
    enum result code = ctl_number(ctl, "ttl", 1, TOKEN_TTL_S_MAX, TOKEN_TTL_S, &ttl_s, error);
    if (code == RESULT_OK)
        code = ctl_tenant(ctl, ctl->words[0], &tenant, error);
    if (code == RESULT_OK)
        code = open_issuer(ctl, tenant, issuer, &key, error);
    if (code == RESULT_OK)
        code = sign_token(ctl, key, issuer, user, ttl_s, &token, error);
    jws_key_free(key);
    return code == RESULT_OK ? OUTPUT_OBJECT(ctl, error, SHOW_TEXT("token", token)) : code;
}

const struct ctl_command ctl_commands_credential[] = {
    {.name = "key create",
     .words = "TENANT",
     .help = "make an app key for a service\n\nThe secret is shown once and cannot be shown again.",
     .needs = CTL_DB | CTL_RING,
     .run = key_create,
     .options = {{"scopes", "LIST", "comma-separated: send, send:urgent, read, users, ops", .required = true},
                 {"sandbox", NULL, "what it sends is planned and rendered, and reaches nobody"},
                 {"label", "TEXT", "what it is for"}}},
    {.name = "key list", .words = "TENANT", .help = "list app keys", .needs = CTL_DB, .run = key_list},
    {.name = "key revoke",
     .words = "TENANT APP_KEY",
     .help = "end an app key; it stops working within 5 seconds",
     .needs = CTL_DB,
     .run = key_revoke},
    {.name = "issuer create",
     .words = "TENANT",
     .help = "trust an issuer of user tokens (JWT)\n\n"
             "For HS256 without --secret-file a secret is made and shown once, as base64url of its bytes.",
     .needs = CTL_DB | CTL_RING,
     .run = issuer_create,
     .options = {{"name", "ISS", "the claim iss of its tokens; unique among all tenants", .required = true},
                 {"alg", "ALGORITHM", "HS256, RS256, ES256 or EdDSA", .required = true},
                 {"secret-file", "FILE",
                  "HS256: the secret's bytes (32 or more), less one newline at the end"},
                 {"public-key", "FILE", "others: the public key in PEM"}}},
    {.name = "issuer list", .words = "TENANT", .help = "list issuers", .needs = CTL_DB, .run = issuer_list},
    {.name = "issuer revoke",
     .words = "TENANT ISS",
     .help = "no longer trust an issuer",
     .needs = CTL_DB,
     .run = issuer_revoke},
    {.name = "token create",
     .words = "TENANT",
     .help = "sign a user token, for issuers with HS256",
     .needs = CTL_DB | CTL_RING,
     .run = token_create,
     .options = {{"issuer", "ISS", "whose secret signs it", .required = true},
                 {"user", "USER", "the claim sub", .required = true},
                 {"ttl", "SECONDS", "how long it is valid (3600)"}}},
    {0},
};
