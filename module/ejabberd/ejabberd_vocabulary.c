/* The words of ejabberd: its configuration is YAML, its commands are ejabberdctl's. */
#include "nif.h"

const struct s2sp_vocabulary s2sp_ejabberd_vocabulary = { {
	[S2SP_WORD_OPTION_PARTNERS] = "modules.mod_s2s_partners.partners",
	[S2SP_WORD_OPTION_DEFAULT] = "modules.mod_s2s_partners.default",
	[S2SP_WORD_OPTION_LIMITS] = "modules.mod_s2s_partners.limits",
	[S2SP_WORD_OPTION_EXTERNAL_ACCESS] = "modules.mod_s2s_partners.external_access",
	[S2SP_WORD_CHECK] = "ejabberdctl s2s_partners_check",
	[S2SP_WORD_RELOAD] = "ejabberdctl reload_config",
	[S2SP_WORD_STREAMS] = "ejabberdctl s2s_partners_streams",
	[S2SP_WORD_SHOW] = "ejabberdctl s2s_partners_show DOMAIN",
	[S2SP_WORD_TEST] = "ejabberdctl s2s_partners_test LOCAL REMOTE",
	[S2SP_WORD_HOST_CONSTRAINTS] =
		"ejabberd's own s2s_access and s2s_use_starttls, and a mod_s2s_dialback that is missing or denies access,",
	[S2SP_WORD_HOST_ACCESS] = "modules.mod_s2s_partners.external_access",
	[S2SP_WORD_HOST_REINSTALL] = "reinstall the package for this version of ejabberd and Erlang",
	[S2SP_WORD_SETTING_IS] = ": ",
	[S2SP_WORD_SETTING_QUOTE] = "",
	[S2SP_WORD_MAPPING] = "a mapping",
	[S2SP_WORD_SAMPLE_PARTNERS] = "[{domain: ..., ...}]",
	[S2SP_WORD_SAMPLE_PARTNER] = "{domain: ..., partner_type: ...}",
	[S2SP_WORD_SAMPLE_DOMAINS] = "[corp.fabrikam.com, \"*.it.fabrikam.com\"]",
	[S2SP_WORD_SAMPLE_PINS] = "[\"sha256//BASE64=\"]",
	[S2SP_WORD_SAMPLE_CRLS] = "[\"crls/fabrikam-*.crl\"]",
	[S2SP_WORD_SAMPLE_LIST] = "[first, second]",
	[S2SP_WORD_SAMPLE_LIMITS] = "{connections: 1000, ...}",
	[S2SP_WORD_SAMPLE_ACCESS] = "{default: allow, users: {name: deny}}",
	[S2SP_WORD_SAMPLE_USERS] = "{name: deny}",
	[S2SP_WORD_TOO_DEEP] = "a list stands inside a list here: remove one dash or one pair of brackets",
	[S2SP_WORD_NOT_A_LIST] = "put a dash in front of it: [{domain: ..., partner_type: ...}]",
} };
