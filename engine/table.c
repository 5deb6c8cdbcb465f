/*
 * table.c: a table is an array of lists that doubles when it has as many entries as lists.
 */
#include <errno.h>
#include <stdlib.h>

#include "table.h"

enum { TABLE_MIN = 16 };

void el_list_add(struct el_node **list, struct el_node *node)
{
	node->next = *list;
	node->link = list;
	if (node->next)
		node->next->link = &node->next;
	*list = node;
}

void el_node_unlink(struct el_node *node)
{
	if (!node->link)
		return;
	*node->link = node->next;
	if (node->next)
		node->next->link = node->link;
	node->link = NULL;
	node->next = NULL;
}

static void move_chain(struct el_node *node, struct el_node **bucket, uint32_t mask)
{
	while (node) {
		struct el_node *next = node->next;

		el_list_add(&bucket[node->hash & mask], node);
		node = next;
	}
}

static int grow(struct el_table *table)
{
	uint32_t size = table->bucket ? (table->mask + 1) * 2 : TABLE_MIN;
	struct el_node **bucket = calloc(size, sizeof(struct el_node *));

	if (!bucket)
		return -ENOMEM;
	for (uint32_t i = 0; table->bucket && i <= table->mask; i++)
		move_chain(table->bucket[i], bucket, size - 1);
	free(table->bucket);
	table->bucket = bucket;
	table->mask = size - 1;
	return 0;
}

int el_table_add(struct el_table *table, struct el_node *node, uint32_t hash)
{
	if ((!table->bucket || table->count > table->mask) && grow(table))
		return -ENOMEM;
	node->hash = hash;
	el_list_add(&table->bucket[hash & table->mask], node);
	table->count++;
	return 0;
}

void el_table_remove(struct el_table *table, struct el_node *node)
{
	if (!node->link)
		return;
	el_node_unlink(node);
	table->count--;
}

void el_table_close(struct el_table *table)
{
	free(table->bucket);
	memset(table, 0, sizeof *table);
}
