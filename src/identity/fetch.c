/* fetch.c: the thread that asks for tokens, with libcurl's multi interface as its loop. */
#include "fetch.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define CONNECT_TIMEOUT_MS 5000L
#define FETCH_TIMEOUT_MS 15000L
/* With nothing due the thread wakes this often, to free what reloads have left behind. */
#define IDLE_MS 30000U
/* A loop that fails again and again must not spin. */
#define LOOP_PAUSE_MS 100
#define LOOP_FAILED_KEY UINT64_C(0x6964656e74697479)
/* The longest text of libcurl's that is shown, with the place that was asked. */
#define FAULT_SIZE 320U

/* ---- one fetch ------------------------------------------------------------------------------------------------- */

static size_t
on_body(char *data, size_t size, size_t count, void *context)
{
	struct identity *identity = context;

	size_t room = FETCH_BODY_MAX_BYTES - identity->body.length, length = size * count < room ? size * count : room;

	buffer_append(&identity->body, data, length);
	return length; /* less than came: the fetch ends with CURLE_WRITE_ERROR */
}

/* No redirects, no cookies, no credentials of .netrc: the request goes where it is meant to go and nowhere else. */
static bool
set_options(struct identity *identity)
{
	const struct curl_library *curl = identity->all->curl;
	const struct token_request *request = &identity->request;
	const char *bundle = getenv("SSL_CERT_FILE"); /* as OpenSSL itself, for the backends, has it */
	CURL *easy = identity->easy;
	bool ok = true;

	ok = ok && curl->easy_setopt(easy, CURLOPT_URL, request->url.data) == CURLE_OK;
	ok = ok && curl->easy_setopt(easy, CURLOPT_PROTOCOLS_STR, request->post ? "https" : "http,https") == CURLE_OK;
	ok = ok && curl->easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
	ok = ok && curl->easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK;
	ok = ok && curl->easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS) == CURLE_OK;
	ok = ok && curl->easy_setopt(easy, CURLOPT_TIMEOUT_MS, FETCH_TIMEOUT_MS) == CURLE_OK;
	ok = ok && curl->easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK;
	/* A kept connection would be dead by the next fetch, and libcurl would send a POST twice. */
	ok = ok && curl->easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L) == CURLE_OK;
	/* On its own libcurl would speak TLS 1.0, where the system's policy lets it. */
	ok = ok && curl->easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK;
	ok = ok && curl->easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK;
	ok = ok && curl->easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK;
	if (bundle != NULL && *bundle != '\0')
		ok = ok && curl->easy_setopt(easy, CURLOPT_CAINFO, bundle) == CURLE_OK;
	/* The services of this machine are never asked through a proxy of the environment. */
	if (!request->may_be_proxied)
		ok = ok && curl->easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK;
	if (request->post) {
		ok = ok &&
		    curl->easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->form.length) == CURLE_OK;
		ok = ok && curl->easy_setopt(easy, CURLOPT_POSTFIELDS, request->form.data) == CURLE_OK;
	}
	ok = ok && curl->easy_setopt(easy, CURLOPT_HTTPHEADER, identity->fields) == CURLE_OK;
	ok = ok && curl->easy_setopt(easy, CURLOPT_USERAGENT, "aoai-lb/" AOAI_LB_VERSION) == CURLE_OK;
	ok = ok && curl->easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK;
	ok = ok && curl->easy_setopt(easy, CURLOPT_WRITEDATA, identity) == CURLE_OK;
	ok = ok && curl->easy_setopt(easy, CURLOPT_ERRORBUFFER, identity->error) == CURLE_OK;
	/* A look-up of a name that hangs is left to itself: waiting for its thread would hold up every other fetch, and
	 * the daemon's end. From 7.87 on; before, they wait. */
	(void)curl->easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	return ok && curl->easy_setopt(easy, CURLOPT_PRIVATE, identity) == CURLE_OK;
}

/* Adds a field; a list that cannot grow is given up by libcurl's own rules, and the old one stays. */
static bool
add_field(struct identity *identity, const char *line)
{
	struct curl_slist *longer = identity->all->curl->slist_append(identity->fields, line);

	if (longer != NULL)
		identity->fields = longer;
	return longer != NULL;
}

static bool
begin_transfer(struct identity *identity)
{
	struct identities *all = identity->all;

	identity->easy = all->curl->easy_init();
	if (identity->easy == NULL || !add_field(identity, "Accept: application/json") ||
	    !add_field(identity, "Expect:"))
		return false;
	if (identity->request.header.length > 0 && !add_field(identity, identity->request.header.data))
		return false;
	if (!set_options(identity))
		return false;
	buffer_reserve_exactly(&identity->body, FETCH_BODY_MAX_BYTES); /* it does not move: no copy is left behind */
	return all->curl->multi_add_handle(all->multi, identity->easy) == CURLM_OK;
}

/* Wipes and frees all that belongs to the fetch. */
static void
end_transfer(struct identity *identity)
{
	const struct curl_library *curl = identity->all->curl;

	if (identity->easy != NULL) {
		(void)curl->multi_remove_handle(identity->all->multi, identity->easy);
		curl->easy_cleanup(identity->easy);
	}
	identity->easy = NULL;
	for (struct curl_slist *field = identity->fields; field != NULL; field = field->next)
		explicit_bzero(field->data, strlen(field->data));
	curl->slist_free_all(identity->fields);
	identity->fields = NULL;
	token_request_free(&identity->request);
	if (identity->body.data != NULL)
		explicit_bzero(identity->body.data, identity->body.capacity);
	buffer_free(&identity->body);
}

static void
conclude(struct identity *identity, struct token_answer *answer, uint64_t retry_after_ms)
{
	struct identities *all = identity->all;
	bool granted = answer->verdict == TOKEN_GRANTED;

	end_transfer(identity);
	identity_take_answer(identity, answer, retry_after_ms, clock_now_ms(), random_next(&all->random));
	token_answer_free(answer);
	all->on_news(identity, granted, all->context);
}

static void
fail(struct identity *identity, const char *reason)
{
	struct token_answer answer = { .verdict = TOKEN_LATER };

	(void)snprintf(answer.reason, sizeof(answer.reason), "%s", reason);
	conclude(identity, &answer, 0);
}

static void
start_fetch(struct identity *identity)
{
	char fault[FAULT_SIZE] = "";

	identity->asked_ms = clock_now_ms();
	identity->error[0] = '\0';
	if (!token_request_make(&identity->source, &identity->request, fault, sizeof(fault)))
		fail(identity, fault);
	else if (!begin_transfer(identity))
		fail(identity, "libcurl cannot begin the request (is the endpoint's URL good?)");
}

/* What went wrong, at length where libcurl's own words hold no secret: about a proxy they may repeat its password. */
static const char *
fault_of(const struct identity *identity, CURLcode result)
{
	static const CURLcode harmless[] = {
		CURLE_COULDNT_RESOLVE_HOST,
		CURLE_OPERATION_TIMEDOUT,
		CURLE_PEER_FAILED_VERIFICATION,
		CURLE_RECV_ERROR, /* also what a proxy answered */
		CURLE_SSL_CACERT_BADFILE,
		CURLE_SSL_CONNECT_ERROR,
	};

	if (result == CURLE_WRITE_ERROR)
		return "the answer is too long";
	for (size_t i = 0; i < ARRAY_COUNT(harmless) && identity->error[0] != '\0'; i++)
		if (result == harmless[i])
			return identity->error;
	return identity->all->curl->easy_strerror(result);
}

/* There is no answer. */
static void
fail_transfer(struct identity *identity, CURLcode result)
{
	const char *url = identity->request.url.data, *query = strchr(url, '?');
	int length = query != NULL ? (int)(query - url) : (int)strlen(url);
	char fault[FAULT_SIZE], safe[LOG_TEXT_SAFE_SIZE];

	(void)snprintf(fault, sizeof(fault), "%.*s: %s", length < 160 ? length : 160, url, fault_of(identity, result));
	fail(identity, log_text_safe(slice_from(fault), safe, sizeof(safe)));
}

/* libcurl has done with it. */
static void
finish_fetch(struct identity *identity, CURLcode result)
{
	const struct curl_library *curl = identity->all->curl;
	struct token_answer answer;
	curl_off_t retry_after_s = 0;
	long status = 0;

	(void)curl->easy_getinfo(identity->easy, CURLINFO_RESPONSE_CODE, &status);
	/* An error counts by its status, also where its page is too long or never whole. */
	if (result != CURLE_OK && status < 300) {
		fail_transfer(identity, result);
		return;
	}
	(void)curl->easy_getinfo(identity->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
	token_answer_read((unsigned)status, buffer_slice(&identity->body), clock_unix_ms(),
	    clock_now_ms() - identity->asked_ms, buffer_slice(&identity->request.secret), &answer);
	if (retry_after_s < 0 || retry_after_s > 86400)
		retry_after_s = retry_after_s < 0 ? 0 : 86400;
	conclude(identity, &answer, (uint64_t)retry_after_s * 1000);
}

/* ---- the loop -------------------------------------------------------------------------------------------------- */

/* Takes the next identity whose fetch is due; NULL: none is, and *next_ms says when one will be. Frees what nobody refers
 * to any more on the way. */
static struct identity *
take_due(struct identities *all, uint64_t now_ms, uint64_t *next_ms)
{
	struct identity *due = NULL;

	*next_ms = now_ms + IDLE_MS;
	pthread_mutex_lock(&all->mutex);
	for (struct identity **link = &all->first; *link != NULL && due == NULL;) {
		struct identity *identity = *link;

		if (atomic_load(&identity->references) == 0 && identity->easy == NULL) {
			*link = identity->next;
			identity_destroy(identity);
			continue;
		}
		pthread_mutex_lock(&identity->mutex);
		if (!identity->fetching && identity->fetch_at_ms <= now_ms) {
			identity->fetching = true;
			due = identity;
		} else if (!identity->fetching && identity->fetch_at_ms < *next_ms) {
			*next_ms = identity->fetch_at_ms;
		}
		pthread_mutex_unlock(&identity->mutex);
		link = &identity->next;
	}
	pthread_mutex_unlock(&all->mutex);
	return due;
}

/* Whether any fetch has ended. */
static bool
finish_fetches(struct identities *all)
{
	CURLMsg *message;
	bool any = false;
	int left;

	while ((message = all->curl->multi_info_read(all->multi, &left)) != NULL) {
		CURLcode result = message->data.result;
		char *identity = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		(void)all->curl->easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &identity);
		finish_fetch((struct identity *)(void *)identity, result);
		any = true;
	}
	return any;
}

/* Starts what is due, takes what has ended, and waits for more. False: libcurl's loop failed. */
static bool
turn(struct identities *all)
{
	uint64_t now_ms = clock_now_ms(), next_ms;
	struct identity *due;
	int running;

	while ((due = take_due(all, now_ms, &next_ms)) != NULL)
		start_fetch(due);
	if (all->curl->multi_perform(all->multi, &running) != CURLM_OK)
		return false;
	if (finish_fetches(all))
		return true; /* the next fetch may be due sooner */
	now_ms = clock_now_ms();
	return all->curl->multi_poll(all->multi, NULL, 0, next_ms > now_ms ? (int)(next_ms - now_ms) : 0, NULL) ==
	    CURLM_OK;
}

static struct identity *
find_under_way(struct identities *all)
{
	struct identity *identity;

	pthread_mutex_lock(&all->mutex);
	for (identity = all->first; identity != NULL && identity->easy == NULL; identity = identity->next)
		;
	pthread_mutex_unlock(&all->mutex);
	return identity;
}

/* The loop failed: nobody knows how the fetches under way stand, so they fail, and it is made anew. */
static void
begin_anew(struct identities *all)
{
	struct identity *identity;
	CURLM *fresh;
	uint64_t left_out;

	if (log_may_repeat(LOOP_FAILED_KEY, &left_out)) {
		char more[LOG_LEFT_OUT_SIZE];

		log_record(LOG_ERROR, "identity_loop", LOG_NO_FIELDS,
		    "libcurl's loop failed, and is begun anew; fetches of tokens that were under way are repeated%s",
		    log_left_out(left_out, more));
	}
	while ((identity = find_under_way(all)) != NULL)
		fail(identity, "libcurl's loop failed");
	fresh = all->curl->multi_init();
	if (fresh == NULL)
		fatal("identity: libcurl has no memory");
	pthread_mutex_lock(&all->mutex);
	(void)all->curl->multi_cleanup(all->multi);
	all->multi = fresh;
	pthread_mutex_unlock(&all->mutex);
	(void)poll(NULL, 0, LOOP_PAUSE_MS);
}

static void *
run(void *context)
{
	struct identities *all = context;

	while (!atomic_load(&all->stopping))
		if (!turn(all))
			begin_anew(all);
	return NULL;
}

bool
fetch_start(struct identities *identities)
{
	sigset_t all, before;
	int failed;

	identities->multi = identities->curl->multi_init();
	if (identities->multi == NULL)
		return false;
	random_seed_from_system(&identities->random);
	/* Signals are the main thread's business. */
	sigfillset(&all);
	(void)pthread_sigmask(SIG_BLOCK, &all, &before);
	failed = pthread_create(&identities->thread, NULL, run, identities);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failed != 0) {
		(void)identities->curl->multi_cleanup(identities->multi);
		identities->multi = NULL;
		return false;
	}
	identities->running = true;
	return true;
}

void
fetch_wake(struct identities *identities)
{
	pthread_mutex_lock(&identities->mutex);
	if (identities->multi != NULL)
		(void)identities->curl->multi_wakeup(identities->multi);
	pthread_mutex_unlock(&identities->mutex);
}

void
fetch_stop(struct identities *identities)
{
	atomic_store(&identities->stopping, true);
	fetch_wake(identities);
	(void)pthread_join(identities->thread, NULL);
	identities->running = false;
	for (struct identity *identity = identities->first; identity != NULL; identity = identity->next)
		end_transfer(identity);
	(void)identities->curl->multi_cleanup(identities->multi);
	identities->multi = NULL;
}
