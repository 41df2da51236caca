/*
 * Atoms. They are made once, when the library is loaded, and never from what comes in: the emulator keeps atoms for ever, and has room
 * for about a million.
 */
#ifndef S2SP_NIF_ATOMS_H
#define S2SP_NIF_ATOMS_H

#include <erl_nif.h>
#include "identity.h"
#include "s2sp.h"

/* Words of the border that are no tokens of core's. The name in C, which is that of the atom. */
#define S2SP_NIF_WORDS(WORD)                                                                                                     \
	WORD(absent)                                                                                                                 \
	WORD(access)                                                                                                                 \
	WORD(additional_domains)                                                                                                     \
	WORD(address)                                                                                                                \
	WORD(admitted)                                                                                                               \
	WORD(all)                                                                                                                    \
	WORD(allow)                                                                                                                  \
	WORD(allow_without_events)                                                                                                   \
	WORD(allowed)                                                                                                                \
	WORD(anchors)                                                                                                                \
	WORD(anonymous)                                                                                                              \
	WORD(any)                                                                                                                    \
	WORD(ask)                                                                                                                    \
	WORD(asks)                                                                                                                   \
	WORD(authority)                                                                                                              \
	WORD(automatic)                                                                                                              \
	WORD(available)                                                                                                              \
	WORD(bidi)                                                                                                                   \
	WORD(bytes)                                                                                                                  \
	WORD(cause)                                                                                                                  \
	WORD(certificate)                                                                                                            \
	WORD(chain)                                                                                                                  \
	WORD(chain_not_after)                                                                                                        \
	WORD(chat)                                                                                                                   \
	WORD(code)                                                                                                                   \
	WORD(complete)                                                                                                               \
	WORD(connection_limit)                                                                                                       \
	WORD(connections)                                                                                                            \
	WORD(constraints)                                                                                                            \
	WORD(count)                                                                                                                  \
	WORD(counted)                                                                                                                \
	WORD(crls)                                                                                                                   \
	WORD(default_)                                                                                                               \
	WORD(demands_certificate)                                                                                                    \
	WORD(denied)                                                                                                                 \
	WORD(deny)                                                                                                                   \
	WORD(depth)                                                                                                                  \
	WORD(description)                                                                                                            \
	WORD(dialback)                                                                                                               \
	WORD(direction)                                                                                                              \
	WORD(domain)                                                                                                                 \
	WORD(entries)                                                                                                                \
	WORD(error)                                                                                                                  \
	WORD(error_if_directed)                                                                                                      \
	WORD(establishment_timeout)                                                                                                  \
	WORD(everybody)                                                                                                              \
	WORD(evicted)                                                                                                                \
	WORD(expected)                                                                                                               \
	WORD(external_access)                                                                                                        \
	WORD(fact)                                                                                                                   \
	WORD(false_)                                                                                                                 \
	WORD(fault)                                                                                                                  \
	WORD(file)                                                                                                                   \
	WORD(findings)                                                                                                               \
	WORD(forbids)                                                                                                                \
	WORD(given)                                                                                                                  \
	WORD(got)                                                                                                                    \
	WORD(grade)                                                                                                                  \
	WORD(group_chat)                                                                                                             \
	WORD(groupchat)                                                                                                              \
	WORD(headline)                                                                                                               \
	WORD(holding)                                                                                                                \
	WORD(host_crls)                                                                                                              \
	WORD(idle)                                                                                                                   \
	WORD(inactivity_timeout)                                                                                                     \
	WORD(incoming)                                                                                                               \
	WORD(iq)                                                                                                                     \
	WORD(issuer)                                                                                                                 \
	WORD(issues)                                                                                                                 \
	WORD(keepalive)                                                                                                              \
	WORD(keepalive_interval)                                                                                                     \
	WORD(kept)                                                                                                                   \
	WORD(key_bits)                                                                                                               \
	WORD(key_strong)                                                                                                             \
	WORD(key_type)                                                                                                               \
	WORD(learned)                                                                                                                \
	WORD(least_connections)                                                                                                      \
	WORD(limits)                                                                                                                 \
	WORD(links)                                                                                                                  \
	WORD(list)                                                                                                                   \
	WORD(lists)                                                                                                                  \
	WORD(locals)                                                                                                                 \
	WORD(lost)                                                                                                                   \
	WORD(mapping)                                                                                                                \
	WORD(match)                                                                                                                  \
	WORD(message)                                                                                                                \
	WORD(method)                                                                                                                 \
	WORD(methods)                                                                                                                \
	WORD(name)                                                                                                                   \
	WORD(name_count)                                                                                                             \
	WORD(names)                                                                                                                  \
	WORD(names_domain)                                                                                                           \
	WORD(nearest)                                                                                                                \
	WORD(next_update)                                                                                                            \
	WORD(no)                                                                                                                     \
	WORD(no_memory)                                                                                                              \
	WORD(none)                                                                                                                   \
	WORD(normal)                                                                                                                 \
	WORD(not_after)                                                                                                              \
	WORD(not_before)                                                                                                             \
	WORD(not_known)                                                                                                              \
	WORD(noted)                                                                                                                  \
	WORD(now)                                                                                                                    \
	WORD(offered)                                                                                                                \
	WORD(ok)                                                                                                                     \
	WORD(operator)                                                                                                               \
	WORD(other)                                                                                                                  \
	WORD(out_of_reach)                                                                                                           \
	WORD(outgoing)                                                                                                               \
	WORD(partner)                                                                                                                \
	WORD(partner_connections)                                                                                                    \
	WORD(partners)                                                                                                               \
	WORD(passed)                                                                                                                 \
	WORD(path)                                                                                                                   \
	WORD(peer)                                                                                                                   \
	WORD(personal_events)                                                                                                        \
	WORD(pin)                                                                                                                    \
	WORD(pins)                                                                                                                   \
	WORD(place)                                                                                                                  \
	WORD(policies)                                                                                                               \
	WORD(policy)                                                                                                                 \
	WORD(presence)                                                                                                               \
	WORD(presence_authorization)                                                                                                 \
	WORD(presented)                                                                                                              \
	WORD(proxy)                                                                                                                  \
	WORD(published)                                                                                                              \
	WORD(queued)                                                                                                                 \
	WORD(reason)                                                                                                                 \
	WORD(refuse)                                                                                                                 \
	WORD(refused)                                                                                                                \
	WORD(remedy)                                                                                                                 \
	WORD(remedy_all)                                                                                                             \
	WORD(revocation)                                                                                                             \
	WORD(revocation_until)                                                                                                       \
	WORD(row_methods)                                                                                                            \
	WORD(rule)                                                                                                                   \
	WORD(sasl)                                                                                                                   \
	WORD(sasl_external)                                                                                                          \
	WORD(seen)                                                                                                                   \
	WORD(self_signed)                                                                                                            \
	WORD(serial)                                                                                                                 \
	WORD(severity)                                                                                                               \
	WORD(size)                                                                                                                   \
	WORD(source)                                                                                                                 \
	WORD(stage)                                                                                                                  \
	WORD(stanza)                                                                                                                 \
	WORD(stanza_condition)                                                                                                       \
	WORD(stanza_type)                                                                                                            \
	WORD(starttls)                                                                                                               \
	WORD(starttls_required)                                                                                                      \
	WORD(status)                                                                                                                 \
	WORD(step)                                                                                                                   \
	WORD(steps)                                                                                                                  \
	WORD(store)                                                                                                                  \
	WORD(stores)                                                                                                                 \
	WORD(stream_condition)                                                                                                       \
	WORD(streams)                                                                                                                \
	WORD(subject)                                                                                                                \
	WORD(tables)                                                                                                                 \
	WORD(takes)                                                                                                                  \
	WORD(text)                                                                                                                   \
	WORD(this_update)                                                                                                            \
	WORD(tls)                                                                                                                    \
	WORD(token)                                                                                                                  \
	WORD(true_)                                                                                                                  \
	WORD(trust_anchors)                                                                                                          \
	WORD(type)                                                                                                                   \
	WORD(unavailable)                                                                                                            \
	WORD(uncovered)                                                                                                              \
	WORD(uncovered_depth)                                                                                                        \
	WORD(uncovered_issuer)                                                                                                       \
	WORD(undefined)                                                                                                              \
	WORD(unknown)                                                                                                                \
	WORD(unlisted_rule)                                                                                                          \
	WORD(user)                                                                                                                   \
	WORD(verdict)                                                                                                                \
	WORD(verify_only)                                                                                                            \
	WORD(wait)                                                                                                                   \
	WORD(warning)                                                                                                                \
	WORD(xmlel)                                                                                                                  \
	WORD(xmlcdata)                                                                                                               \
	WORD(yes)

#define S2SP_NIF_VALUES_MAX 8

struct s2sp_nif_atoms {
#define S2SP_NIF_FIELD(word) ERL_NIF_TERM word;
	S2SP_NIF_WORDS(S2SP_NIF_FIELD)
#undef S2SP_NIF_FIELD
	/* Tokens of core's, by their numbers. */
	ERL_NIF_TERM reasons[S2SP_REASON_COUNT];
	ERL_NIF_TERM verdicts[S2SP_CERTIFICATE_MALFORMED + 1];
	ERL_NIF_TERM kinds[S2SP_STANZA_COUNT];
	ERL_NIF_TERM local_kinds[S2SP_LOCAL_COUNT];
	ERL_NIF_TERM needs[S2SP_NEED_COUNT];
	ERL_NIF_TERM requirements[S2SP_NOT_SUPPORTED + 1];
	ERL_NIF_TERM partner_types[S2SP_FEDERATED + 1];
	ERL_NIF_TERM revocations[S2SP_REVOCATION_REQUIRED + 1];
	ERL_NIF_TERM matches[S2SP_MATCH_WILDCARD + 1];
	ERL_NIF_TERM method_tokens[3]; /* sasl, tls_dialback, tcp_dialback */
	ERL_NIF_TERM identifier_types[S2SP_IDENTIFIER_TYPES];
	ERL_NIF_TERM findings_of_identity[S2SP_IDENTITY_NOT_DOMAIN + 1];
	ERL_NIF_TERM stages[S2SP_STAGE_ESTABLISHED + 1];
	ERL_NIF_TERM row_verdicts[S2SP_ROW_OK + 1];
	ERL_NIF_TERM grades[S2SP_REASON_GRADE_NONE + 1];
	ERL_NIF_TERM own_faults[16];
	ERL_NIF_TERM answers[3]; /* unknown, no, yes */
	ERL_NIF_TERM replies[S2SP_REPLY_UNAVAILABLE + 1];
};

/* Written at load alone; read by everybody. */
extern struct s2sp_nif_atoms s2sp_atoms;

void s2sp_nif_make_atoms(ErlNifEnv *env);
/* The value of a fact, from 1; 0 when the atom is no value of that fact. */
int s2sp_nif_fact_value(enum s2sp_need need, ERL_NIF_TERM atom);

ERL_NIF_TERM s2sp_nif_method_atom(enum s2sp_method method);

#endif
