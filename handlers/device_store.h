#ifndef BELFRY_HANDLERS_DEVICE_STORE_H
#define BELFRY_HANDLERS_DEVICE_STORE_H
/* Storing a device, for the service that registers one and for the browser that subscribes: one transaction,
 * one after the other for each user, so that the limit holds. */
#include "domain/address.h"
#include "handlers/route.h"

struct device_request {
    struct str user;
    struct str id; /* STR_NONE (push): the id that this endpoint has already, or a new one */
    const char *channel, *provider;
    struct address address; /* a webhook without secrets keeps those it had, or gets a new one */
};
struct device_stored {
    const struct db_result *row; /* of devices_put */
    bool created;
    struct str secret; /* made just now, to be shown once; STR_NONE otherwise */
};
/* RESULT_CONFLICT: the user has LIMIT_DEVICES already. */
enum result device_store(struct call *call, struct device_request *request,
                         struct device_stored *stored) MUST_CHECK;

/* A browser's subscription {endpoint, keys:{p256dh, auth}} whose fields were read: fills the address. prefix
 * is where keys and endpoint are. False if it added a fault. */
bool device_read_subscription(struct call *call, struct str endpoint, const json_t *keys, struct str prefix,
                              struct address *address);

#endif
