/*
 * list.c: a new kind is a file in kinds/ and its name in these two lines.
 */
#include "kinds/list.h"

extern const struct el_kind el_kind_afpacket, el_kind_xdp, el_kind_pcap, el_kind_file;
const struct el_kind *const el_kinds[] = {&el_kind_afpacket, &el_kind_xdp, &el_kind_pcap, &el_kind_file, NULL};
