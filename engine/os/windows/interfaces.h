/*
 * interfaces.h: network interfaces by the names that people and programs have for them. abi.h has the list.
 */
#pragma once

#include "common.h"

/* The one that `given` means: a name, a description, a device, or a number in the list, from 1. -errno and err. */
int el_interface_find(struct el_interface *out, const char *given, char err[EL_ERR_MAX]);
