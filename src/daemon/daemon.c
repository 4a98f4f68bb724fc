#include "daemon/daemon.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <event2/event.h>

#include "admin/admin.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/trim.h"
#include "config/fields.h"
#include "daemon/notify.h"
#include "net/tls.h"
#include "proxy/proxy.h"

/* While draining, how often open connections are counted. */
#define DRAIN_LOOK_MS 20
/* Memory for a body of at least this size goes back to the system as soon as it is freed. */
#define LARGE_BODY_BYTES (128 * 1024)
/* At the end a stuck stdout gets this long. */
#define LOG_STOP_MS 2000

enum drain { RUNNING, DELAYING, DRAINING };

struct daemon {
	const struct options *options;
	struct proxy *proxy;
	struct event_base *base;
	struct admin *admin;
	struct event *on_term, *on_int, *on_hup, *on_drain;
	struct event *on_watchdog; /* NULL: no service manager waits for it */
	uint64_t watchdog_ms;
	struct event *on_tick;
	struct trim trim;
	enum drain drain;
	uint64_t drain_deadline_ms;
};

/* Secrets, prompts and answers are in this process's memory: it leaves no image of it behind. */
static void
forbid_core_dumps(void)
{
	struct rlimit none = { 0, 0 };

	(void)setrlimit(RLIMIT_CORE, &none);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	(void)prctl(PR_SET_DUMPABLE, 0);
#endif
}

static void
block_signals(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(how, &set, NULL);
}

void
daemon_hold_signals(void)
{
	block_signals(SIG_BLOCK);
}

static void
wait_ms(struct event *event, uint64_t span_ms)
{
	struct timeval wait = { .tv_sec = (time_t)(span_ms / 1000), .tv_usec = (suseconds_t)(span_ms % 1000 * 1000) };

	event_add(event, &wait);
}

static void
on_drain(evutil_socket_t fd, short events, void *context)
{
	struct daemon *daemon = context;
	uint64_t now_ms = clock_now_ms();

	(void)fd;
	(void)events;
	if (daemon->drain == DELAYING) {
		daemon->drain = DRAINING;
		daemon->drain_deadline_ms = now_ms + daemon->proxy->fleet->config->timeouts.drain_ms;
		proxy_stop_accepting(daemon->proxy);
	}
	if (!proxy_is_drained(daemon->proxy) && now_ms < daemon->drain_deadline_ms)
		wait_ms(daemon->on_drain, DRAIN_LOOK_MS);
	else
		event_base_loopbreak(daemon->base);
}

static void
on_stop(evutil_socket_t signal_number, short events, void *context)
{
	struct daemon *daemon = context;

	(void)events;
	if (daemon->drain != RUNNING) {
		log_record(LOG_WARNING, "stop_at_once", LOG_NO_FIELDS, "A second signal: stopping at once");
		event_base_loopbreak(daemon->base);
		return;
	}
	log_record(LOG_INFO, "draining", LOG_FIELDS(LOG_NUMBER("connections", proxy_connections(daemon->proxy))),
	    "Signal %d: no longer ready; requests in flight are served to their end", (int)signal_number);
	notify("STOPPING=1\nSTATUS=Draining: requests in flight are served to their end");
	daemon->drain = DELAYING;
	proxy_fail_readiness(daemon->proxy);
	wait_ms(daemon->on_drain, daemon->proxy->fleet->config->timeouts.drain_delay_ms);
}

static void
log_faults(const struct config_faults *faults)
{
	for (size_t i = 0; i < faults->count; i++)
		log_record(LOG_ERROR, "config_fault",
		    LOG_FIELDS(LOG_STRING("path", faults->items[i].path), LOG_STRING("fault", faults->items[i].text)),
		    "Configuration fault: %s%s%s", faults->items[i].path, faults->items[i].path[0] != '\0' ? ": " : "",
		    faults->items[i].text);
}

/* What a reload cannot change is named, and stays as it was. */
static void
report_fixed(const struct config *before, const struct config *after)
{
	struct config_faults changes = { 0 };

	(void)config_fixed_changes(before, after, &changes);
	for (size_t i = 0; i < changes.count; i++)
		log_record(LOG_WARNING, "not_reloadable",
		    LOG_FIELDS(LOG_STRING("path", changes.items[i].path), LOG_STRING("text", changes.items[i].text)),
		    "Not changed by a reload: %s: %s", changes.items[i].path, changes.items[i].text);
	config_faults_free(&changes);
}

/* Loads the configuration anew and swaps it in; whatever is wrong with it is in faults, and the running one stays. */
static bool
reload(void *context, struct config_faults *faults)
{
	struct daemon *daemon = context;
	struct config *config = NULL;
	char fault[512] = "";
	bool done = false;

	if (daemon->drain == RUNNING) /* a manager that knows of the end must not hear of a new beginning */
		notify_reloading();
	if (daemon->options->command == COMMAND_DEMO)
		config_faults_add(faults, "", "the demo has no configuration to reload");
	else
		config = options_load_config(daemon->options, faults);
	if (config != NULL) {
		enum log_format format = config->log_format;
		enum log_level level = config->log_level;

		report_fixed(daemon->proxy->fleet->config, config);
		done = proxy_reload(daemon->proxy, config, fault, sizeof(fault));
		if (done)
			log_configure(format, level);
		else
			config_faults_add(faults, "", "%s", fault);
	}
	log_faults(faults);
	daemon->proxy->reloads[done]++;
	if (done)
		log_record(LOG_INFO, "reloaded", LOG_NO_FIELDS, "The configuration has been reloaded");
	else
		log_record(LOG_ERROR, "reload_failed", LOG_NO_FIELDS,
		    "The configuration has not been reloaded; the running one stays");
	if (daemon->drain == RUNNING)
		notify(done ? "READY=1\nSTATUS=Ready" : "READY=1\nSTATUS=Ready; the last reload failed, see the log");
	return done;
}

static void
on_reload(evutil_socket_t signal_number, short events, void *context)
{
	struct config_faults faults = { 0 };

	(void)signal_number;
	(void)events;
	(void)!reload(context, &faults); /* the log has it */
	config_faults_free(&faults);
}

static void
announce(const struct daemon *daemon)
{
	const struct config *config = daemon->proxy->fleet->config;
	const char *scheme = config->listen.certificate_file[0] != '\0' ? "https" : "http";
	bool is_v6 = strchr(config->listen.address, ':') != NULL;

	if (config->client_count == 0 && !config_is_loopback(config->listen.address))
		log_record(LOG_WARNING, "open_to_all", LOG_NO_FIELDS,
		    "No clients are configured: whoever reaches this address may use the backends (see `clients`)");
	log_record(LOG_INFO, "admin_listening", LOG_FIELDS(LOG_NUMBER("port", admin_port(daemon->admin))),
	    "Admin port %u on %s: /metrics, /status, /status.json, /healthz, /readyz, /reload",
	    admin_port(daemon->admin), config->admin.address);
	log_record(LOG_INFO, "listening",
	    LOG_FIELDS(LOG_STRING("address", config->listen.address), LOG_NUMBER("port", proxy_port(daemon->proxy)),
		LOG_NUMBER("backends", config->backend_count), LOG_NUMBER("workers", daemon->proxy->worker_count)),
	    "Listening on %s://%s%s%s:%u", scheme, is_v6 ? "[" : "", config->listen.address, is_v6 ? "]" : "",
	    proxy_port(daemon->proxy));
}

static struct event *
watch_signal(struct daemon *daemon, int number, event_callback_fn fn)
{
	struct event *event = evsignal_new(daemon->base, number, fn, daemon);

	if (event == NULL || event_add(event, NULL) != 0)
		fatal("daemon: signal %d cannot be watched", number);
	return event;
}

static void
watch_signals(struct daemon *daemon)
{
	daemon->on_term = watch_signal(daemon, SIGTERM, on_stop);
	daemon->on_int = watch_signal(daemon, SIGINT, on_stop);
	daemon->on_hup = watch_signal(daemon, SIGHUP, on_reload);
	daemon->on_drain = evtimer_new(daemon->base, on_drain, daemon);
	if (daemon->on_drain == NULL)
		fatal("daemon: no timer");
}

/* Keeps house, once a second. */
static void
on_tick(evutil_socket_t fd, short events, void *context)
{
	struct daemon *daemon = context;

	(void)fd;
	(void)events;
	if (trim_is_due(&daemon->trim, tls_connections_made(), proxy_connections(daemon->proxy)))
		(void)malloc_trim(0);
}

static void
start_ticking(struct daemon *daemon)
{
	struct timeval second = { .tv_sec = 1 };

	daemon->on_tick = event_new(daemon->base, -1, EV_PERSIST, on_tick, daemon);
	if (daemon->on_tick == NULL || event_add(daemon->on_tick, &second) != 0)
		fatal("daemon: no timer");
}

static void
on_watchdog(evutil_socket_t fd, short events, void *context)
{
	struct daemon *daemon = context;

	(void)fd;
	(void)events;
	notify("WATCHDOG=1");
	wait_ms(daemon->on_watchdog, daemon->watchdog_ms);
}

static void
watch_for_manager(struct daemon *daemon)
{
	daemon->watchdog_ms = notify_watchdog_ms();
	if (daemon->watchdog_ms == 0)
		return;
	daemon->on_watchdog = evtimer_new(daemon->base, on_watchdog, daemon);
	if (daemon->on_watchdog == NULL)
		fatal("daemon: no timer");
	on_watchdog(-1, 0, daemon);
}

static void
forget_events(struct daemon *daemon)
{
	if (daemon->on_watchdog != NULL)
		event_free(daemon->on_watchdog);
	if (daemon->on_tick != NULL)
		event_free(daemon->on_tick);
	event_free(daemon->on_term);
	event_free(daemon->on_int);
	event_free(daemon->on_hup);
	event_free(daemon->on_drain);
}

int
daemon_run(const struct options *options, struct config *config)
{
	struct daemon daemon = { .options = options };
	char fault[512] = "";
	bool started;

	forbid_core_dumps();
	/* Without this glibc raises the threshold once a large body has been freed, and keeps later ones' memory. */
	(void)mallopt(M_MMAP_THRESHOLD, LARGE_BODY_BYTES);
	signal(SIGPIPE, SIG_IGN);
	daemon_hold_signals(); /* threads inherit this: signals are the main thread's alone */
	log_configure(config->log_format, config->log_level);
	daemon.proxy = proxy_new(config, fault, sizeof(fault));
	if (daemon.proxy == NULL) {
		fprintf(stderr, "aoai-lb: %s\n", fault);
		return EXIT_NO_START;
	}
	daemon.base = event_base_new();
	if (daemon.base == NULL)
		fatal("daemon: no event base");
	watch_signals(&daemon);
	started = log_start();
	if (started) {
		daemon.admin = admin_new(daemon.base, daemon.proxy, reload, &daemon, fault, sizeof(fault));
		started = daemon.admin != NULL && proxy_start(daemon.proxy, daemon.base, fault, sizeof(fault));
	}
	block_signals(SIG_UNBLOCK);
	if (started) {
		announce(&daemon);
		watch_for_manager(&daemon);
		start_ticking(&daemon);
		notify("READY=1\nSTATUS=Ready");
		(void)event_base_dispatch(daemon.base);
		log_record(LOG_INFO, "stopped", LOG_NO_FIELDS, "Stopped");
	}
	admin_free(&daemon.admin);
	proxy_free(&daemon.proxy);
	forget_events(&daemon);
	event_base_free(daemon.base);
	log_stop(LOG_STOP_MS);
	if (!started)
		fprintf(stderr, "aoai-lb: %s\n", fault[0] != '\0' ? fault : "no thread for the log can be started");
	return started ? EXIT_STOPPED : EXIT_NO_START;
}
