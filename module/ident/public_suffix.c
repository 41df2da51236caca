#include "public_suffix.h"

#include <string.h>

#ifdef S2SP_WITH_LIBPSL
#include <libpsl.h>

bool s2sp_public_suffix(struct s2sp_text domain) {
	char name[S2SP_DOMAIN_LENGTH_MAX + 1];
	const psl_ctx_t *list = psl_builtin();
	if (list == NULL || domain.length == 0 || domain.length > S2SP_DOMAIN_LENGTH_MAX)
		return false;
	memcpy(name, domain.bytes, domain.length);
	name[domain.length] = '\0';
	/* What is not in the list at all is no suffix: "corp.internal" has an owner. */
	return psl_is_public_suffix2(list, name, PSL_TYPE_ANY | PSL_TYPE_NO_STAR_RULE) != 0;
}
#else
bool s2sp_public_suffix(struct s2sp_text domain) {
	(void)domain;
	return false;
}
#endif
