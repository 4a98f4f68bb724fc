/* http/reason.h: the reason phrases of status lines (RFC 9110, 15). Pure; safe from any thread. */
#ifndef HTTP_REASON_H
#define HTTP_REASON_H

/* Static text; "" for a status that has no phrase here: a status line may end in an empty one. */
const char *reason_phrase(unsigned status);

#endif
