/*
 * elf_search.c: stands in for the search tree of libelf since elfutils 0.192, which Debian's libelf.a wants and lacks.
 * The tree is for elf_getdata_rawchunk() alone, which libbpf does not call: so it is made and ended empty. What would
 * fill it wants eu_tsearch(), too, which is not here: it does not link.
 */

void eu_search_tree_init(void *tree);
void eu_search_tree_fini(void *tree, void (*free_node)(void *));

/* libelf has zeroed what the tree is in. */
void eu_search_tree_init(void *tree)
{
	(void)tree;
}

void eu_search_tree_fini(void *tree, void (*free_node)(void *))
{
	(void)tree, (void)free_node;
}
