/* sim_support.h: a simulator to talk to, and a strict client. */
#ifndef TESTS_SIM_SUPPORT_H
#define TESTS_SIM_SUPPORT_H

#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "http/framing.h"
#include "http/head.h"
#include "sim/sim.h"

#define REPLY_WAIT_S 10

/* One resource with a control port, no latency, and whatever more the test puts into the deployment. */
#define ONE_RESOURCE(deployment_more, top_more) \
	"{\"control\":{},\"resources\":[{\"name\":\"one\",\"api_key\":\"secret\",\"deployments\":{\"gpt-4o\":" \
	"{\"completion_tokens\":5" deployment_more "},\"text-embedding-3-small\":{}}}]" top_more "}"

#define CHAT "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
#define CHAT_BODY "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define CHAT_STREAM_BODY "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"

static inline struct sim *
start(const char *config)
{
	char fault[SIM_FAULT_SIZE] = "";
	struct sim *sim = sim_start(slice_from(config), fault, sizeof(fault));

	if (sim == NULL)
		fail_msg("the simulator does not start: %s", fault);
	return sim;
}

static inline int
dial(uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct timeval wait = { .tv_sec = REPLY_WAIT_S };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static inline void
send_text(int fd, const char *text, size_t length)
{
	while (length > 0) {
		ssize_t sent = send(fd, text, length, MSG_NOSIGNAL);

		if (sent <= 0)
			return;
		text += sent;
		length -= (size_t)sent;
	}
}

/* An answer as it was read; bytes hold its head and, behind it, its body without chunks. */
struct reply {
	struct buffer bytes;
	struct response_head head;
	bool has_head;
	size_t head_length;
	struct slice body;
	bool whole;     /* the body ended as it should */
	bool reset;     /* the connection ended with RST */
	bool malformed; /* the strict parser refused it */
};

static inline void
reply_free(struct reply *reply)
{
	buffer_free(&reply->bytes);
}

static inline bool
reply_read_more(int fd, struct reply *reply)
{
	char received[4096];
	ssize_t count = recv(fd, received, sizeof(received), 0);

	reply->reset = count < 0;
	if (count > 0)
		buffer_append(&reply->bytes, received, (size_t)count);
	return count > 0;
}

/* Reads one answer with the project's own strict parsers. */
static inline void
read_reply(int fd, struct reply *reply)
{
	struct head_search search = { 0 };
	struct body_reader reader;
	enum head_status status;
	size_t end, payload, consumed;

	memset(reply, 0, sizeof(*reply));
	while ((status = head_find_end(&search, buffer_slice(&reply->bytes), 1 << 20, &reply->head_length)) ==
	    HEAD_INCOMPLETE) {
		if (!reply_read_more(fd, reply))
			return;
	}
	if (status == HEAD_COMPLETE)
		status = head_parse_response(slice_of(reply->bytes.data, reply->head_length), &reply->head);
	reply->malformed = status != HEAD_COMPLETE;
	reply->has_head = status == HEAD_COMPLETE;
	if (reply->malformed)
		return;
	body_reader_init_response(&reader, &reply->head, false);
	end = reply->head_length;
	for (;;) {
		enum body_status body =
		    body_read(&reader, reply->bytes.data + end, reply->bytes.length - end, &payload, &consumed);

		end += payload;
		reply->bytes.length = end;
		reply->malformed = body == BODY_MALFORMED;
		reply->whole = body == BODY_DONE;
		if (body != BODY_MORE)
			break;
		if (!reply_read_more(fd, reply)) {
			reply->whole = !reply->reset && body_read_end(&reader);
			break;
		}
	}
	/* The bytes may have moved. */
	assert_int_equal(head_parse_response(slice_of(reply->bytes.data, reply->head_length), &reply->head),
	    HEAD_COMPLETE);
	reply->body = slice_of(reply->bytes.data + reply->head_length, end - reply->head_length);
}

/* Sends a request on fd. fields: whole lines. */
static inline void
send_request(int fd, const char *method, const char *target, const char *fields, const char *body)
{
	struct buffer request = { 0 };

	buffer_append_format(&request, "%s %s HTTP/1.1\r\nHost: test\r\napi-key: secret\r\n%s", method, target, fields);
	if (body != NULL)
		buffer_append_format(&request, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
		    strlen(body));
	buffer_append_string(&request, "\r\n");
	if (body != NULL)
		buffer_append_string(&request, body);
	send_text(fd, request.data, request.length);
	buffer_free(&request);
}

/* A request on a connection of its own. */
static inline void
ask(uint16_t port, const char *method, const char *target, const char *fields, const char *body, struct reply *reply)
{
	int fd = dial(port);

	send_request(fd, method, target, fields, body);
	read_reply(fd, reply);
	close(fd);
}

static inline void
post(struct sim *sim, const char *target, const char *body, struct reply *reply)
{
	ask(sim_port(sim, 0), "POST", target, "", body, reply);
}

static inline void
install(struct sim *sim, const char *fault)
{
	struct reply reply;

	ask(sim_control_port(sim), "POST", "/faults", "", fault, &reply);
	if (reply.head.status != 200)
		fail_msg("%s: %.*s", fault, SLICE_PRINT(reply.body));
	reply_free(&reply);
}

static inline void
clear_faults(struct sim *sim)
{
	struct reply reply;

	ask(sim_control_port(sim), "DELETE", "/faults", "", NULL, &reply);
	assert_int_equal(reply.head.status, 200);
	reply_free(&reply);
}

static inline bool
body_has(const struct reply *reply, const char *text)
{
	return slice_find(reply->body, slice_from(text)) >= 0;
}

static inline unsigned
count_in(struct slice text, const char *needle)
{
	unsigned count = 0;
	ptrdiff_t at;

	while ((at = slice_find(text, slice_from(needle))) >= 0) {
		text = slice_skip(text, (size_t)at + 1);
		count++;
	}
	return count;
}

/* The value of a field, or the empty slice. */
static inline struct slice
field_of(const struct reply *reply, const char *name)
{
	const struct header *header = headers_find_name(&reply->head.headers, slice_from(name));

	return header != NULL ? header->value : SLICE_EMPTY;
}

#endif
