/* The thread that fetches, on a libcurl that fails where the real one hardly ever does.
 *
 * curl_library_load() below takes the place of the room's own, so that no network and no library is needed. The fake's
 * handles are counted: each test ends with none left.
 */
#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "identity/curl_library.h"
#include "identity/identity.h"

#define PATIENCE_MS 20000U

struct easy {
	char url[256];
	bool shuns_proxies, posts, verifies_peer, verifies_host, follows, keeps_connection, old_tls, done;
	curl_write_callback write;
	void *write_context;
	char *owner;
};

/* What the fake is told to do, and what it has seen; all guarded by mutex. */
static struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool awake;
	unsigned failing_performs, failing_polls, failing_inits, failing_lists, failing_adds;
	unsigned easies, lists, multis; /* that exist */
	unsigned multis_made, asked;
	bool holds; /* answers wait */
	struct easy last;
	struct easy *running[8];
	CURLMsg message;
	unsigned news, grants;
} fake = { .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

/* Whether this call is one of those that are to fail. */
static bool
fails(unsigned *left)
{
	bool fail;

	pthread_mutex_lock(&fake.mutex);
	fail = *left > 0;
	if (fail)
		(*left)--;
	pthread_mutex_unlock(&fake.mutex);
	return fail;
}

static void
count(unsigned *what, int more)
{
	pthread_mutex_lock(&fake.mutex);
	*what = (unsigned)((int)*what + more);
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.mutex);
}

/* ---- the library ----------------------------------------------------------------------------------------------- */

static CURLcode
fake_global_init(long flags)
{
	(void)flags;
	return CURLE_OK;
}

static CURL *
fake_easy_init(void)
{
	if (fails(&fake.failing_inits))
		return NULL;
	count(&fake.easies, 1);
	return memory_take_zeroed(1, sizeof(struct easy));
}

static void
set_number(struct easy *easy, CURLoption option, long value)
{
	if (option == CURLOPT_FOLLOWLOCATION)
		easy->follows = value != 0;
	else if (option == CURLOPT_SSL_VERIFYPEER)
		easy->verifies_peer = value == 1;
	else if (option == CURLOPT_SSL_VERIFYHOST)
		easy->verifies_host = value == 2;
	else if (option == CURLOPT_FORBID_REUSE)
		easy->keeps_connection = value == 0;
	else if (option == CURLOPT_SSLVERSION)
		easy->old_tls = value < CURL_SSLVERSION_TLSv1_2;
}

static CURLcode
fake_easy_setopt(CURL *handle, CURLoption option, ...)
{
	struct easy *easy = handle;
	va_list arguments;

	va_start(arguments, option);
	if (option == CURLOPT_URL)
		(void)snprintf(easy->url, sizeof(easy->url), "%s", va_arg(arguments, const char *));
	else if (option == CURLOPT_PROXY)
		easy->shuns_proxies = va_arg(arguments, const char *)[0] == '\0';
	else if (option == CURLOPT_POSTFIELDS)
		easy->posts = va_arg(arguments, const char *) != NULL;
	else if (option == CURLOPT_WRITEFUNCTION)
		easy->write = va_arg(arguments, curl_write_callback);
	else if (option == CURLOPT_WRITEDATA)
		easy->write_context = va_arg(arguments, void *);
	else if (option == CURLOPT_PRIVATE)
		easy->owner = va_arg(arguments, char *);
	else if (option < CURLOPTTYPE_OBJECTPOINT)
		set_number(easy, option, va_arg(arguments, long));
	va_end(arguments);
	return CURLE_OK;
}

static CURLcode
fake_easy_getinfo(CURL *handle, CURLINFO info, ...)
{
	struct easy *easy = handle;
	va_list arguments;

	va_start(arguments, info);
	if (info == CURLINFO_PRIVATE)
		*va_arg(arguments, char **) = easy->owner;
	else if (info == CURLINFO_RESPONSE_CODE)
		*va_arg(arguments, long *) = 200;
	else
		*va_arg(arguments, curl_off_t *) = 0;
	va_end(arguments);
	return CURLE_OK;
}

static void
fake_easy_cleanup(CURL *easy)
{
	count(&fake.easies, -1);
	free(easy);
}

static const char *
fake_easy_strerror(CURLcode code)
{
	(void)code;
	return "it broke";
}

static struct curl_slist *
fake_slist_append(struct curl_slist *list, const char *text)
{
	struct curl_slist *field, **end = &list;

	if (fails(&fake.failing_lists))
		return NULL;
	count(&fake.lists, 1);
	field = memory_take_zeroed(1, sizeof(*field));
	field->data = memory_copy_string(text);
	while (*end != NULL)
		end = &(*end)->next;
	*end = field;
	return list;
}

static void
fake_slist_free_all(struct curl_slist *list)
{
	while (list != NULL) {
		struct curl_slist *next = list->next;

		count(&fake.lists, -1);
		free(list->data);
		free(list);
		list = next;
	}
}

static CURLM *
fake_multi_init(void)
{
	count(&fake.multis, 1);
	count(&fake.multis_made, 1);
	return memory_take_zeroed(1, 1);
}

static CURLMcode
fake_multi_cleanup(CURLM *multi)
{
	count(&fake.multis, -1);
	free(multi);
	return CURLM_OK;
}

static CURLMcode
fake_multi_add_handle(CURLM *multi, CURL *easy)
{
	(void)multi;
	if (fails(&fake.failing_adds))
		return CURLM_OUT_OF_MEMORY;
	pthread_mutex_lock(&fake.mutex);
	fake.last = *(struct easy *)easy;
	for (size_t i = 0; i < ARRAY_COUNT(fake.running); i++) {
		if (fake.running[i] != NULL)
			continue;
		fake.running[i] = easy;
		break;
	}
	fake.asked++;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.mutex);
	return CURLM_OK;
}

static CURLMcode
fake_multi_remove_handle(CURLM *multi, CURL *easy)
{
	(void)multi;
	pthread_mutex_lock(&fake.mutex);
	for (size_t i = 0; i < ARRAY_COUNT(fake.running); i++)
		if (fake.running[i] == easy)
			fake.running[i] = NULL;
	pthread_mutex_unlock(&fake.mutex);
	return CURLM_OK;
}

static CURLMcode
fake_multi_perform(CURLM *multi, int *running)
{
	static char grant[] = "{\"access_token\":\"a-token\",\"expires_in\":3600}";

	(void)multi;
	*running = 0;
	if (fails(&fake.failing_performs))
		return CURLM_INTERNAL_ERROR;
	for (size_t i = 0; i < ARRAY_COUNT(fake.running); i++) {
		struct easy *easy;

		pthread_mutex_lock(&fake.mutex);
		easy = fake.holds ? NULL : fake.running[i];
		pthread_mutex_unlock(&fake.mutex);
		if (easy == NULL || easy->done)
			continue;
		assert_int_equal(easy->write(grant, 1, sizeof(grant) - 1, easy->write_context), sizeof(grant) - 1);
		easy->done = true;
	}
	return CURLM_OK;
}

static CURLMsg *
fake_multi_info_read(CURLM *multi, int *left)
{
	(void)multi;
	*left = 0;
	for (size_t i = 0; i < ARRAY_COUNT(fake.running); i++) {
		if (fake.running[i] == NULL || !fake.running[i]->done)
			continue;
		fake.message = (CURLMsg){ .msg = CURLMSG_DONE, .easy_handle = fake.running[i] };
		fake.message.data.result = CURLE_OK;
		return &fake.message;
	}
	return NULL;
}

static CURLMcode
fake_multi_poll(CURLM *multi, struct curl_waitfd fds[], unsigned count_, int timeout_ms, int *ready)
{
	struct timespec end;

	(void)multi;
	(void)fds;
	(void)count_;
	(void)ready;
	if (fails(&fake.failing_polls))
		return CURLM_UNRECOVERABLE_POLL;
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += timeout_ms / 1000;
	end.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	end.tv_sec += end.tv_nsec / 1000000000;
	end.tv_nsec %= 1000000000;
	pthread_mutex_lock(&fake.mutex);
	while (!fake.awake && pthread_cond_timedwait(&fake.changed, &fake.mutex, &end) == 0)
		;
	fake.awake = false;
	pthread_mutex_unlock(&fake.mutex);
	return CURLM_OK;
}

static CURLMcode
fake_multi_wakeup(CURLM *multi)
{
	(void)multi;
	pthread_mutex_lock(&fake.mutex);
	fake.awake = true;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.mutex);
	return CURLM_OK;
}

const struct curl_library *
curl_library_load(char *fault, size_t fault_size)
{
	static const struct curl_library library = {
		.global_init = fake_global_init,
		.easy_init = fake_easy_init,
		.easy_setopt = fake_easy_setopt,
		.easy_getinfo = fake_easy_getinfo,
		.easy_cleanup = fake_easy_cleanup,
		.easy_strerror = fake_easy_strerror,
		.slist_append = fake_slist_append,
		.slist_free_all = fake_slist_free_all,
		.multi_init = fake_multi_init,
		.multi_cleanup = fake_multi_cleanup,
		.multi_add_handle = fake_multi_add_handle,
		.multi_remove_handle = fake_multi_remove_handle,
		.multi_perform = fake_multi_perform,
		.multi_poll = fake_multi_poll,
		.multi_wakeup = fake_multi_wakeup,
		.multi_info_read = fake_multi_info_read,
	};

	(void)fault;
	(void)fault_size;
	return &library;
}

/* ---- the tests ------------------------------------------------------------------------------------------------- */

static void
on_news(struct identity *identity, bool granted, void *context)
{
	(void)identity;
	(void)context;
	count(&fake.news, 1);
	if (granted)
		count(&fake.grants, 1);
}

/* Waits until *what, which is the fake's, is at least that much. */
static void
await(const char *behaviour, const unsigned *what, unsigned least)
{
	uint64_t end_ms = clock_now_ms() + PATIENCE_MS;
	unsigned is;

	for (;;) {
		pthread_mutex_lock(&fake.mutex);
		is = *what;
		pthread_mutex_unlock(&fake.mutex);
		if (is >= least)
			return;
		if (clock_now_ms() > end_ms)
			fail_msg("%s: %u, not %u", behaviour, is, least);
		usleep(1000);
	}
}

static struct config_auth
auth_of(enum auth_type type)
{
	static char id[] = "id", tenant[] = "tenant", secret[] = "secret", empty[] = "";
	static char authority[] = "https://authority.test", scope[] = "https://resource.test/.default";

	return (struct config_auth){
		.type = type,
		.key = empty,
		.key_file = empty,
		.client_id = id,
		.tenant_id = type == AUTH_MANAGED_IDENTITY ? empty : tenant,
		.client_secret = type == AUTH_MANAGED_IDENTITY ? empty : secret,
		.client_secret_file = empty,
		.authority_host = authority,
		.scope = scope,
	};
}

static struct identities *
start(const struct config_auth *auth, struct identity **identity)
{
	struct identities *identities = identities_new(on_news, NULL);
	char fault[100];

	fake.asked = fake.news = fake.grants = fake.multis_made = 0;
	fake.awake = false;
	*identity = identity_get(identities, auth);
	assert_true(identities_start(identities, fault, sizeof(fault)));
	return identities;
}

static void
stop(const char *behaviour, struct identities **identities, struct identity **identity)
{
	identities_stop(*identities);
	identity_release(identity);
	identities_free(identities);
	CHECK_NUMBER(behaviour, fake.easies, 0);
	CHECK_NUMBER(behaviour, fake.lists, 0);
	CHECK_NUMBER(behaviour, fake.multis, 0);
}

static const struct {
	const char *behaviour;
	unsigned *failing, failures;
	bool renews_loop, spoils_fetch;
} faults[] = {
	{ "nothing fails", NULL, 0, false, false },
	{ "the loop fails with a fetch under way", &fake.failing_performs, 1, true, true },
	{ "the loop fails twice", &fake.failing_performs, 2, true, true },
	{ "waiting fails", &fake.failing_polls, 1, true, false },
	{ "no handle can be had", &fake.failing_inits, 1, false, true },
	{ "no field can be added", &fake.failing_lists, 1, false, true },
	{ "the loop does not take the fetch", &fake.failing_adds, 1, false, true },
};

static void
test_whatever_fails_in_libcurl_a_later_fetch_does_well(void **state)
{
	struct config_auth auth = auth_of(AUTH_MANAGED_IDENTITY);

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(faults); i++) {
		struct identities *identities;
		struct identity *identity;

		if (faults[i].failing != NULL)
			*faults[i].failing = faults[i].failures;
		identities = start(&auth, &identity);
		await(faults[i].behaviour, &fake.grants, 1);
		if (faults[i].renews_loop)
			await(faults[i].behaviour, &fake.multis_made, 2);
		CHECK(faults[i].behaviour, (identity_counts(identity).error > 0) == faults[i].spoils_fetch);
		CHECK_NUMBER(faults[i].behaviour, identity_counts(identity).ok, 1);
		stop(faults[i].behaviour, &identities, &identity);
	}
}

static const struct {
	const char *behaviour;
	enum auth_type type;
	const char *url;
	bool shuns_proxies, posts;
} options[] = {
	{ "this machine's own service", AUTH_MANAGED_IDENTITY,
	    "http://169.254.169.254/metadata/identity/oauth2/"
	    "token?api-version=2018-02-01&resource=https%3A%2F%2Fresource.test"
	    "&client_id=id",
	    true, false },
	{ "Entra ID", AUTH_CLIENT_SECRET, "https://authority.test/tenant/oauth2/v2.0/token", false, true },
};

static void
test_a_fetch_goes_where_it_is_meant_to_go_and_nowhere_else(void **state)
{
	(void)state;
	unsetenv("IDENTITY_ENDPOINT");
	unsetenv("AZURE_POD_IDENTITY_AUTHORITY_HOST");
	for (size_t i = 0; i < ARRAY_COUNT(options); i++) {
		struct config_auth auth = auth_of(options[i].type);
		struct identities *identities;
		struct identity *identity;

		identities = start(&auth, &identity);
		await(options[i].behaviour, &fake.grants, 1);
		CHECK_TEXT(options[i].behaviour, slice_from(fake.last.url), options[i].url);
		CHECK(options[i].behaviour, fake.last.shuns_proxies == options[i].shuns_proxies);
		CHECK(options[i].behaviour, fake.last.posts == options[i].posts);
		CHECK(options[i].behaviour, !fake.last.follows && !fake.last.keeps_connection && !fake.last.old_tls);
		CHECK(options[i].behaviour, fake.last.verifies_peer && fake.last.verifies_host);
		stop(options[i].behaviour, &identities, &identity);
	}
}

static void
test_it_ends_while_a_fetch_is_under_way_that_nobody_wants_any_more(void **state)
{
	struct config_auth auth = auth_of(AUTH_MANAGED_IDENTITY);
	struct identities *identities;
	struct identity *identity;

	(void)state;
	fake.holds = true;
	identities = start(&auth, &identity);
	await("a fetch is under way", &fake.asked, 1);
	stop("a fetch is under way", &identities, &identity);
	fake.holds = false;
	assert_int_equal(fake.news, 0);
}

static void
test_many_refusals_cause_one_fetch_and_a_refused_fresh_token_none(void **state)
{
	struct config_auth auth = auth_of(AUTH_MANAGED_IDENTITY);
	struct identities *identities;
	struct identity *identity;
	struct buffer line = { 0 };
	uint64_t generation = 0, now_ms;

	(void)state;
	identities = start(&auth, &identity);
	await("the first token", &fake.grants, 1);
	now_ms = clock_now_ms();
	assert_int_equal(identity_authorize(identity, 0, now_ms, now_ms, 0, &line, &generation), TOKEN_READY);
	assert_int_equal(generation, 1);
	for (unsigned i = 0; i < 100; i++)
		assert_true(identity_refused(identity, 1, now_ms));
	await("the second token", &fake.grants, 2);
	assert_true(identity_refused(identity, 1, now_ms)); /* late, and the fresh one is there */
	assert_false(
	    identity_refused(identity, 2, now_ms - 1)); /* a worker's clock may be behind the fetching thread's */
	assert_false(identity_refused(identity, 2, clock_now_ms()));
	assert_int_equal(identity_authorize(identity, 1, now_ms, now_ms, 0, &line, &generation), TOKEN_READY);
	assert_int_equal(generation, 2);
	assert_int_equal(fake.asked, 2);
	/* A minute later it may have been revoked. */
	assert_true(identity_refused(identity, 2, clock_now_ms() + 60000));
	stop("refusals", &identities, &identity);
	buffer_free(&line);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whatever_fails_in_libcurl_a_later_fetch_does_well),
		cmocka_unit_test(test_a_fetch_goes_where_it_is_meant_to_go_and_nowhere_else),
		cmocka_unit_test(test_it_ends_while_a_fetch_is_under_way_that_nobody_wants_any_more),
		cmocka_unit_test(test_many_refusals_cause_one_fetch_and_a_refused_fresh_token_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
