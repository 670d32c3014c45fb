/*
 * belfryctl: what an operator does in a shell.
 *
 * The commands are rows of tables (see ctl.h), one file per noun. This file finds the row, checks the command
 * line against it, prints --help from it, makes ready what it needs (settings, database, key ring), runs it
 * and turns its result into an exit code:
 *
 *   0 done · 1 refused (not there, exists already) · 64 the command line is wrong · 65 a value is wrong
 *   69 a server is unavailable · 70 a defect · 77 not allowed · 78 a setting is wrong
 *
 * Errors go to standard error as one sentence, answers to standard output.
 */
#include "core/log.h"
#include "deploy/belfryctl/ctl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

enum { CTL_ARENA_BYTES_MAX = 256 << 20, CTL_CONNECT_MS = 10000, CTL_REFUSED = 1 };

static const struct ctl_command *const tables[] = {
    ctl_commands_setup,   ctl_commands_tenant, ctl_commands_credential,
    ctl_commands_account, ctl_commands_people, ctl_commands_queue,
};
enum { TABLES = sizeof tables / sizeof *tables };

/* ---- help ---- */

static void print_usage_line(FILE *out, const struct ctl_command *command)
{
    fprintf(out, "belfryctl %s%s%s", command->name, command->words[0] ? " " : "", command->words);
    for (int i = 0; i < CTL_OPTIONS_MAX && command->options[i].name; i++) {
        const struct ctl_option *o = &command->options[i];
        fprintf(out, o->required ? " --%s" : " [--%s", o->name);
        if (o->value)
            fprintf(out, " %s", o->value);
        fputs(o->required ? "" : "]", out);
        fputs(o->repeats ? "..." : "", out);
    }
    fputc('\n', out);
}

static void print_command_help(const struct ctl_command *command)
{
    fputs("Usage: ", stdout);
    print_usage_line(stdout, command);
    printf("\n%s\n\nOptions:\n", command->help);
    for (int i = 0; i < CTL_OPTIONS_MAX && command->options[i].name; i++) {
        const struct ctl_option *o = &command->options[i];
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
        printf("  %-26s %s\n", left, o->help);
    }
    printf("  %-26s %s\n  %-26s %s\n", "--json", "answer in JSON", "--help", "this text");
}

static void print_help(FILE *out)
{
    fputs("belfryctl administers Belfry, a notification backend.\n\n", out);
    for (size_t t = 0; t < TABLES; t++)
        for (const struct ctl_command *c = tables[t]; c->name; c++) {
            char left[64];
            snprintf(left, sizeof left, "%s %s", c->name, c->words);
            fprintf(out, "  %-32s %.*s\n", left, (int)strcspn(c->help, "\n"), c->help);
        }
    fputs("\nEvery command takes --help and --json; belfryctl --version and belfryctl --settings (those of "
          "all\n"
          "programs, as the README has them) stand alone. Settings come from the environment:\n\n",
          out);
    config_print(out, CONFIG_CTL);
    fputs("\nExit codes: 0 done, 1 refused, 64 wrong command line, 65 wrong value, 69 unavailable,\n"
          "70 internal, 77 not allowed, 78 wrong setting.\n",
          out);
}

/* ---- the command line ---- */

static const struct ctl_command *find_command(int argc, char **argv, int *used)
{
    for (int words = argc < 2 ? argc : 2; words > 0; words--) {
        char name[64];
        snprintf(name, sizeof name, "%s%s%s", argv[0], words == 2 ? " " : "", words == 2 ? argv[1] : "");
        for (size_t t = 0; t < TABLES; t++)
            for (const struct ctl_command *c = tables[t]; c->name; c++)
                if (strcmp(c->name, name) == 0) {
                    *used = words;
                    return c;
                }
    }
    return NULL;
}

static int count_words(const char *words)
{
    int count = words[0] != '\0';
    for (; *words; words++)
        count += *words == ' ';
    return count;
}

static const struct ctl_option *find_option(const struct ctl_command *command, struct str name)
{
    for (int i = 0; i < CTL_OPTIONS_MAX && command->options[i].name; i++)
        if (str_is(name, command->options[i].name))
            return &command->options[i];
    return NULL;
}

/* One word that begins with --; may take the next as its value. */
static enum result take_option(struct ctl *ctl, int argc, char **argv, int *at, struct error *error)
{
    struct str value, name = str_cut(str_from(argv[*at] + 2), '=', &value);
    const struct ctl_option *option = find_option(ctl->command, name);
    if (!option)
        return error_set(error, RESULT_INVALID, "unknown option --" STR_FMT, STR_ARG(name));
    if (!option->repeats && ctl_is_given(ctl, option->name))
        return error_set(error, RESULT_INVALID, "--%s was given twice", option->name);
    if (ctl->given_count == CTL_GIVEN_MAX)
        return error_set(error, RESULT_INVALID, "too many options");
    struct ctl_given *given = &ctl->given[ctl->given_count];
    given->option = option;
    given->value = str_is_set(value) ? value.data : "";
    if (!option->value && str_is_set(value))
        return error_set(error, RESULT_INVALID, "--%s takes no value", option->name);
    if (option->value && !str_is_set(value)) {
        if (*at + 1 >= argc)
            return error_set(error, RESULT_INVALID, "--%s needs a value: %s", option->name, option->value);
        given->value = argv[++*at];
    }
    ctl->given_count++;
    return RESULT_OK;
}

static enum result check_command_line(const struct ctl *ctl, int words, struct error *error)
{
    int wanted = count_words(ctl->command->words);
    if (words < wanted)
        return error_set(error, RESULT_INVALID, "belfryctl %s needs: %s", ctl->command->name,
                         ctl->command->words);
    for (int i = 0; i < CTL_OPTIONS_MAX && ctl->command->options[i].name; i++)
        if (ctl->command->options[i].required && !ctl_is_given(ctl, ctl->command->options[i].name))
            return error_set(error, RESULT_INVALID, "belfryctl %s needs --%s", ctl->command->name,
                             ctl->command->options[i].name);
    return RESULT_OK;
}

/* argv begins after the command's name. */
static enum result parse(struct ctl *ctl, int argc, char **argv, bool *help, struct error *error)
{
    int words = 0, wanted = count_words(ctl->command->words);
    bool options = true;
    for (int at = 0; at < argc; at++) {
        enum result code = RESULT_OK;
        if (options && strcmp(argv[at], "--") == 0)
            options = false;
        else if (options && (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0))
            *help = true;
        else if (options && strcmp(argv[at], "--json") == 0)
            ctl->json = true;
        else if (options && strncmp(argv[at], "--", 2) == 0)
            code = take_option(ctl, argc, argv, &at, error);
        else if (words == wanted)
            code = error_set(error, RESULT_INVALID, "unexpected argument \"%.60s\"", argv[at]);
        else
            ctl->words[words++] = argv[at];
        if (code != RESULT_OK)
            return code;
    }
    return *help ? RESULT_OK : check_command_line(ctl, words, error);
}

/* ---- running ---- */

static int exit_code(enum result code)
{
    switch (code) {
    case RESULT_OK:
        return EX_OK;
    case RESULT_INVALID:
        return EX_DATAERR;
    case RESULT_MISSING:
    case RESULT_CONFLICT:
        return CTL_REFUSED;
    case RESULT_FORBIDDEN:
        return EX_NOPERM;
    case RESULT_BUSY:
    case RESULT_OFFLINE:
        return EX_UNAVAILABLE;
    case RESULT_FAILED:
        break;
    }
    return EX_SOFTWARE;
}

/* Settings, key ring and a connection that is opened when first used. */
static enum result make_ready(struct ctl *ctl, struct error *error)
{
    if (ctl->command->needs == CTL_NOTHING)
        return RESULT_OK;
    enum result code = config_load(&ctl->config, CONFIG_CTL, error);
    if (code != RESULT_OK)
        return code;
    if ((ctl->command->needs & CTL_RING) && ctl->config.keys_file[0] == '\0')
        return error_set(error, RESULT_INVALID,
                         "BELFRY_KEYS_FILE must be set: belfryctl %s needs the key ring", ctl->command->name);
    if (ctl->command->needs & CTL_RING)
        code = keyring_load(ctl->config.keys_file, &ctl->ring, error);
    if (code != RESULT_OK || !(ctl->command->needs & CTL_DB))
        return code;
    const struct db_settings settings = {.conninfo = ctl->config.db,
                                         .application = "belfryctl",
                                         .prepare = false,
                                         .connect_timeout_ms = CTL_CONNECT_MS};
    ctl->db = db_open(&settings);
    return ctl->db ? RESULT_OK : error_set(error, RESULT_FAILED, "could not start: no memory");
}

static int run(struct ctl *ctl)
{
    struct error error = {0};
    enum result code = make_ready(ctl, &error);
    int status = EX_CONFIG;
    if (code == RESULT_OK) {
        code = ctl->command->run(ctl, &error);
        status = exit_code(code);
    }
    if (code != RESULT_OK)
        fprintf(stderr, "belfryctl: %s\n", error.text);
    db_close(ctl->db);
    keyring_free(ctl->ring);
    config_free(&ctl->config);
    return status;
}

int main(int argc, char **argv)
{
    int used = 0;
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(argc < 2 ? stderr : stdout);
        return argc < 2 ? EX_USAGE : EX_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("belfryctl " BELFRY_VERSION);
        return EX_OK;
    }
    if (strcmp(argv[1], "--settings") == 0) {
        config_print(stdout, CONFIG_ALL);
        return EX_OK;
    }
    struct ctl ctl = {.command = find_command(argc - 1, argv + 1, &used)};
    if (!ctl.command) {
        fprintf(stderr, "belfryctl: unknown command \"%.60s\"; belfryctl --help lists them\n", argv[1]);
        return EX_USAGE;
    }
    struct error error;
    bool help = false;
    if (parse(&ctl, argc - 1 - used, argv + 1 + used, &help, &error) != RESULT_OK) {
        fprintf(stderr, "belfryctl: %s\nUsage: ", error.text);
        print_usage_line(stderr, ctl.command);
        return EX_USAGE;
    }
    if (help) {
        print_command_help(ctl.command);
        return EX_OK;
    }
    log_open("belfryctl", LOG_WARNING);
    ctl.arena = arena_create(CTL_ARENA_BYTES_MAX);
    int status = ctl.arena ? run(&ctl) : EX_SOFTWARE;
    arena_destroy(ctl.arena);
    return status;
}
