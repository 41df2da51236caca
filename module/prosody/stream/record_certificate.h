/* What our hosts make of the certificate that a stream's peer presented: for the files of the record alone. */
#ifndef S2SP_PROSODY_RECORD_CERTIFICATE_H
#define S2SP_PROSODY_RECORD_CERTIFICATE_H

#include "record_fields.h"

/*
 * The verdict of the stream's own host, by the policy that the record stands on; its report stays with the record. UNKNOWN when there is
 * nothing to judge by. Leaves the stack as it was. May throw when memory runs out, as all below.
 */
enum s2sp_certificate_verdict s2sp_record_judge(lua_State *L, int session, int record, int guard,
												const struct s2sp_partner *partner);

/* The verdict of a host that is not the stream's own: it may have other anchors, pins, trust. Found out once. The same. */
enum s2sp_certificate_verdict s2sp_record_verdict_of(lua_State *L, int session, int record, int guard, struct s2sp_text host,
													 const struct s2sp_policy *policy, const struct s2sp_partner *partner);

/*
 * Core's modules read two fields of the session: they get this verdict, whatever they (or DANE, or a secure SRV record) concluded, so
 * that EXTERNAL is offered, accepted and attempted on it and on nothing else.
 */
void s2sp_record_tell_host(lua_State *L, int session, int guard, enum s2sp_certificate_verdict verdict);

/* Whether the partner has pins or anchors of its own. */
bool s2sp_record_demands_certificate(const struct s2sp_partner *partner);

/* Whether another policy may make another verdict of the certificate. `demanded`: the policy before had anchors or pins. */
bool s2sp_record_needs_judgement(lua_State *L, int record, int guard, bool demanded, const struct s2sp_policy *policy,
								 const struct s2sp_partner *partner);

#endif
