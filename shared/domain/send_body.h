#ifndef BELFRY_DOMAIN_SEND_BODY_H
#define BELFRY_DOMAIN_SEND_BODY_H
/*
 * The body of a send, from JSON to what send_queue() takes: the same rules for POST /notifications, for each
 * item of a bulk send, and for belfry.send(jsonb). Pure: the moment is an argument.
 *
 * To add a member: a row and an index in send_body.c, a field in struct send_content (or here), its line in
 * www/openapi.json, its case in test_send_body.c.
 */
#include "core/arena.h"
#include "core/str.h"
#include "domain/send.h"
#include "format/field.h"
#include <jansson.h>

/* What the scheduler may address and a tenant's API call may not: mailboxes of Belfry's own, "~developers".
 */
enum send_body_from { SEND_FROM_API, SEND_FROM_SQL };

struct send_body {
    struct send_content content;
    struct str *users; /* distinct, in the order of `to` */
    int user_count;
    struct str event_id; /* or STR_NONE */
};

/* Reads one send body. Faults are added with pointers below prefix ("" for a whole body, "/notifications/3"
 * for an item). Views live as long as the arena and the tree. False if there were faults; out is then not to
 * be used. */
bool send_body_read(struct arena *arena, const json_t *object, struct str prefix, int64_t now_us,
                    enum send_body_from from, struct faults *faults, struct send_body *out) MUST_CHECK;

#endif
