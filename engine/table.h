/*
 * table.h: a hash table and lists whose nodes (struct el_node) are members of the structs that they hold, so that
 * adding and removing never allocates for one entry and takes constant time. The table owns its buckets and nothing
 * else: the owner of a struct takes it out before freeing it. Keys are not known here, only hashes: who looks
 * something up compares.
 */
#pragma once

#include "common.h"

struct el_table {
	struct el_node **bucket;
	uint32_t mask, count;
};

/* Adds node under hash; -ENOMEM when the table cannot grow. */
int el_table_add(struct el_table *table, struct el_node *node, uint32_t hash);
/* Does nothing for a node that is in none. */
void el_table_remove(struct el_table *table, struct el_node *node);
/* Frees the buckets: it is an empty table again. */
void el_table_close(struct el_table *table);
/* Puts node in front of a list. */
void el_list_add(struct el_node **list, struct el_node *node);
/* Takes node out of the list or chain that it is in; does nothing when it is in none. */
void el_node_unlink(struct el_node *node);

/* First of the chain in which nodes with this hash are; NULL when empty. */
static inline struct el_node *el_table_chain(const struct el_table *table, uint32_t hash)
{
	return table->bucket ? table->bucket[hash & table->mask] : NULL;
}

/* The chain will be looked at soon: asks for its memory. */
static inline void el_table_ahead(const struct el_table *table, uint32_t hash)
{
	if (table->bucket)
		__builtin_prefetch(&table->bucket[hash & table->mask]);
}
