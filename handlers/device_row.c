/* A device as rows give it and as JSON shows it: see device_row.h. */
#include "handlers/device_row.h"
#include "handlers/member.h"

void device_write(struct buf *out, const struct db_result *rows, int row, struct str secret)
{
    struct str provider = db_text(rows, row, DEVICE_PROVIDER);
    json_open(out, '{');
    member_text(out, "id", db_text(rows, row, DEVICE_ID));
    member_text(out, "channel", db_text(rows, row, DEVICE_CHANNEL));
    member_text(out, "provider", provider.bytes > 0 ? provider : STR_NONE);
    member_text(out, "address", db_text(rows, row, DEVICE_HINT));
    member_time_column(out, "createdAt", rows, row, DEVICE_CREATED);
    member_time_column(out, "updatedAt", rows, row, DEVICE_UPDATED);
    member_text(out, "secret", secret);
    json_close(out, '}');
}

void device_write_list(struct buf *out, const struct db_result *rows)
{
    json_key(out, "devices");
    json_open(out, '[');
    for (int i = 0; i < db_rows(rows); i++)
        device_write(out, rows, i, STR_NONE);
    json_close(out, ']');
}

enum result device_seal(const struct keyring *ring, struct arena *arena, int tenant, struct str user,
                        const struct address *address, struct device_sealed *out, struct error *error)
{
    struct buf sealed = BUF_INIT(ADDRESS_JSON_BYTES_MAX + 64);
    enum result result = address_seal(ring, tenant, user, address, &sealed, error);
    if (result == RESULT_OK) {
        out->sealed = buf_ok(&sealed) ? arena_str(arena, buf_str(&sealed)) : STR_NONE;
        if (!str_is_set(out->sealed))
            result = error_set(error, RESULT_FAILED, "no memory for an address");
    }
    buf_free(&sealed);
    address_index(ring, tenant, address, out->index);
    address_hint(address, out->hint);
    return result;
}

void device_args(struct db_args *args, const struct device_sealed *device)
{
    db_arg_bytes(args, device->sealed.data, device->sealed.bytes);
    db_arg_bytes(args, device->index, sizeof device->index);
    db_arg_cstr(args, device->hint);
}

bool device_is_reserved(struct str id)
{
    return str_is(id, "email") || str_is(id, "phone");
}
