#include "net/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "net/upstream.h"

struct worker_mail {
	struct worker_mail *next;
	worker_message_fn *fn;
	void *argument;
};

struct hand_over {
	int fd;
	struct sockaddr_storage peer;
};

static void
read_mail(struct worker *worker)
{
	struct worker_mail *mail;

	pthread_mutex_lock(&worker->mail_mutex);
	mail = worker->mail;
	worker->mail = NULL;
	worker->mail_tail = &worker->mail;
	pthread_mutex_unlock(&worker->mail_mutex);
	while (mail != NULL) {
		struct worker_mail *next = mail->next;

		mail->fn(worker, mail->argument);
		free(mail);
		mail = next;
	}
}

static void
on_mail(evutil_socket_t fd, short events, void *context)
{
	uint64_t count;

	(void)events;
	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_record(LOG_ERROR, "worker_mail", LOG_NO_FIELDS, "A worker's mailbox cannot be read");
	read_mail(context);
}

static void
empty_graves(struct worker *worker)
{
	while (worker->graves != NULL) {
		struct grave *grave = worker->graves;

		worker->graves = grave->next;
		grave->destroy(grave);
	}
}

struct worker *
worker_new(unsigned index, worker_accept_fn *on_accept, void *context)
{
	struct worker *worker = memory_take_zeroed(1, sizeof(*worker));
	struct event_config *config = event_config_new();

	worker->index = index;
	worker->on_accept = on_accept;
	worker->context = context;
	if (config == NULL || event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) != 0)
		fatal("worker: no event configuration");
	worker->base = event_base_new_with_config(config);
	event_config_free(config);
	if (worker->base == NULL)
		fatal("worker: no event base");
	worker->wheel = timer_wheel_new(worker->base);
	random_seed_from_system(&worker->random);
	worker->read_buffer = memory_take(WORKER_READ_BYTES);
	worker->mail_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (worker->mail_fd < 0)
		fatal("worker: no event descriptor");
	pthread_mutex_init(&worker->mail_mutex, NULL);
	worker->mail_tail = &worker->mail;
	if (event_assign(&worker->mail_event, worker->base, worker->mail_fd, EV_READ | EV_PERSIST, on_mail, worker) !=
		0 ||
	    event_add(&worker->mail_event, NULL) != 0)
		fatal("worker: the mailbox cannot be watched");
	worker->pool = upstream_pool_new();
	return worker;
}

static void *
worker_main(void *context)
{
	struct worker *worker = context;

	while (!worker->stop) {
		if (event_base_loop(worker->base, EVLOOP_ONCE) < 0)
			fatal("worker %u: the event loop failed", worker->index);
		empty_graves(worker);
	}
	return NULL;
}

bool
worker_start(struct worker *worker)
{
	worker->running = pthread_create(&worker->thread, NULL, worker_main, worker) == 0;
	return worker->running;
}

static void
stop_now(struct worker *worker, void *unused)
{
	(void)unused;
	worker->stop = true;
}

void
worker_stop(struct worker *worker)
{
	worker_post(worker, stop_now, NULL);
}

void
worker_join(struct worker *worker)
{
	if (worker->running)
		pthread_join(worker->thread, NULL);
	worker->running = false;
}

void
worker_free(struct worker **worker)
{
	struct worker *gone = *worker;

	if (gone == NULL)
		return;
	*worker = NULL;
	read_mail(gone);
	upstream_pool_free(gone, &gone->pool);
	empty_graves(gone);
	timer_wheel_free(&gone->wheel);
	event_del(&gone->mail_event);
	close(gone->mail_fd);
	event_base_free(gone->base);
	pthread_mutex_destroy(&gone->mail_mutex);
	free(gone->read_buffer);
	free(gone);
}

void
worker_post(struct worker *worker, worker_message_fn *fn, void *argument)
{
	struct worker_mail *mail = memory_take_zeroed(1, sizeof(*mail));
	uint64_t one = 1;

	mail->fn = fn;
	mail->argument = argument;
	pthread_mutex_lock(&worker->mail_mutex);
	*worker->mail_tail = mail;
	worker->mail_tail = &mail->next;
	pthread_mutex_unlock(&worker->mail_mutex);
	/* Fails only when the counter is full, and then the worker is awake anyhow. */
	if (write(worker->mail_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		fatal("worker: the mailbox cannot be rung");
}

static void
take_over(struct worker *worker, void *argument)
{
	struct hand_over *given = argument;

	worker->on_accept(worker, given->fd, &given->peer);
	free(given);
}

void
worker_hand_over(struct worker *worker, int fd, const struct sockaddr_storage *peer)
{
	struct hand_over *given = memory_take(sizeof(*given));

	given->fd = fd;
	given->peer = *peer;
	worker_post(worker, take_over, given);
}

void
worker_bury(struct worker *worker, struct grave *grave, void (*destroy)(struct grave *grave))
{
	grave->destroy = destroy;
	grave->next = worker->graves;
	worker->graves = grave;
}
