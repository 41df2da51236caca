/*
 * Prosody's own options, where they can be stricter than a partner's entry: what each of them takes away, worded for core. mod_s2s
 * refuses streams without TLS under s2s_require_encryption, under s2s_secure_auth unless the domain is in s2s_insecure_domains, and
 * to what is in s2s_secure_domains; the latter two also demand a valid certificate. s2s_allow_encryption = false is mod_tls off. And
 * the modules that a method needs, where the host does not load them.
 * Nothing of Lua is needed here.
 */
#ifndef S2SP_PROSODY_HOST_OPTIONS_H
#define S2SP_PROSODY_HOST_OPTIONS_H

#include "arena.h"
#include "index.h"
#include "s2sp.h"

struct s2sp_host_options {
	bool require_encryption;                /* of the host or of the global section; true when absent */
	bool allow_encryption;                  /* true when absent */
	bool secure_auth;                       /* of the host or of the global section */
	const struct s2sp_text *secure_domains; /* as written */
	size_t secure_domain_count;
	const struct s2sp_text *insecure_domains;
	size_t insecure_domain_count;
	bool without_tls; /* the host does not load that module of core's; the same of the others */
	bool without_saslauth;
	bool without_dialback;
	bool out_of_reach;    /* the host takes part in no stream */
	bool crls;            /* the host has certificate revocation lists for the authorities that it trusts */
	uint32_t s2s_timeout; /* seconds; 0 when unknown */
};

/* Tells `config` of options that are dubious by themselves, after all its sections. OK or NO_MEMORY. */
enum s2sp_status s2sp_host_options_tell(const struct s2sp_host_options *options, struct s2sp_config *config);

/* The options as constraints, for s2sp_config_seal_policy. Begun, used and ended without a call that can throw between. */
struct s2sp_host_rules {
	const struct s2sp_host_options *options;
	struct s2sp_arena arena;
	struct s2sp_index secure;
	struct s2sp_index insecure;
	struct s2sp_host host;
};
/* OK or NO_MEMORY; to be ended either way. `rules` must stay where it is, `options` be there as long. */
enum s2sp_status s2sp_host_rules_begin(struct s2sp_host_rules *rules, const struct s2sp_allocator *allocator,
									   const struct s2sp_host_options *options);
void s2sp_host_rules_end(struct s2sp_host_rules *rules);

#endif
