/* daemon/daemon.h: the life of the process: start, signals, reload, drain, stop.
 *
 *	if (!options_parse(argc, argv, &options)) return EXIT_BAD_CONFIG;
 *	return daemon_run(&options);
 */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include <stdbool.h>

#include "base/compiler.h"
#include "config/config.h"

/* Exit codes, as the contract has them. */
#define EXIT_STOPPED 0
#define EXIT_BAD_CONFIG 1
#define EXIT_NO_START 2

enum command { COMMAND_RUN, COMMAND_DEMO, COMMAND_CHECK, COMMAND_PRINT, COMMAND_HEALTH, COMMAND_VERSION, COMMAND_HELP };

struct options {
	enum command command;
	const char *config_file; /* NULL: the environment form, else CONFIG_PATH_DEFAULT */
	const char *health_url;  /* NULL: this configuration's own */
};

/* Reads the command line. False, with one line on stderr, when it is faulty. */
bool options_parse(int argc, char *const *argv, struct options *options) MUST_CHECK;
void options_print_help(void);

/* Loads the configuration that the options name. NULL with all its faults. */
struct config *options_load_config(const struct options *options, struct config_faults *faults) MUST_CHECK;

/* The demo's configuration: its text, with the environment's PORT, ADMIN_ADDRESS, ADMIN_PORT and LOG_FORMAT. */
struct config *options_load_demo(const char *text, struct config_faults *faults) MUST_CHECK;

/* Holds back the signals that stop and reload until daemon_run() can serve them. As the first process of a container the
 * daemon would otherwise lose one that comes while it reads its configuration. Threads made later inherit it. */
void daemon_hold_signals(void);

/* Runs until it is told to stop; returns the exit code. Takes the configuration over. */
int daemon_run(const struct options *options, struct config *config) MUST_CHECK;

/* Asks a running daemon's health; returns the exit code. */
int health_check(const struct options *options) MUST_CHECK;

/* The simulator as three backends on this machine. Starts it and returns its configuration's text, which the caller frees;
 * NULL, having said why, when it cannot start. */
struct sim;
char *demo_start(struct sim **sim) MUST_CHECK;

#endif
