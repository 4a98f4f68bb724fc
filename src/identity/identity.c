#include "identity/identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "identity/token_schedule.h"

#include "fetch.h"

/* A token that was fetched because a backend refused the one before is not replaced for the same reason this soon: the
 * fault is elsewhere (a role that is missing), and the endpoint must not be stormed. */
#define RENEW_LEAST_MS 30000U
/* A token is sent no longer than until this long before its end: a request is on its way for a while. */
#define MARGIN_MOST_MS 1000U

/* ---- all of them ----------------------------------------------------------------------------------------------- */

struct identities *
identities_new(identity_news_fn *on_news, void *context)
{
	struct identities *identities = memory_take_zeroed(1, sizeof(*identities));

	identities->on_news = on_news;
	identities->context = context;
	pthread_mutex_init(&identities->mutex, NULL);
	return identities;
}

/* Without the thread that fetches it is for the caller to free what a refused configuration has left behind. */
static void
drop_unused(struct identities *identities)
{
	for (struct identity **link = &identities->first; *link != NULL;) {
		struct identity *identity = *link;

		if (atomic_load(&identity->references) != 0) {
			link = &identity->next;
			continue;
		}
		*link = identity->next;
		identity_destroy(identity);
	}
}

bool
identities_start(struct identities *identities, char *fault, size_t fault_size)
{
	const struct curl_library *curl;

	if (identities->running)
		return true;
	drop_unused(identities);
	if (identities->first == NULL)
		return true;
	curl = curl_library_load(fault, fault_size);
	if (curl == NULL)
		return false;
	identities->curl = curl;
	if (fetch_start(identities))
		return true;
	(void)snprintf(fault, fault_size, "no thread for fetching tokens can be started");
	return false;
}

void
identities_stop(struct identities *identities)
{
	if (identities->running)
		fetch_stop(identities);
}

void
identities_free(struct identities **identities)
{
	struct identities *gone = *identities;

	*identities = NULL;
	if (gone == NULL)
		return;
	identities_stop(gone);
	drop_unused(gone);
	if (gone->first != NULL)
		fatal("identity: %s is freed while it is in use", gone->first->name);
	pthread_mutex_destroy(&gone->mutex);
	free(gone);
}

/* ---- one ------------------------------------------------------------------------------------------------------- */

static const char *
look_up_environment(const char *name, void *context)
{
	(void)context;
	return getenv(name);
}

/* Whoever names it anew, in a reload, may have mended what was refused. A service that is busy is left alone. */
static void
ask_again(struct identity *identity)
{
	pthread_mutex_lock(&identity->mutex);
	if (identity->was_refused && !identity->fetching)
		identity->fetch_at_ms = 0;
	pthread_mutex_unlock(&identity->mutex);
}

struct identity *
identity_get(struct identities *identities, const struct config_auth *auth)
{
	struct token_source source = token_source_make(auth, look_up_environment, NULL);
	struct identity *identity;

	pthread_mutex_lock(&identities->mutex);
	for (identity = identities->first; identity != NULL; identity = identity->next)
		if (token_source_equals(&identity->source, &source))
			break;
	if (identity != NULL) {
		token_source_free(&source);
		ask_again(identity);
	} else {
		identity = memory_take_zeroed(1, sizeof(*identity));
		identity->all = identities;
		identity->source = source;
		token_source_describe(&source, identity->name, sizeof(identity->name));
		pthread_mutex_init(&identity->mutex, NULL);
		identity->next = identities->first;
		identities->first = identity;
	}
	atomic_fetch_add(&identity->references, 1);
	pthread_mutex_unlock(&identities->mutex);
	fetch_wake(identities);
	return identity;
}

struct identity *
identity_share(struct identity *identity)
{
	atomic_fetch_add(&identity->references, 1);
	return identity;
}

/* The last reference may go on any thread, also while a fetch is under way: the thread that fetches frees what nobody
 * refers to, under the lock under which identity_get() would have found it again. */
void
identity_release(struct identity **identity)
{
	struct identity *gone = *identity;

	*identity = NULL;
	if (gone != NULL)
		atomic_fetch_sub(&gone->references, 1);
}

void
identity_destroy(struct identity *identity)
{
	if (identity->line.data != NULL)
		explicit_bzero(identity->line.data, identity->line.capacity);
	buffer_free(&identity->line);
	token_source_free(&identity->source);
	pthread_mutex_destroy(&identity->mutex);
	free(identity);
}

const char *
identity_describe(const struct identity *identity)
{
	return identity->name;
}

struct identity_counts
identity_counts(struct identity *identity)
{
	struct identity_counts counts;

	pthread_mutex_lock(&identity->mutex);
	counts = identity->counts;
	pthread_mutex_unlock(&identity->mutex);
	return counts;
}

/* ---- tokens ---------------------------------------------------------------------------------------------------- */

static bool
is_valid(const struct identity *identity, uint64_t newer_than, uint64_t now_ms)
{
	return identity->line.length > 0 && identity->generation > newer_than && now_ms < identity->expires_ms;
}

enum token_state
identity_authorize(struct identity *identity, uint64_t newer_than, uint64_t now_ms, uint64_t until_ms, size_t spare,
    struct buffer *out, uint64_t *generation)
{
	enum token_state state = TOKEN_COMING;

	pthread_mutex_lock(&identity->mutex);
	if (is_valid(identity, newer_than, now_ms)) {
		buffer_reserve(out, identity->line.length + spare);
		buffer_append_slice(out, buffer_slice(&identity->line));
		*generation = identity->generation;
		state = TOKEN_READY;
	} else if (!identity->fetching && identity->failures > 0 && identity->fetch_at_ms > until_ms) {
		state = TOKEN_ABSENT;
	}
	pthread_mutex_unlock(&identity->mutex);
	return state;
}

bool
identity_refused(struct identity *identity, uint64_t generation, uint64_t now_ms)
{
	bool hope = true, due = false;

	pthread_mutex_lock(&identity->mutex);
	if (identity->generation > generation || identity->fetching || identity->fetch_at_ms <= now_ms) {
		/* Another has been faster. */
	} else if (identity->renewed_ms != 0 && now_ms < identity->renewed_ms + RENEW_LEAST_MS) {
		hope = false;
	} else if (identity->failures == 0) {
		identity->fetch_at_ms = now_ms;
		identity->refused = due = true;
	} /* else: the next try is planned, and the endpoint is not to be pressed */
	pthread_mutex_unlock(&identity->mutex);
	if (due)
		fetch_wake(identity->all);
	return hope;
}

/* The token takes the place of the one before, which is wiped. */
static void
take_token(struct identity *identity, const struct token_answer *answer, uint64_t now_ms)
{
	uint64_t margin_ms = answer->lifetime_ms / 10 < MARGIN_MOST_MS ? answer->lifetime_ms / 10 : MARGIN_MOST_MS;
	struct buffer line = { 0 };

	buffer_reserve_exactly(&line, answer->token.length + 64);
	buffer_append_string(&line, "authorization: Bearer ");
	buffer_append_slice(&line, buffer_slice(&answer->token));
	buffer_append_string(&line, "\r\n");
	if (identity->line.data != NULL)
		explicit_bzero(identity->line.data, identity->line.capacity);
	buffer_free(&identity->line);
	identity->line = line;
	identity->generation++;
	identity->expires_ms = now_ms + answer->lifetime_ms - margin_ms;
	identity->fetch_at_ms = token_refresh_at_ms(now_ms, identity->expires_ms);
	identity->renewed_ms = identity->refused ? now_ms : 0;
	identity->refused = false;
	identity->failures = 0;
	identity->was_refused = false;
	identity->counts.ok++;
}

static void
log_failure(const struct identity *identity, const struct token_answer *answer, uint64_t wait_ms, uint64_t left_ms)
{
	char meanwhile[96] = "there is none";

	if (left_ms > 0)
		(void)snprintf(meanwhile, sizeof(meanwhile), "the one in use is valid for another %llu s",
		    (unsigned long long)(left_ms + 999) / 1000);
	log_record(answer->verdict == TOKEN_REFUSED || left_ms == 0 ? LOG_ERROR : LOG_WARNING, "token_failed",
	    LOG_FIELDS(LOG_STRING("identity", identity->name), LOG_STRING("reason", answer->reason),
		LOG_NUMBER("retry_ms", wait_ms), LOG_NUMBER("valid_ms", left_ms)),
	    "No new token for %s: %s; asked again in %llu ms, %s%s", identity->name, answer->reason,
	    (unsigned long long)wait_ms, meanwhile,
	    answer->verdict == TOKEN_REFUSED ? " (mend backends[].auth, or the identity itself)" : "");
}

void
identity_take_answer(struct identity *identity, struct token_answer *answer, uint64_t retry_after_ms, uint64_t now_ms,
    uint64_t random)
{
	bool granted = answer->verdict == TOKEN_GRANTED;
	uint64_t wait_ms = 0, left_ms = 0;
	unsigned failures;

	pthread_mutex_lock(&identity->mutex);
	failures = identity->failures;
	identity->fetching = false;
	if (granted) {
		take_token(identity, answer, now_ms);
	} else {
		identity->failures++;
		identity->was_refused = answer->verdict == TOKEN_REFUSED;
		identity->counts.error++;
		wait_ms = token_retry_wait_ms(answer->verdict, identity->failures, retry_after_ms, random);
		identity->fetch_at_ms = now_ms + wait_ms;
		if (is_valid(identity, 0, now_ms))
			left_ms = identity->expires_ms - now_ms;
	}
	pthread_mutex_unlock(&identity->mutex);
	if (!granted)
		log_failure(identity, answer, wait_ms, left_ms);
	else
		log_record(failures > 0 ? LOG_INFO : LOG_DEBUG, "token_refreshed",
		    LOG_FIELDS(LOG_STRING("identity", identity->name), LOG_NUMBER("valid_ms", answer->lifetime_ms)),
		    "A new token for %s, valid for %llu s", identity->name,
		    (unsigned long long)answer->lifetime_ms / 1000);
}
