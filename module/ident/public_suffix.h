/* Public suffixes: names under which anybody can have a domain. By libpsl, the only room that knows it; a build may do without. */
#ifndef S2SP_PUBLIC_SUFFIX_H
#define S2SP_PUBLIC_SUFFIX_H

#include "domain.h"

/*
 * A s2sp_domain_is_public: by the list that libpsl was built with, both its parts, that of the registries and
 * that of others who give out names ("github.io"). False for all that is not in the list, and where the build has no libpsl. Reads no
 * file. `domain` is canonical, and borrowed.
 */
bool s2sp_public_suffix(struct s2sp_text domain);

#endif
