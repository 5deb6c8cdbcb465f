/*
 * common.h: what every file of the engine starts from: abi.h, whose names alone are seen outside of the library, and a
 * few macros. It promises nothing about the engine, and includes nothing of it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#pragma GCC visibility push(default)
#include "abi.h"
#pragma GCC visibility pop

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
