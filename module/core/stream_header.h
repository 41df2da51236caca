/*
 * The header that opens a stream (RFC 6120 4.7), where it is written in the plainest way there is: enough to tell whom it is from and for
 * without an XML parser. Whatever is not so plain is no error; somebody else has to read it.
 */
#ifndef S2SP_STREAM_HEADER_H
#define S2SP_STREAM_HEADER_H

#include <stdbool.h>

#include "text.h"

struct s2sp_stream_header {
	struct s2sp_text from, to; /* parts of the bytes that were read; domains of small letters, digits, hyphens and dots */
};

/*
 * Whether `bytes` begin with a whole header of XMPP 1.0 between servers that every XML parser reads as this does: known attributes, each once, no
 * references, no other namespaces, ASCII only, and both addresses given as domains that no preparation changes. What follows the header is not
 * looked at. One pass, as far as the header goes; allocates nothing. `header` is filled if true; false if in doubt.
 */
bool s2sp_stream_header_read(struct s2sp_text bytes, struct s2sp_stream_header *header);

#endif
