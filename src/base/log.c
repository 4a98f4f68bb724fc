#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/repeat.h"

/* The writer gathers the lines of this long before it writes, so that a busy worker does not wake it for each. */
#define GATHER_US 5000

/* The one log of the process. `mutex` guards filling, writing, stopping and started. */
static struct {
	pthread_mutex_t mutex;
	pthread_cond_t work;
	pthread_t writer;
	struct buffer filling; /* workers append here */
	bool writing;          /* the writer has taken a batch and is not done with it */
	bool sleeping;         /* the writer waits for work */
	bool stopping;
	bool started;
	_Atomic int format;
	_Atomic int level;
	_Atomic uint64_t dropped;
	uint64_t dropped_reported;
	pthread_mutex_t repeat_mutex; /* guards repeated; a leaf */
	struct repeat_table repeated;
} the_log = {
	.mutex = PTHREAD_MUTEX_INITIALIZER,
	.work = PTHREAD_COND_INITIALIZER,
	.repeat_mutex = PTHREAD_MUTEX_INITIALIZER,
	.level = LOG_INFO,
};

const char *
log_level_name(enum log_level level)
{
	static const char *const names[] = { "debug", "info", "warning", "error" };

	return names[level];
}

void
log_configure(enum log_format format, enum log_level level)
{
	atomic_store(&the_log.format, (int)format);
	atomic_store(&the_log.level, (int)level);
}

bool
log_wants(enum log_level level)
{
	return (int)level >= atomic_load_explicit(&the_log.level, memory_order_relaxed);
}

uint64_t
log_dropped(void)
{
	return atomic_load(&the_log.dropped);
}

/* Writes all of it, waiting where stdout is a full pipe. Gives up on any error: there is nowhere to report it. */
static void
write_fully(int fd, const char *data, size_t length)
{
	while (length > 0) {
		ssize_t written = write(fd, data, length);

		if (written >= 0) {
			data += written;
			length -= (size_t)written;
		} else if (errno == EAGAIN) {
			struct pollfd wait = { .fd = fd, .events = POLLOUT };

			(void)poll(&wait, 1, -1);
		} else if (errno != EINTR) {
			return;
		}
	}
}

static void
append_time(struct buffer *line, int64_t unix_ms)
{
	static _Thread_local time_t cached_second = -1;
	static _Thread_local char cached[32];
	time_t second = (time_t)(unix_ms / 1000);
	unsigned fraction = (unsigned)(unix_ms % 1000);
	char millis[5] = { '.', (char)('0' + fraction / 100), (char)('0' + fraction / 10 % 10),
		(char)('0' + fraction % 10), 'Z' };

	if (second != cached_second) {
		struct tm parts;

		gmtime_r(&second, &parts);
		strftime(cached, sizeof(cached), "%Y-%m-%dT%H:%M:%S", &parts);
		cached_second = second;
	}
	buffer_append_string(line, cached);
	buffer_append(line, millis, sizeof(millis));
}

static void
append_json_member(struct buffer *line, const char *name, struct slice text)
{
	buffer_append_string(line, ",\"");
	buffer_append_string(line, name);
	buffer_append_string(line, "\":\"");
	buffer_append_json_text(line, text);
	buffer_append_byte(line, '"');
}

static void
append_json(struct buffer *line, enum log_level level, const char *event, const struct log_field *fields,
    size_t field_count, struct slice message)
{
	buffer_append_string(line, "{\"time\":\"");
	append_time(line, clock_unix_ms());
	buffer_append_byte(line, '"');
	append_json_member(line, "level", slice_from(log_level_name(level)));
	append_json_member(line, "event", slice_from(event));
	append_json_member(line, "message", message);
	for (size_t i = 0; i < field_count; i++) {
		struct slice text = fields[i].text;

		if (fields[i].is_number) {
			buffer_append_string(line, ",\"");
			buffer_append_string(line, fields[i].name);
			buffer_append_string(line, "\":");
			buffer_append_u64(line, fields[i].number);
			continue;
		}
		if (text.length > LOG_LINE_MAX_BYTES)
			text.length = LOG_LINE_MAX_BYTES;
		append_json_member(line, fields[i].name, text);
	}
	buffer_append_string(line, "}\n");
}

static void
append_text(struct buffer *line, enum log_level level, struct slice message)
{
	append_time(line, clock_unix_ms());
	buffer_append_byte(line, ' ');
	buffer_append_string(line, log_level_name(level));
	buffer_append_byte(line, ' ');
	buffer_append_slice(line, message);
	buffer_append_byte(line, '\n');
}

/* Hands a finished line to the writer thread, or writes it where there is none. */
static void
hand_over(const struct buffer *line)
{
	bool wake = false, queued;

	pthread_mutex_lock(&the_log.mutex);
	queued = the_log.started;
	if (!queued) {
		write_fully(STDOUT_FILENO, line->data, line->length);
	} else if (the_log.filling.length + line->length > LOG_QUEUE_BYTES) {
		atomic_fetch_add(&the_log.dropped, 1);
	} else {
		buffer_append_slice(&the_log.filling, buffer_slice(line));
		wake = the_log.sleeping;
		the_log.sleeping = false;
	}
	pthread_mutex_unlock(&the_log.mutex);
	if (wake)
		pthread_cond_signal(&the_log.work);
}

void
log_record(enum log_level level, const char *event, const struct log_field *fields, size_t field_count,
    const char *format, ...)
{
	static _Thread_local char text[LOG_LINE_MAX_BYTES];
	struct buffer line = { 0 };
	va_list arguments;
	struct slice message;
	int length;

	if (!log_wants(level))
		return;
	va_start(arguments, format);
	length = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (length < 0)
		return;
	message = slice_of(text, (size_t)length < sizeof(text) ? (size_t)length : sizeof(text) - 1);
	buffer_reserve(&line, message.length + 64);
	if (atomic_load_explicit(&the_log.format, memory_order_relaxed) == LOG_FORMAT_JSON)
		append_json(&line, level, event, fields, field_count, message);
	else
		append_text(&line, level, message);
	hand_over(&line);
	buffer_free(&line);
}

/* With the mutex held: puts a line about dropped records at the front of what is to be written next. */
static void
report_dropped(struct buffer *batch)
{
	uint64_t dropped = atomic_load(&the_log.dropped);
	char text[80];

	if (dropped == the_log.dropped_reported)
		return;
	snprintf(text, sizeof(text), "%llu log lines dropped: stdout is too slow",
	    (unsigned long long)(dropped - the_log.dropped_reported));
	the_log.dropped_reported = dropped;
	if (atomic_load(&the_log.format) == LOG_FORMAT_JSON)
		append_json(batch, LOG_WARNING, "log_dropped", LOG_NO_FIELDS, slice_from(text));
	else
		append_text(batch, LOG_WARNING, slice_from(text));
}

static void *
writer_main(void *unused)
{
	struct buffer batch = { 0 };

	(void)unused;
	pthread_mutex_lock(&the_log.mutex);
	for (;;) {
		struct buffer swap;

		while (the_log.filling.length == 0 && !the_log.stopping) {
			the_log.sleeping = true;
			pthread_cond_wait(&the_log.work, &the_log.mutex);
		}
		the_log.sleeping = false;
		if (the_log.filling.length == 0)
			break;
		if (!the_log.stopping) {
			pthread_mutex_unlock(&the_log.mutex);
			usleep(GATHER_US);
			pthread_mutex_lock(&the_log.mutex);
		}
		report_dropped(&the_log.filling);
		swap = batch;
		batch = the_log.filling;
		the_log.filling = swap;
		the_log.writing = true;
		pthread_mutex_unlock(&the_log.mutex);
		write_fully(STDOUT_FILENO, batch.data, batch.length);
		buffer_clear(&batch);
		pthread_mutex_lock(&the_log.mutex);
		the_log.writing = false;
	}
	pthread_mutex_unlock(&the_log.mutex);
	buffer_free(&batch);
	return NULL;
}

bool
log_start(void)
{
	pthread_mutex_lock(&the_log.mutex);
	the_log.stopping = false;
	the_log.started = pthread_create(&the_log.writer, NULL, writer_main, NULL) == 0;
	pthread_mutex_unlock(&the_log.mutex);
	return the_log.started;
}

void
log_stop(uint64_t timeout_ms)
{
	uint64_t deadline_ms = clock_now_ms() + timeout_ms;
	bool idle;

	pthread_mutex_lock(&the_log.mutex);
	if (!the_log.started) {
		pthread_mutex_unlock(&the_log.mutex);
		return;
	}
	the_log.stopping = true;
	the_log.started = false; /* later records are written at once */
	pthread_mutex_unlock(&the_log.mutex);
	pthread_cond_signal(&the_log.work);
	do {
		pthread_mutex_lock(&the_log.mutex);
		idle = the_log.filling.length == 0 && !the_log.writing;
		pthread_mutex_unlock(&the_log.mutex);
		if (!idle)
			usleep(1000);
	} while (!idle && clock_now_ms() < deadline_ms);
	if (!idle) { /* stdout is stuck: leave the thread to the end of the process */
		pthread_detach(the_log.writer);
		return;
	}
	pthread_join(the_log.writer, NULL);
	buffer_free(&the_log.filling);
}

bool
log_may_repeat(uint64_t key, uint64_t *left_out)
{
	bool passes;

	pthread_mutex_lock(&the_log.repeat_mutex);
	passes = repeat_passes(&the_log.repeated, key, clock_now_ms(), left_out);
	pthread_mutex_unlock(&the_log.repeat_mutex);
	return passes;
}

const char *
log_left_out(uint64_t left_out, char out[LOG_LEFT_OUT_SIZE])
{
	out[0] = '\0';
	if (left_out > 0)
		snprintf(out, LOG_LEFT_OUT_SIZE, " (%llu more like this were left out)", (unsigned long long)left_out);
	return out;
}

const char *
log_text_safe(struct slice text, char *out, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	size_t length = text.length < LOG_TEXT_MAX_BYTES ? text.length : LOG_TEXT_MAX_BYTES;
	size_t at = 0;

	for (size_t i = 0; i < length && at + 5 < size; i++) {
		unsigned char byte = (unsigned char)text.data[i];

		if (byte >= 0x20 && byte < 0x7f && byte != '\\') {
			out[at++] = (char)byte;
			continue;
		}
		out[at++] = '\\';
		out[at++] = 'x';
		out[at++] = digits[byte >> 4];
		out[at++] = digits[byte & 15];
	}
	out[at] = '\0';
	return out;
}

void
fatal(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("aoai-lb: fatal: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	abort();
}
