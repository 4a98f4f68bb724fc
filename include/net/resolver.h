/* net/resolver.h: looks names up on threads of its own (getaddrinfo blocks). Used by net/endpoint.c alone; its start and
 * stop are declared in net/endpoint.h. A documented singleton: a process has one resolver. */
#ifndef NET_RESOLVER_H
#define NET_RESOLVER_H

#include <stddef.h>
#include <stdint.h>

#include "net/endpoint.h"

/* Queues a look-up. Takes the given reference over; reports with endpoint_resolved(). */
void resolver_look_up(struct endpoint *endpoint, const char *host, uint16_t port);

/* The result of a look-up; called from a resolver thread. count 0 with a fault keeps the last addresses. */
void endpoint_resolved(struct endpoint *endpoint, const struct address *addresses, size_t count, const char *fault);

#endif
