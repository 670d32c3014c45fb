/*
 * The commands around an installation: its schema, its key ring, its epoch.
 */
#include "core/str.h"
#include "deploy/belfryctl/migrate.h"
#include "deploy/belfryctl/output.h"
#include "deploy/belfryctl/reseal.h"
#include "queries.h"

static enum result keys_init(struct ctl *ctl, struct error *error)
{
    enum result code = keyring_create(ctl->words[0], error);
    return code == RESULT_OK ? OUTPUT_OBJECT(ctl, error, SHOW_CSTR("file", ctl->words[0])) : code;
}

static enum result keys_rotate(struct ctl *ctl, struct error *error)
{
    enum result code = keyring_rotate(ctl->words[0], error);
    return code == RESULT_OK ? OUTPUT_OBJECT(ctl, error, SHOW_CSTR("file", ctl->words[0])) : code;
}

static enum result epoch_renew(struct ctl *ctl, struct error *error)
{
    struct db_result *rows;
    enum result code = ctl_run(ctl, &query_ctl_epoch_renew, NULL, &rows, error);
    if (code != RESULT_OK)
        return code;
    if (db_rows(rows) != 1)
        return error_set(error, RESULT_MISSING, "cannot renew the epoch: the database was never migrated");
    return OUTPUT_OBJECT(ctl, error, SHOW_TEXT("epoch", db_text(rows, 0, 0)));
}

const struct ctl_command ctl_commands_setup[] = {
    {.name = "migrate",
     .words = "",
     .help = "make or update the schema of the database BELFRY_DB\n\n"
             "The first time, BELFRY_DB must name a role that may create roles. Several processes may run\n"
             "this at once. A database that a newer release has migrated is refused.",
     .needs = CTL_DB,
     .run = migrate_run},
    {.name = "keys init",
     .words = "FILE",
     .help = "make a key ring\n\nKeep a copy of FILE apart from the backups of the database: without it,\n"
             "addresses and credentials in them cannot be read.",
     .run = keys_init},
    {.name = "keys rotate",
     .words = "FILE",
     .help =
         "add a new current key to a key ring\n\nGive the file to every process and restart them, then run\n"
         "belfryctl keys reseal.",
     .run = keys_rotate},
    {.name = "keys reseal",
     .words = "",
     .help = "encrypt everything anew that is not under the current key\n\nMay be stopped and repeated.",
     .needs = CTL_DB | CTL_RING,
     .run = reseal_run},
    {.name = "epoch renew",
     .words = "",
     .help = "after a restore: make clients read their state anew\n\n"
             "Cursors given out before a restore may name changes that the restored database never had.",
     .needs = CTL_DB,
     .run = epoch_renew},
    {0},
};
