/* Internationalised names: U-labels to A-labels by libidn2. The only room that knows it. */
#ifndef S2SP_IDNA_H
#define S2SP_IDNA_H

#include "domain.h"

/*
 * A s2sp_domain_to_ascii: IDNA2008 (RFC 5891) with the non-transitional mapping of UTS-46, so that "faß.de" and
 * "fass.de" are two domains and "BÜCHER.de" and "bücher.de" are one. `name` is borrowed for the call.
 *
 * Stricter than UTS-46 in this: code points that the mapping would silently drop (soft hyphen, zero-width space,
 * variation selectors...) make the name S2SP_DOMAIN_IDNA, since two names that differ to the reader of a log must not be
 * one domain; so does an "xn--" label that does not come back from its U-label unchanged. A mapping that adds or removes
 * dots is S2SP_DOMAIN_CHARACTER. Malformed UTF-8, NUL, and running out of memory are S2SP_DOMAIN_IDNA.
 *
 * The caller (s2sp_domain_parse) has checked the ASCII part and checks the result's characters and for IP addresses.
 */
enum s2sp_domain_fault s2sp_idna_to_ascii(struct s2sp_text name, struct s2sp_domain *out);

#endif
