/* daemon/notify.h: tells a service manager how the daemon is, as sd_notify(3) describes.
 *
 * A datagram to the socket that NOTIFY_SOCKET names, a path or (with '@' before it) an abstract name; without the variable
 * nothing is sent. A few lines of our own instead of libsystemd, which would bring more into the image than all the rest.
 * The main thread's.
 */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

#include <stdint.h>

#include "base/compiler.h"

/* lines: "READY=1", or several with '\n' between them. What cannot be told is not worth stopping for: nothing is
 * returned. */
void notify(const char *lines);
/* The beginning of a reload, with the monotonic time that the manager asks for; its end is READY=1. */
void notify_reloading(void);
/* How often the watchdog wants to hear of us, in ms: half of what it waits. 0: there is none for this process. */
uint64_t notify_watchdog_ms(void) MUST_CHECK;

#endif
