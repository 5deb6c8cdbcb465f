/*
 * embedded.c: for a program that has nothing inside.
 */
#include "program/embedded.h"

const struct embedded embedded_modules[] = {{NULL, NULL, NULL, NULL}}, embedded_scripts[] = {{NULL, NULL, NULL, NULL}};
const luaL_Reg embedded_libraries[] = {{NULL, NULL}};
