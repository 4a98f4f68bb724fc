/* fetch.h: what the room's two halves share: the identities and their tokens (identity.c), and the thread that fetches
 * (fetch.c). */
#ifndef IDENTITY_FETCH_H
#define IDENTITY_FETCH_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/random.h"
#include "identity/curl_library.h"
#include "identity/identity.h"
#include "identity/token_answer.h"
#include "identity/token_source.h"

/* An answer's body; tokens are a few kilobytes. */
#define FETCH_BODY_MAX_BYTES 65536U

struct identity {
	struct identities *all;
	struct identity *next; /* guarded by the lock of all */
	struct token_source source;
	char name[IDENTITY_NAME_SIZE];
	_Atomic uint32_t references; /* 0: the thread that fetches frees it, or identities_free() */

	pthread_mutex_t mutex; /* guards what follows */
	struct buffer line;    /* "authorization: Bearer …\r\n"; empty: there never was a token */
	uint64_t expires_ms;   /* of the token in line */
	uint64_t generation;   /* of the token in line, counted from 1 */
	uint64_t fetch_at_ms;  /* when the next fetch is due */
	bool fetching;
	bool refused;        /* the fetch that is due or under way is for a backend's 401 */
	uint64_t renewed_ms; /* when a fetch for a 401 brought the token in line; 0: it came otherwise */
	unsigned failures;   /* in a row */
	bool was_refused;    /* the last of them: TOKEN_REFUSED */
	struct identity_counts counts;

	/* The fetch under way: the thread's alone. */
	uint64_t asked_ms;
	CURL *easy;
	struct curl_slist *fields;
	struct token_request request;
	struct buffer body;
	char error[CURL_ERROR_SIZE]; /* libcurl's own words; "": it has none */
};

struct identities {
	identity_news_fn *on_news;
	void *context;
	pthread_mutex_t mutex; /* guards first, every next, and which multi it is */
	struct identity *first;

	const struct curl_library *curl; /* NULL: not started */
	CURLM *multi;                    /* changed by the thread alone while it runs */
	pthread_t thread;
	bool running;
	_Atomic bool stopping;
	struct random random; /* the thread's */
};

/* Starts the thread that fetches. False when there is none to be had. */
bool fetch_start(struct identities *identities) MUST_CHECK;
/* Wakes it, if it runs: something is due earlier than it thought. Takes the lock of all. */
void fetch_wake(struct identities *identities);
/* Ends it, and every fetch under way. */
void fetch_stop(struct identities *identities);

/* A fetch has ended: takes the token over, plans the next fetch, logs. retry_after_ms: what the endpoint asked for; 0:
 * nothing. */
void identity_take_answer(struct identity *identity, struct token_answer *answer, uint64_t retry_after_ms,
    uint64_t now_ms, uint64_t random);
/* Wipes and frees; nobody refers to it any more. */
void identity_destroy(struct identity *identity);

#endif
