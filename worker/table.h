#ifndef BELFRY_WORKER_TABLE_H
#define BELFRY_WORKER_TABLE_H
/* A hash table whose entries are part of what they find (lanes, endpoints, tenants). It owns nothing. */
#include "core/error.h"
#include "core/str.h"
#include <stddef.h>

struct table_node { /* first member of an entry */
    struct table_node *next;
    struct str key; /* the entry's own copy */
    size_t hash;
};
struct table {
    struct table_node **slots;
    size_t slot_count, count;
};
struct table_node *table_find(const struct table *table, struct str key); /* NULL if not there */
bool table_add(struct table *table, struct table_node *node) MUST_CHECK;  /* key is set; false: no memory */
void table_remove(struct table *table, struct table_node *node);
/* Calls visit for every entry; visit may remove the one it is given. */
void table_each(struct table *table, void (*visit)(struct table_node *node, void *context), void *context);
void table_free(struct table *table); /* the slots alone */

#endif
