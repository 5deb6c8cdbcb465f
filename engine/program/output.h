/*
 * output.h: the program's standard output: what of it could not be written is a failure, as for other tools. That the
 * reader is gone (EPIPE) is none.
 */
#pragma once

/*
 * To be called before any file is opened, with the exit status for lost output. Standard files that are closed become
 * some that can only fail, so that no other file gets their numbers. Where it is no terminal, stdout is a stream
 * without a descriptor of its own from now on.
 */
void output_guard(int status);
