#ifndef BELFRY_HANDLERS_DEVICE_ROW_H
#define BELFRY_HANDLERS_DEVICE_ROW_H
/* A device: the columns that the queries in devices.sql select, its JSON, and an address made ready to be
 * stored. */
#include "core/arena.h"
#include "core/buf.h"
#include "core/error.h"
#include "domain/address.h"
#include "io/crypto.h"
#include "io/db.h"

enum device_column {
    DEVICE_ID,
    DEVICE_CHANNEL,
    DEVICE_PROVIDER,
    DEVICE_HINT,
    DEVICE_CREATED,
    DEVICE_UPDATED
};

/* Device of the API. secret: one that was made just now and is shown this once, else STR_NONE. */
void device_write(struct buf *out, const struct db_result *rows, int row, struct str secret);
/* "devices": all rows. */
void device_write_list(struct buf *out, const struct db_result *rows);

struct device_sealed {
    struct str sealed; /* in the arena */
    unsigned char index[16];
    char hint[ADDRESS_HINT_BYTES];
};
enum result device_seal(const struct keyring *ring, struct arena *arena, int tenant, struct str user,
                        const struct address *address, struct device_sealed *out,
                        struct error *error) MUST_CHECK;
/* The three as arguments of a statement: sealed, index, hint. device must live until it is sent. */
void device_args(struct db_args *args, const struct device_sealed *device);

/* Ids that belong to the user's own e-mail address and phone number, made by PUT /users/{user}. */
bool device_is_reserved(struct str id);

#endif
