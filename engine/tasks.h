/*
 * tasks.h: tasks that become ready, by a timer or because somebody wakes them. A task is only a number here; who it
 * is and what it does is Lua's. Room for a task is made when it first asks for a timer, which every wait does, so
 * waking one cannot fail. Nothing here waits or sleeps.
 */
#pragma once

#include "common.h"
#include "engine.h"

int el_tasks_open(struct el_engine *engine);
void el_tasks_close(struct el_engine *engine);
/* The task will be made ready soon: asks for its memory. */
void el_task_ahead(const struct el_engine *engine, uint32_t task);
/* Makes a task ready, once, and lifts its deadline. */
void el_task_wake(struct el_engine *engine, uint32_t task);
/* Wakes the tasks whose deadline has come. */
void el_tasks_expire(struct el_engine *engine);
/* The first timer, or an earlier time than its task's: when the loop has to look again. INFINITY: there is none. */
double el_tasks_next(const struct el_engine *engine);
