/* base/log.h: what the operator reads.
 *
 * One record is one line on stdout: in text form the message with time and level before it, in JSON form an object with
 * time, level, event, message and the record's fields. Records are handed to a writer thread, so that a slow stdout
 * never blocks an event loop; the queue is bounded (LOG_QUEUE_BYTES), and what does not fit is counted and reported.
 * Before log_start() and after log_stop() records are written at once.
 *
 * Secrets, prompts and answers must not reach this room at any level. Text that a stranger chose goes through
 * log_text_safe() or a field, both of which escape it and cut it at LOG_TEXT_MAX_BYTES.
 *
 *	log_record(LOG_WARNING, "backend_unreachable", LOG_FIELDS(LOG_STRING("backend", name), LOG_NUMBER("port", port)),
 *	    "Backend %s cannot be reached", name);
 *
 * Safe from any thread. A documented singleton: a process has one stdout.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/slice.h"

#define LOG_QUEUE_BYTES (1024U * 1024U)
#define LOG_TEXT_MAX_BYTES 256U
#define LOG_LINE_MAX_BYTES 8192U

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log_field {
	const char *name;
	struct slice text; /* used when is_number is false */
	uint64_t number;
	bool is_number;
};

#define LOG_STRING(field_name, string) ((struct log_field){ .name = (field_name), .text = slice_from(string) })
#define LOG_SLICE(field_name, slice) ((struct log_field){ .name = (field_name), .text = (slice) })
#define LOG_NUMBER(field_name, value) \
	((struct log_field){ .name = (field_name), .number = (uint64_t)(value), .is_number = true })
/* Expands to two arguments: the fields and their count. */
#define LOG_FIELDS(...) \
	(const struct log_field[]){ __VA_ARGS__ }, \
	    sizeof((const struct log_field[]){ __VA_ARGS__ }) / sizeof(struct log_field)
#define LOG_NO_FIELDS NULL, 0

/* Sets form and least level; may be called again at any time. */
void log_configure(enum log_format format, enum log_level level);
/* Whether a record of that level would be written: ask before preparing a costly one. */
bool log_wants(enum log_level level);
/* Starts the writer thread. Returns false when no thread can be had. */
bool log_start(void) MUST_CHECK;
/* Writes all that is queued, waiting at most timeout_ms for a stuck stdout, and ends the writer thread. */
void log_stop(uint64_t timeout_ms);
/* Records dropped since the start because the queue was full. */
uint64_t log_dropped(void);

void log_record(enum log_level level, const char *event, const struct log_field *fields, size_t field_count,
    const char *format, ...) PRINTF_LIKE(5, 6);

/* Whether a record that may come in storms is to be written: of those with the same key a few in ten seconds are.
 * *left_out: how many like it were not, since the last one that was (see log_left_out()). */
bool log_may_repeat(uint64_t key, uint64_t *left_out) MUST_CHECK;
/* "" or " (17 more like this were left out)" in out, which is returned. */
#define LOG_LEFT_OUT_SIZE 64
const char *log_left_out(uint64_t left_out, char out[LOG_LEFT_OUT_SIZE]);

/* Escapes a stranger's text into out (of size bytes, always NUL-terminated) and returns out: control bytes and
 * backslashes as \xNN, at most LOG_TEXT_MAX_BYTES of the text. */
const char *log_text_safe(struct slice text, char *out, size_t size);
#define LOG_TEXT_SAFE_SIZE (4 * LOG_TEXT_MAX_BYTES + 4)

/* Says why on stderr and aborts: for states that only a bug can bring about. */
NO_RETURN void fatal(const char *format, ...) PRINTF_LIKE(1, 2);

/* "debug", "info", "warning", "error". */
const char *log_level_name(enum log_level level);

#endif
