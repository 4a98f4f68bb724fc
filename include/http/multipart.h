/* http/multipart.h: finds one form field in a multipart/form-data body (RFC 7578): the model of audio and image calls.
 *
 * Pure; safe from any thread; no allocation.
 */
#ifndef HTTP_MULTIPART_H
#define HTTP_MULTIPART_H

#include <stdbool.h>

#include "base/compiler.h"
#include "base/slice.h"

enum multipart_status { MULTIPART_OK, MULTIPART_MALFORMED, MULTIPART_DUPLICATE };

/* The boundary parameter of a Content-Type of multipart/form-data (quoted or not, 1 to 70 bytes); false when the type is
 * another or the boundary is missing or unfit. Borrowed from content_type. */
bool multipart_boundary(struct slice content_type, struct slice *boundary) MUST_CHECK;

/* Finds the part whose Content-Disposition name is name (case-sensitive) and which has no filename.
 *
 * value	set to the part's content, borrowed from body; empty with *found false when there is none
 *
 * MULTIPART_DUPLICATE: more than one such part. MULTIPART_MALFORMED: the delimiters or the parts' headers are not as
 * RFC 2046 has them, or the closing delimiter is missing. */
enum multipart_status multipart_find(struct slice body, struct slice boundary, struct slice name, struct slice *value,
    bool *found) MUST_CHECK;

#endif
