/*
 * The host as the core sees it. A host can be stricter than its partners' entries: options, modules and rules of its own rule a
 * method out. The adapter knows these constraints and words them; the core subtracts them from each row and reports what that means.
 */
#ifndef S2SP_HOST_H
#define S2SP_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

/*
 * One of them. The words are the host's, complete (no slots of a vocabulary), NUL-terminated, and outlive the call. An error names
 * every constraint that leaves a partner without a method: "leaves only TCP dialback, which FACT and FACT forbid; REMEDY and
 * REMEDY". A warning names the first that takes a fallback from partners that keep a method: "PATH: got GOT; LOST".
 */
struct s2sp_constraint {
	uint8_t forbids;          /* set of enum s2sp_method: none of them is a method under it */
	bool demands_certificate; /* TLS dialback is a method only with a valid certificate */
	const char *fact;         /* the option and its value; NULL where forbids is empty */
	const char *remedy;       /* how to allow it; "{domain}" in it is the domain, quoted */
	const char *remedy_all;   /* the same where no domain can be named (a wildcard, unlisted domains); NULL: `remedy` */
	const char *path;
	const char *got;  /* NULL: nothing to show */
	const char *lost; /* what they lose and how to allow it; "{partners}" in it is their number and the first names */
};

#define S2SP_CONSTRAINTS_MAX 32

/*
 * What a policy has to know of its host. Plain data of the adapter: borrowed for the call that takes it. Zeroed, it is a host that is
 * never stricter than an entry.
 */
struct s2sp_host {
	const struct s2sp_constraint *constraints; /* all that the host can have, in the order in which they are told */
	size_t constraint_count;                   /* at most S2SP_CONSTRAINTS_MAX */
	/* Bits (1 << index) of those that hold for a canonical domain; `domain` is empty where none can be named. Must not fail. */
	uint32_t (*holding)(const void *of, struct s2sp_text domain);
	const void *of;
	bool out_of_reach; /* the host takes part in no stream: no partner reaches it, over any stream */
	bool crls;         /* the host has certificate revocation lists for the authorities that it trusts */
};

#endif
