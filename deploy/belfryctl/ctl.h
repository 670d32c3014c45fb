#ifndef BELFRY_BELFRYCTL_CTL_H
#define BELFRY_BELFRYCTL_CTL_H
/*
 * What every command of belfryctl may use, and how a command is declared.
 *
 * To add a command: a row in one of the tables ctl_commands_*[] (words, options, help, what it needs) and its
 * function; main.c parses, checks and connects before the function runs. What it shows goes through output.h,
 * so that people and programs (--json) read the same facts.
 */
#include "core/arena.h"
#include "core/config.h"
#include "core/error.h"
#include "core/str.h"
#include "io/crypto.h"
#include "io/db.h"
#include <stdbool.h>
#include <stdint.h>

enum {
    CTL_WORDS_MAX = 4,
    CTL_OPTIONS_MAX = 12, /* of one command */
    CTL_GIVEN_MAX = 1100, /* on one command line, repeats included: --to 1,000 times */
    CTL_FILE_BYTES_MAX = 1 << 20
};

struct ctl_option {
    const char *name;  /* without the dashes */
    const char *value; /* what the help calls its value; NULL: a switch */
    const char *help;
    bool required, repeats;
};

/* What main.c makes ready before the command runs. */
enum ctl_need { CTL_NOTHING = 0, CTL_DB = 1, CTL_RING = 2 };

struct ctl;
struct ctl_command {
    const char *name;  /* one or two words: "migrate", "tenant create" */
    const char *words; /* the arguments it takes, all of them required: "TENANT KEY" */
    const char *help;  /* one sentence, or several lines */
    unsigned needs;    /* enum ctl_need, or'ed */
    enum result (*run)(struct ctl *ctl, struct error *error);
    struct ctl_option options[CTL_OPTIONS_MAX]; /* ends with a name of NULL, or full */
};

struct ctl_given {
    const struct ctl_option *option;
    const char *value;
};

struct ctl {
    const struct ctl_command *command;
    const char *words[CTL_WORDS_MAX]; /* as many as the command takes */
    struct ctl_given given[CTL_GIVEN_MAX];
    int given_count;
    bool json;
    struct arena *arena;  /* lives as long as the command */
    struct config config; /* loaded if the command needs anything */
    struct db *db;        /* CTL_DB */
    struct keyring *ring; /* CTL_RING */
};

/* The tables of commands, each ending with a name of NULL. */
extern const struct ctl_command ctl_commands_setup[];      /* migrate, keys, epoch */
extern const struct ctl_command ctl_commands_tenant[];     /* tenant, origin, login */
extern const struct ctl_command ctl_commands_credential[]; /* key, issuer, token */
extern const struct ctl_command ctl_commands_account[];    /* account */
extern const struct ctl_command ctl_commands_people[];     /* user, alert */
extern const struct ctl_command ctl_commands_queue[];      /* send, queue, dead-letters, timeline */

/* The nth value given for an option (0 the first); NULL if it was not given that often. */
const char *ctl_value_at(const struct ctl *ctl, const char *option, int nth);
const char *ctl_value(const struct ctl *ctl, const char *option); /* the first; NULL if none */
bool ctl_is_given(const struct ctl *ctl, const char *option);
/* A whole number within [least, most]; fallback if it was not given. RESULT_INVALID names the option. */
enum result ctl_number(const struct ctl *ctl, const char *option, long long least, long long most,
                       long long fallback, long long *number, struct error *error) MUST_CHECK;
/* A file's bytes in the arena, at most CTL_FILE_BYTES_MAX; "-" is standard input. RESULT_INVALID says why
 * not. */
enum result ctl_read_file(struct ctl *ctl, const char *path, struct str *bytes,
                          struct error *error) MUST_CHECK;

/* One statement in its own transaction, across tenants as the role belfry_operator may. */
enum result ctl_run(struct ctl *ctl, const struct db_query *query, const struct db_args *args,
                    struct db_result **result, struct error *error) MUST_CHECK;
/* The number of the tenant with this name; RESULT_MISSING if there is none. */
enum result ctl_tenant(struct ctl *ctl, const char *name, int *tenant, struct error *error) MUST_CHECK;
/* The context under which a value of a tenant is sealed: "KIND:TENANT:ID"; a view into the arena. */
struct str ctl_context(struct ctl *ctl, const char *kind, int tenant, struct str id);
/* Seals plain; the bytes are in the arena. */
enum result ctl_seal(struct ctl *ctl, struct str context, struct str plain, struct str *sealed,
                     struct error *error) MUST_CHECK;
enum result ctl_open(struct ctl *ctl, struct str context, struct str sealed, struct str *plain,
                     struct error *error) MUST_CHECK;
/* Moves a buffer's bytes to the arena and frees it; RESULT_FAILED if it had failed. */
enum result ctl_take(struct ctl *ctl, struct buf *buf, struct str *bytes, struct error *error) MUST_CHECK;

#endif
