/*
 * private_file.h: files that others are not to read, such as captures: they hold what passes on the wire.
 */
#pragma once

/*
 * Opens the file for writing, mode 0600, and makes it when it is not there; what was in it stays. Returns its
 * descriptor or -errno. In a folder that somebody else may change no link is followed, on the way neither (-ELOOP), and
 * no file is taken that somebody else has laid there (-EEXIST).
 */
int el_private_open(const char *path);
/* The same, and empty. */
int el_private_create(const char *path);
/* What the error of either is called. */
const char *el_private_reason(int error);
