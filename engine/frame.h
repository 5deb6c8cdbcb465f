/*
 * frame.h: small questions about one struct el_frame, whose members abi.h tells. What a parsed frame says about
 * itself (el_frame_vlans and the others of abi.h) is right only for frames that el_frame_parse() found valid. Nothing
 * here owns a frame or changes one.
 */
#pragma once

#include "common.h"
#include "wire_format.h"

/* How struct el_frame says that so many bytes are missing. */
static inline uint16_t el_cut(uint32_t missing)
{
	return missing < UINT16_MAX ? (uint16_t)missing : UINT16_MAX;
}

static inline bool el_frame_is_tagged(const struct el_frame *frame)
{
	return frame->len >= ETH_HEADER && el_is_tpid(get16(frame->data + 12));
}
