/* Chained hashing; grows when it has as many entries as slots. */
#include "worker/table.h"
#include <stdint.h>
#include <stdlib.h>

enum { SLOTS_LEAST = 64 };

static size_t hash_of(struct str key) /* FNV-1a, 64 bits */
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < key.bytes; i++)
        h = (h ^ (unsigned char)key.data[i]) * UINT64_C(1099511628211);
    return (size_t)(h ^ (h >> 32));
}

struct table_node *table_find(const struct table *table, struct str key)
{
    if (table->slot_count == 0)
        return NULL;
    size_t hash = hash_of(key);
    struct table_node *node = table->slots[hash & (table->slot_count - 1)];
    while (node && (node->hash != hash || !str_equal(node->key, key)))
        node = node->next;
    return node;
}

static bool grow(struct table *table)
{
    size_t count = table->slot_count ? table->slot_count * 2 : SLOTS_LEAST;
    struct table_node **slots = calloc(count, sizeof *slots);
    if (!slots)
        return table->slot_count > 0; /* the chains just become longer */
    for (size_t i = 0; i < table->slot_count; i++)
        for (struct table_node *node = table->slots[i], *next; node; node = next) {
            next = node->next;
            node->next = slots[node->hash & (count - 1)];
            slots[node->hash & (count - 1)] = node;
        }
    free(table->slots);
    table->slots = slots;
    table->slot_count = count;
    return true;
}

bool table_add(struct table *table, struct table_node *node)
{
    if (table->count >= table->slot_count && !grow(table))
        return false;
    node->hash = hash_of(node->key);
    struct table_node **slot = &table->slots[node->hash & (table->slot_count - 1)];
    node->next = *slot;
    *slot = node;
    table->count++;
    return true;
}

void table_remove(struct table *table, struct table_node *node)
{
    struct table_node **link = &table->slots[node->hash & (table->slot_count - 1)];
    while (*link && *link != node)
        link = &(*link)->next;
    if (*link) {
        *link = node->next;
        table->count--;
    }
}

void table_each(struct table *table, void (*visit)(struct table_node *node, void *context), void *context)
{
    for (size_t i = 0; i < table->slot_count; i++)
        for (struct table_node *node = table->slots[i], *next; node; node = next) {
            next = node->next;
            visit(node, context);
        }
}

void table_free(struct table *table)
{
    free(table->slots);
    *table = (struct table){0};
}
