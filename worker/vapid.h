#ifndef BELFRY_WORKER_VAPID_H
#define BELFRY_WORKER_VAPID_H
/*
 * Signed tokens for push services (RFC 8292): one for each origin, kept for hours, because a signature costs
 * more than everything else in a push message but its encryption. A token is never used for another origin.
 */
#include "domain/account.h"
#include <stdint.h>

struct vapid;
enum result vapid_create(const struct account_webpush *config, struct vapid **vapid,
                         struct error *error) MUST_CHECK;
void vapid_destroy(struct vapid *vapid); /* NULL is fine */
/* The token for the origin of an endpoint; a view that is valid until the next call. */
enum result vapid_token(struct vapid *vapid, struct str endpoint, int64_t now_us, struct str *token,
                        struct error *error) MUST_CHECK;
/* "https://host[:port]" of a URL, without a default port, into out; false if it does not fit or is no URL. */
bool vapid_origin(struct str url, struct buf *out);

#endif
