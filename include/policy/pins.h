/* policy/pins.h: which resource keeps what a caller may ask for again.
 *
 * Stored responses, conversations, files, vector stores, batches and encrypted reasoning live on the Azure OpenAI
 * resource that made them; no id says which that was. The table remembers it for ids seen in answers, as hashes only: a
 * fixed number of entries, each with an end; where a new one finds no room, the one of its set that would end first
 * goes. Items of answers are many and soon forgotten by their callers, so these and the things themselves have half of
 * each set for sure: neither can drive the other out. A resource is a hash of its URL, so that pins outlive reloads and
 * the order of backends.
 *
 * Shared by all workers; striped mutexes, held for a few dozen instructions, and touched by calls with stored state
 * alone. Pure: time is a parameter.
 *
 *	pins_learn(pins, id_hash(id, seed), PIN_THING, resource, now_ms);
 *	resource = pins_find(pins, id_hash(id, seed), now_ms);
 */
#ifndef POLICY_PINS_H
#define POLICY_PINS_H

#include <stdint.h>

#include "base/compiler.h"

/* 262,144 ids in 6 MB, of which only touched pages take memory. */
#define PINS_MAX 262144U
#define PINS_PER_SET 8U
/* Azure keeps stored responses for 30 days. */
#define PIN_LIFETIME_MS (UINT64_C(30) * 24 * 3600 * 1000)
#define PIN_UNKNOWN UINT64_C(0)

enum pin_kind {
	PIN_THING, /* a response, a file, …: what has a path of its own, or is referred to by name */
	PIN_ITEM,  /* of an answer: a message, reasoning, an entry of a list */
};

struct pin_table;

/* The caller frees it with pin_table_free(), once no worker uses it any more. */
struct pin_table *pin_table_new(void) MUST_CHECK;
void pin_table_free(struct pin_table **table);

/* id: a hash that strangers cannot choose; resource: not PIN_UNKNOWN. A known id moves to the resource and lives on; once
 * a thing, it stays one. */
void pins_learn(struct pin_table *table, uint64_t id, enum pin_kind kind, uint64_t resource, uint64_t now_ms);
/* The resource, or PIN_UNKNOWN. */
uint64_t pins_find(struct pin_table *table, uint64_t id, uint64_t now_ms);

#endif
