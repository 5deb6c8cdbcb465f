/*
 * list.c: what is opened here comes first; the others say that they need Linux.
 */
#include "kinds/list.h"

extern const struct el_kind el_kind_afpacket, el_kind_xdp, el_kind_pcap, el_kind_file;
const struct el_kind *const el_kinds[] = {&el_kind_pcap, &el_kind_file, &el_kind_afpacket, &el_kind_xdp, NULL};
