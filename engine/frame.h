/*
 * frame.h: small questions about one struct el_frame, whose members abi.h tells. What a parsed frame says about
 * itself (el_frame_vlans and the others of abi.h) is right only for frames that el_frame_parse() found valid. Nothing
 * here owns a frame or changes one.
 */
#pragma once

#include "common.h"
#include "wire_format.h"

static inline bool el_frame_is_tagged(const struct el_frame *frame)
{
	return frame->len >= ETH_HEADER && el_is_tpid(get16(frame->data + 12));
}
