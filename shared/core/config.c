/*
 * Settings from the environment. The table below is all there is to know of them: reading, checking, --help
 * and the reference in the README work from it. To add a setting: a field in struct config, a row here, and
 * its line in the README (a test compares it with what config_print() writes).
 *
 * Reading is strict: a number with a unit, a word that is no choice, a secret given twice stop the start. A
 * name that begins with BELFRY_ and is in no row is only warned about, for it may be for a newer program.
 */
#include "config.h"
#include "log.h"
#include "str.h"
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SECRET_FILE_BYTES_MAX = 64 << 10, NAME_BYTES_MAX = 64 };

/* A choice is stored as the index of its word: in a bool if there are two, in an int otherwise. */
enum setting_type { SETTING_TEXT, SETTING_INT, SETTING_BOOL, SETTING_CHOICE };

struct setting {
    const char *name;
    unsigned programs; /* enum config_program, or'ed */
    enum setting_type type;
    size_t offset;
    const char *fallback;            /* the default; NULL: must be set */
    int least, most;                 /* of a number */
    const char *words;               /* of bool and choice: all of them, comma-separated, in order of value */
    bool (*check)(const char *text); /* of a text, may be NULL */
    const char *rule;                /* what check wants, as "must be …" goes on */
    bool secret;                     /* never shown; may come from the file that NAME_FILE names */
    const char *help;
};

static bool is_url(const char *text)
{
    struct str s = str_from(text);
    for (size_t i = 0; i < s.bytes; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    bool http = (str_starts(s, "https://") && s.bytes > 8) || (str_starts(s, "http://") && s.bytes > 7);
    return s.bytes == 0 || (http && text[s.bytes - 1] != '/');
}

static bool is_channel_list(const char *text)
{
    return strspn(text, "abcdefghijklmnopqrstuvwxyz,") == strlen(text) && strstr(text, ",,") == NULL &&
           text[0] != ',' && (text[0] == '\0' || text[strlen(text) - 1] != ',');
}

static bool is_redis(const char *text)
{
    struct str server = str_from(strrchr(text, '@') ? strrchr(text, '@') + 1 : text), port;
    if (server.bytes == 0)
        return text[0] == '\0';
    if (str_starts(server, "unix:"))
        return server.bytes > 6 && server.data[5] == '/';
    long long number;
    return str_cut(server, ':', &port).bytes > 0 && str_to_int(port, 1, 65535, &number);
}

#define FIELD(name) offsetof(struct config, name)
enum {
    OF_SENDERS = CONFIG_WORKER | CONFIG_SCHEDULER,
    OF_CALLERS = CONFIG_API | CONFIG_WORKER /* make outgoing connections or links */
};

static const struct setting settings[] = {
    {"BELFRY_DB", CONFIG_ALL, SETTING_TEXT, FIELD(db), .secret = true,
     .help = "PostgreSQL as a libpq connection string, such as dbname=belfry host=/run/postgresql"},
    {"BELFRY_DB_PREPARE", CONFIG_ALL, SETTING_BOOL, FIELD(db_prepare), "on", .words = "off,on",
     .help = "use prepared statements; off behind a pooler in transaction mode"},
    {"BELFRY_DB_CONNECTIONS", CONFIG_ALL, SETTING_INT, FIELD(db_connections), "8", 1, 200,
     .help = "most database connections of one process"},
    {"BELFRY_REDIS", CONFIG_ALL, SETTING_TEXT, FIELD(redis), "", .check = is_redis, .secret = true,
     .rule = "unix:/path or host:port, with user:password@ in front if needed",
     .help = "Redis as unix:/path or host:port, optionally user:password@ in front; empty: none"},
    {"BELFRY_KEYS_FILE", CONFIG_ALL, SETTING_TEXT, FIELD(keys_file), "",
     .help = "file with the keys that encrypt addresses and credentials"},
    {"BELFRY_LOG", CONFIG_ALL, SETTING_CHOICE, FIELD(log_level), "info", .words = "debug,info,warning,error",
     .help = "least level that is logged"},
    {"BELFRY_PUBLIC_URL", OF_CALLERS, SETTING_TEXT, FIELD(public_url), "", .check = is_url,
     .rule = "an http or https URL without a slash at its end",
     .help = "how browsers reach Belfry, such as https://notify.example.com"},
    {"BELFRY_LISTEN", CONFIG_API, SETTING_TEXT, FIELD(listen), "",
     .help = "unix socket to listen on; empty: the one inherited as descriptor 0"},
    {"BELFRY_THREADS", CONFIG_API, SETTING_INT, FIELD(threads), "8", 2, 256,
     .help = "threads that answer requests"},
    {"BELFRY_WAITERS_MAX", CONFIG_API, SETTING_INT, FIELD(waiters_max), "8000", 0, 60000,
     .help = "polls and streams that one process holds; further ones are answered at once"},
    {"BELFRY_WAIT_MS", CONFIG_API, SETTING_INT, FIELD(wait_ms), "25000", 0, 55000,
     .help = "longest hold of a poll"},
    {"BELFRY_RATE_SERVICE", CONFIG_API, SETTING_INT, FIELD(rate_service), "1000", 1, 1000000,
     .help = "requests a second of one app key"},
    {"BELFRY_RATE_USER", CONFIG_API, SETTING_INT, FIELD(rate_user), "50", 1, 100000,
     .help = "requests a second of one user"},
    {"BELFRY_METRICS_TOKEN", CONFIG_API, SETTING_TEXT, FIELD(metrics_token), "", .secret = true,
     .help = "bearer token for /metrics; empty: only from this machine"},
    {"BELFRY_PRIVATE_ADDRESSES", OF_CALLERS, SETTING_BOOL, FIELD(private_addresses), "refuse",
     .words = "refuse,allow",
     .help = "whether webhooks and the like may go to private and loopback addresses"},
    {"BELFRY_CA_FILE", OF_CALLERS, SETTING_TEXT, FIELD(ca_file), "",
     .help = "PEM file of authorities trusted for outgoing TLS besides the system's"},
    {"BELFRY_CHANNELS", CONFIG_WORKER, SETTING_TEXT, FIELD(channels), "", .check = is_channel_list,
     .rule = "channel names separated by commas",
     .help = "channels that this worker sends, such as email,sms; empty: all"},
    {"BELFRY_IN_FLIGHT", CONFIG_WORKER, SETTING_INT, FIELD(in_flight_max), "256", 1, 8192,
     .help = "transfers at the same time"},
    {"BELFRY_CLAIM", CONFIG_WORKER, SETTING_INT, FIELD(claim_max), "200", 1, 1000,
     .help = "deliveries that one claim takes at most"},
    {"BELFRY_LEASE_MS", OF_SENDERS, SETTING_INT, FIELD(lease_ms), "30000", 2000, 600000,
     .help = "how long a claim holds without renewal"},
    {"BELFRY_ATTEMPTS", OF_SENDERS, SETTING_INT, FIELD(attempts_max), "8", 1, 50,
     .help = "attempts before a delivery becomes a dead letter"},
    {"BELFRY_RETRY_BASE_MS", OF_SENDERS, SETTING_INT, FIELD(retry_base_ms), "2000", 10, 3600000,
     .help = "wait before the first retry at most; doubles with each one"},
    {"BELFRY_RETRY_CAP_MS", OF_SENDERS, SETTING_INT, FIELD(retry_cap_ms), "900000", 10, 86400000,
     .help = "longest wait before a retry"},
    {"BELFRY_KEEP_INBOX_DAYS", CONFIG_SCHEDULER, SETTING_INT, FIELD(keep_inbox_days), "90", 1, 3650,
     .help = "days that notifications are kept"},
    {"BELFRY_KEEP_EVENT_DAYS", CONFIG_SCHEDULER, SETTING_INT, FIELD(keep_event_days), "7", 1, 365,
     .help = "days that events of rooms, chats and topics are kept"},
    {"BELFRY_KEEP_DELIVERY_DAYS", CONFIG_SCHEDULER, SETTING_INT, FIELD(keep_delivery_days), "30", 1, 3650,
     .help = "days that deliveries and their attempts are kept"},
};
enum { SETTINGS = sizeof settings / sizeof *settings };

static void *field_of(struct config *config, const struct setting *s)
{
    return (char *)config + s->offset;
}

static bool is_word_at(const char *words, const char *text, int *index)
{
    struct str rest = str_from(words);
    for (*index = 0; str_is_set(rest); ++*index)
        if (str_is(str_cut(rest, ',', &rest), text))
            return true;
    return false;
}

static enum result store_text(const struct setting *s, const char *text, char **field, struct error *error)
{
    if (s->check != NULL && !s->check(text))
        return error_set(error, RESULT_INVALID, "%s must be %s", s->name, s->rule);
    char *copy = strdup(text);
    if (copy == NULL)
        return error_set(error, RESULT_FAILED, "could not keep %s: no memory left", s->name);
    free(*field);
    *field = copy;
    return RESULT_OK;
}

static enum result store(struct config *config, const struct setting *s, const char *text,
                         struct error *error)
{
    void *field = field_of(config, s);
    if (s->type == SETTING_TEXT)
        return store_text(s, text, field, error);
    if (s->type == SETTING_INT) {
        long long number;
        if (!str_to_int(str_from(text), s->least, s->most, &number))
            return error_set(error, RESULT_INVALID, "%s must be a whole number from %d to %d, not \"%.40s\"",
                             s->name, s->least, s->most, text);
        *(int *)field = (int)number;
        return RESULT_OK;
    }
    int index;
    if (!is_word_at(s->words, text, &index))
        return error_set(error, RESULT_INVALID, "%s must be one of %s, not \"%.40s\"", s->name, s->words,
                         text);
    if (s->type == SETTING_BOOL)
        *(bool *)field = index == 1;
    else
        *(int *)field = index;
    return RESULT_OK;
}

/* The text of a secret's file, less one newline at its end; the caller frees it. NULL after error_set(). */
static char *read_secret(const char *name, const char *path, struct error *error)
{
    FILE *file = fopen(path, "re");
    char *text = malloc(SECRET_FILE_BYTES_MAX + 1);
    const char *fault = file == NULL ? strerror(errno) : text == NULL ? "no memory left" : NULL;
    size_t bytes = 0;
    if (file != NULL && text != NULL) {
        bytes = fread(text, 1, SECRET_FILE_BYTES_MAX + 1, file);
        if (ferror(file))
            fault = strerror(errno);
        else if (bytes > SECRET_FILE_BYTES_MAX || memchr(text, '\0', bytes) != NULL)
            fault = "it is no text of at most 64 KiB";
    }
    if (file != NULL)
        fclose(file);
    if (fault != NULL || text == NULL) {
        error_set(error, RESULT_INVALID, "%s_FILE: could not read %s: %s", name, path, fault);
        free(text);
        return NULL;
    }
    if (bytes > 0 && text[bytes - 1] == '\n')
        bytes--;
    text[bytes] = '\0';
    return text;
}

static enum result load_setting(struct config *config, const struct setting *s, struct error *error)
{
    char file_name[NAME_BYTES_MAX];
    snprintf(file_name, sizeof file_name, "%s_FILE", s->name);
    const char *text = getenv(s->name), *path = s->secret ? getenv(file_name) : NULL;
    if (path != NULL && text != NULL)
        return error_set(error, RESULT_INVALID, "%s and %s are both set; only one may be", s->name,
                         file_name);
    if (path != NULL) {
        char *secret = read_secret(s->name, path, error);
        if (secret == NULL)
            return RESULT_INVALID;
        enum result result = store(config, s, secret, error);
        free(secret);
        return result;
    }
    if (text == NULL)
        text = s->fallback;
    if (text == NULL || (s->fallback == NULL && text[0] == '\0'))
        return error_set(error, RESULT_INVALID, "%s must be set: %s", s->name, s->help);
    return store(config, s, text, error);
}

static bool is_known(struct str name)
{
    for (size_t i = 0; i < SETTINGS; i++) {
        struct str known = str_from(settings[i].name);
        if (str_equal(name, known))
            return true;
        if (settings[i].secret && str_starts(name, known.data) &&
            str_is((struct str){name.data + known.bytes, name.bytes - known.bytes}, "_FILE"))
            return true;
    }
    return false;
}

static void warn_of_unknown(void)
{
    for (char **entry = environ; *entry != NULL; entry++) {
        struct str value, name = str_cut(str_from(*entry), '=', &value);
        if (str_starts(name, "BELFRY_") && !is_known(name))
            log_warning("setting not known", LOG_STR("name", name));
    }
}

enum result config_load(struct config *config, enum config_program program, struct error *error)
{
    *config = (struct config){0};
    enum result result = RESULT_OK;
    for (size_t i = 0; result == RESULT_OK && i < SETTINGS; i++) {
        if (settings[i].programs & program)
            result = load_setting(config, &settings[i], error);
        else
            result = store(config, &settings[i], settings[i].fallback ? settings[i].fallback : "", error);
    }
    if (result == RESULT_OK && config->retry_cap_ms < config->retry_base_ms)
        result =
            error_set(error, RESULT_INVALID, "BELFRY_RETRY_CAP_MS must not be below BELFRY_RETRY_BASE_MS");
    if (result != RESULT_OK)
        config_free(config);
    else
        warn_of_unknown();
    return result;
}

void config_free(struct config *config)
{
    for (size_t i = 0; i < SETTINGS; i++)
        if (settings[i].type == SETTING_TEXT)
            free(*(char **)field_of(config, &settings[i]));
    *config = (struct config){0};
}

/* What a value may be, in words. */
static void print_rule(FILE *out, const struct setting *s)
{
    if (s->type == SETTING_INT)
        fprintf(out, "%d to %d", s->least, s->most);
    else if (s->type != SETTING_TEXT)
        for (const char *c = s->words; *c != '\0'; c++)
            fputs(*c == ',' ? " or " : (const char[]){*c, '\0'}, out);
    else
        fputs(s->secret ? "text, secret" : "text", out);
}

static void print_programs(FILE *out, unsigned programs)
{
    static const char *const names[] = {"api", "worker", "scheduler", "ctl"};
    const char *separator = "";
    if (programs == CONFIG_ALL) {
        fputs("all", out);
        return;
    }
    for (unsigned i = 0; i < 4; i++)
        if (programs & (1U << i)) {
            fprintf(out, "%s%s", separator, names[i]);
            separator = ", ";
        }
}

static void print_reference(FILE *out)
{
    fputs("| setting | programs | value | default | |\n| --- | --- | --- | --- | --- |\n", out);
    for (size_t i = 0; i < SETTINGS; i++) {
        const struct setting *s = &settings[i];
        fprintf(out, "| `%s` | ", s->name);
        print_programs(out, s->programs);
        fputs(" | ", out);
        print_rule(out, s);
        fprintf(out, " | %s | %s |\n", s->fallback == NULL ? "required" : s->fallback, s->help);
    }
}

void config_print(FILE *out, enum config_program program)
{
    if (program == CONFIG_ALL) {
        print_reference(out);
        return;
    }
    for (size_t i = 0; i < SETTINGS; i++) {
        const struct setting *s = &settings[i];
        if (!(s->programs & program))
            continue;
        fprintf(out, "  %-26s %s (", s->name, s->help);
        print_rule(out, s);
        if (s->fallback == NULL)
            fputs("; required", out);
        else if (s->fallback[0] != '\0')
            fprintf(out, "; default %s", s->fallback);
        fputs(s->secret ? "; or _FILE)\n" : ")\n", out);
    }
}
