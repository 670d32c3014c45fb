#ifndef BELFRY_WORKER_PROVIDERS_ALL_H
#define BELFRY_WORKER_PROVIDERS_ALL_H
/* The members of the set in worker/provider.c. */
#include "worker/channel.h"

extern const struct provider provider_smtp;    /* providers/smtp.c: RFC 5321, 6409, 8314 */
extern const struct provider provider_webpush; /* providers/webpush.c: RFC 8030, 8291, 8292 */
extern const struct provider provider_webhook; /* providers/webhook.c: Standard Webhooks 1.0.0 */
extern const struct provider provider_null;    /* providers/null.c: accepts everything, sends nothing */

#endif
