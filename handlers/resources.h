#ifndef BELFRY_HANDLERS_RESOURCES_H
#define BELFRY_HANDLERS_RESOURCES_H
/*
 * What the resources give to the route table: for each route its function, and the tables of its parameters
 * and members. A resource is one file of the same name.
 */
#include "handlers/route.h"

/* notifications_send.c */
extern const struct field notifications_bulk_fields[];
route_function notifications_send, notifications_bulk;
/* notifications.c */
extern const struct field notifications_list_query[];
route_function notifications_list, notifications_get, notifications_cancel;
/* timeline.c */
route_function timeline_get;
/* users.c */
extern const struct field users_put_fields[], users_export_query[];
route_function users_put, users_get, users_erase, users_export;
/* devices.c */
extern const struct field devices_put_fields[];
route_function devices_list, devices_put, devices_get, devices_delete;
/* push.c */
extern const struct field push_subscribe_fields[];
route_function push_subscribe, push_unsubscribe, push_key;
/* preferences.c: the user's own, or of {user} for a service */
extern const struct field preferences_put_fields[];
route_function preferences_get, preferences_put;
/* inbox.c */
extern const struct field inbox_list_query[];
route_function inbox_list, inbox_count;
/* inbox_change.c */
extern const struct field inbox_patch_fields[];
route_function inbox_patch, inbox_delete, inbox_act, inbox_read_all, inbox_seen_all, inbox_delete_all;
/* ops.c */
extern const struct field ops_dead_letters_query[];
route_function ops_queue, ops_dead_letters, ops_replay, ops_replay_all;

#endif
