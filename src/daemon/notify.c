#include "daemon/notify.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/slice.h"

void
notify(const char *lines)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = name != NULL ? strlen(name) : 0;
	int fd;

	if (length < 2 || length >= sizeof(address.sun_path) || (name[0] != '/' && name[0] != '@'))
		return;
	memcpy(address.sun_path, name, length);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	(void)!sendto(fd, lines, strlen(lines), MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&address,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
	close(fd);
}

void
notify_reloading(void)
{
	struct timespec now;
	char lines[80];

	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(lines, sizeof(lines), "RELOADING=1\nMONOTONIC_USEC=%lld",
	    (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	notify(lines);
}

uint64_t
notify_watchdog_ms(void)
{
	uint64_t microseconds, process;
	const char *whose = getenv("WATCHDOG_PID");

	if (!slice_to_u64(slice_from(getenv("WATCHDOG_USEC")), &microseconds) || microseconds == 0)
		return 0;
	if (whose != NULL && (!slice_to_u64(slice_from(whose), &process) || process != (uint64_t)getpid()))
		return 0;
	return microseconds / 2000 > 0 ? microseconds / 2000 : 1;
}
