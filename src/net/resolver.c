#include "net/resolver.h"

#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"

/* So many names may be slow at once without holding up the others. */
#define RESOLVER_THREADS 4
/* How long the end of the process waits for look-ups under way. */
#define STOP_PATIENCE_MS 200L

struct job {
	struct job *next;
	struct endpoint *endpoint;
	char *host;
	uint16_t port;
};

static struct {
	pthread_mutex_t mutex; /* guards jobs and stopping */
	pthread_cond_t work;
	struct job *jobs, **tail;
	bool stopping;
	pthread_t threads[RESOLVER_THREADS];
	unsigned thread_count;
	endpoint_resolved_fn *on_resolved;
	void *context;
} the_resolver = {
	.mutex = PTHREAD_MUTEX_INITIALIZER,
	.work = PTHREAD_COND_INITIALIZER,
};

static void
job_free(struct job *job)
{
	endpoint_release(&job->endpoint);
	free(job->host);
	free(job);
}

static void
look_up(struct job *job)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
	struct addrinfo *found = NULL;
	struct address addresses[ENDPOINT_ADDRESSES_MAX];
	size_t count = 0;
	char port[8];
	int error;

	snprintf(port, sizeof(port), "%u", job->port);
	error = getaddrinfo(job->host, port, &hints, &found);
	for (struct addrinfo *one = found; error == 0 && one != NULL && count < ENDPOINT_ADDRESSES_MAX;
	     one = one->ai_next) {
		if (one->ai_addrlen > sizeof(addresses[0].socket_address))
			continue;
		memset(&addresses[count], 0, sizeof(addresses[count]));
		memcpy(&addresses[count].socket_address, one->ai_addr, one->ai_addrlen);
		addresses[count++].length = one->ai_addrlen;
	}
	if (error == 0)
		freeaddrinfo(found);
	endpoint_resolved(job->endpoint, addresses, count,
	    error != 0       ? gai_strerror(error)
		: count == 0 ? "it has no usable address"
			     : "");
	/* Under the lock, so that nobody is called once the resolver has been stopped. */
	pthread_mutex_lock(&the_resolver.mutex);
	if (!the_resolver.stopping)
		the_resolver.on_resolved(job->endpoint, the_resolver.context);
	pthread_mutex_unlock(&the_resolver.mutex);
}

static void *
resolver_main(void *unused)
{
	(void)unused;
	pthread_mutex_lock(&the_resolver.mutex);
	while (!the_resolver.stopping) {
		struct job *job = the_resolver.jobs;

		if (job == NULL) {
			pthread_cond_wait(&the_resolver.work, &the_resolver.mutex);
			continue;
		}
		the_resolver.jobs = job->next;
		if (the_resolver.jobs == NULL)
			the_resolver.tail = &the_resolver.jobs;
		pthread_mutex_unlock(&the_resolver.mutex);
		look_up(job);
		job_free(job);
		pthread_mutex_lock(&the_resolver.mutex);
	}
	pthread_mutex_unlock(&the_resolver.mutex);
	return NULL;
}

bool
resolver_start(endpoint_resolved_fn *on_resolved, void *context)
{
	the_resolver.on_resolved = on_resolved;
	the_resolver.context = context;
	the_resolver.tail = &the_resolver.jobs;
	the_resolver.stopping = false;
	for (the_resolver.thread_count = 0; the_resolver.thread_count < RESOLVER_THREADS; the_resolver.thread_count++) {
		if (pthread_create(&the_resolver.threads[the_resolver.thread_count], NULL, resolver_main, NULL) != 0)
			return the_resolver.thread_count > 0;
	}
	return true;
}

void
resolver_stop(void)
{
	struct timespec patience;

	pthread_mutex_lock(&the_resolver.mutex);
	the_resolver.stopping = true;
	pthread_mutex_unlock(&the_resolver.mutex);
	pthread_cond_broadcast(&the_resolver.work);
	/* One that is stuck in a look-up ends with the process. */
	clock_gettime(CLOCK_REALTIME, &patience);
	patience.tv_nsec += STOP_PATIENCE_MS * 1000000L;
	patience.tv_sec += patience.tv_nsec / 1000000000L;
	patience.tv_nsec %= 1000000000L;
	for (unsigned i = 0; i < the_resolver.thread_count; i++)
		if (pthread_timedjoin_np(the_resolver.threads[i], NULL, &patience) != 0)
			pthread_detach(the_resolver.threads[i]);
	pthread_mutex_lock(&the_resolver.mutex);
	the_resolver.thread_count = 0;
	while (the_resolver.jobs != NULL) {
		struct job *job = the_resolver.jobs;

		the_resolver.jobs = job->next;
		job_free(job);
	}
	the_resolver.tail = &the_resolver.jobs;
	pthread_mutex_unlock(&the_resolver.mutex);
}

void
resolver_look_up(struct endpoint *endpoint, const char *host, uint16_t port)
{
	struct job *job = memory_take_zeroed(1, sizeof(*job));

	job->endpoint = endpoint;
	job->host = memory_copy_string(host);
	job->port = port;
	pthread_mutex_lock(&the_resolver.mutex);
	*the_resolver.tail = job;
	the_resolver.tail = &job->next;
	pthread_mutex_unlock(&the_resolver.mutex);
	pthread_cond_signal(&the_resolver.work);
}
