#include "reason.h"

/* RFC 6120 4.9.3 */
#define POLICY "policy-violation"
#define NOT_AUTHORIZED "not-authorized"
#define CONSTRAINT "resource-constraint"
#define TIMEOUT "connection-timeout"

/* RFC 6120 8.3.2 and 8.3.3, as they go to the local sender. */
#define REFUSED "cancel", "not-allowed"
#define LATER "wait", "internal-server-error"
#define UNREACHABLE "wait", "remote-server-timeout"
#define SUBSCRIBE_FIRST "auth", "subscription-required"
#define UNAVAILABLE "cancel", "service-unavailable"
/* XEP-0191 3.5 */
#define BLOCKED "cancel", "not-acceptable"

#define REFUSAL S2SP_REASON_GRADE_REFUSAL
#define CHANGE S2SP_REASON_GRADE_CHANGE

/*
 * token, grade, stream error, stanza error type and condition for the local sender, text for the operator (with slots, see
 * vocabulary.h), text for the peer, text for the local sender. The peer's text is for strangers: no user, no other partner, no
 * setting of ours beyond what the peer sees anyway. What must look alike from outside (no such user, not listed, denied, blocked,
 * roster unreadable) has the same peer text.
 */
#define ALIKE "Service unavailable"

/* clang-format off */
static const struct s2sp_reason_row rows[S2SP_REASON_COUNT] = {
	[S2SP_REASON_NONE] = { "none", S2SP_REASON_GRADE_NONE, POLICY, REFUSED,
		"Nothing was refused or changed.", "",
		"" },

	[S2SP_REASON_CONFIG_INVALID] = { "config-invalid", REFUSAL, POLICY, LATER,
		"There is no valid partner configuration in force, so everything to and from other servers is refused. Run "
		"\"{check}\", correct the errors it lists, then reload: {reload}.",
		"Federation is not available at the moment",
		"Messages to and from other servers are suspended on this server; tell its administrator" },
	[S2SP_REASON_INTERNAL_ERROR] = { "internal-error", REFUSAL, POLICY, LATER,
		"The module failed while it handled this stream or stanza and refused it to be safe. The error with its traceback "
		"stands just before in the log; please report it. If the log says that the shared object could not be loaded, "
		"{host.reinstall}.",
		"Internal error",
		"This server failed to handle the request; tell its administrator" },

	[S2SP_REASON_UNLISTED_DOMAIN] = { "unlisted-domain", REFUSAL, POLICY, REFUSED,
		"The other domain is neither a partner's domain nor one of its additional domains, and {option.default} is "
		"\"refuse\". If it should be a partner, add it to {option.partners} (subdomains need an entry or a wildcard of their own).",
		"This server does not federate with your domain",
		"This server does not exchange messages with that domain" },
	[S2SP_REASON_WRONG_DOMAIN] = { "wrong-domain", REFUSAL, POLICY, REFUSED,
		"A stanza or a step of the handshake named a domain that is not the stream's own. One stream carries one pair of "
		"domains: the other server is misconfigured, multiplexes domains over one stream, or tries to speak for somebody else.",
		"The addresses do not belong to this stream",
		"The address does not belong to the connection it came over" },
	[S2SP_REASON_POLICY_CHANGED] = { "policy-changed", REFUSAL, POLICY, REFUSED,
		"The configuration was reloaded and this stream no longer conforms to it; the log line says which setting. "
		"Nothing to do if the change was meant: the partner connects anew under the new settings.",
		"The policy for this connection has changed",
		"The connection to that domain was closed because this server's policy has changed" },

	[S2SP_REASON_CONNECTION_LIMIT] = { "connection-limit", REFUSAL, CONSTRAINT, REFUSED,
		"The partner, or all partners together, already has as many streams as it may have. Look at \"{streams}\" for "
		"streams that pile up; raise connection_limit of the partner, or partner_connections or connections in "
		"{option.limits}, if the number is legitimate.",
		"Too many connections",
		"There are too many connections to that domain at the moment" },
	[S2SP_REASON_ESTABLISHMENT_TIMEOUT] = { "establishment-timeout", REFUSAL, TIMEOUT, UNREACHABLE,
		"The handshake with the other server was not finished within establishment_timeout of {option.limits}. The "
		"log shows the last step reached; \"{test}\" names the stage that hangs (DNS, firewall, TLS, dialback).",
		"The connection was not established in time",
		"The server of that domain did not finish the connection in time" },
	[S2SP_REASON_INACTIVITY_TIMEOUT] = { "inactivity-timeout", REFUSAL, TIMEOUT, UNREACHABLE,
		"No stanza went either way for inactivity_timeout of {option.limits}, so the stream was closed. This is normal: "
		"the next stanza opens a new one. Keepalives do not count as activity.",
		"The connection was idle for too long",
		"The connection to that domain was idle and has been closed" },

	[S2SP_REASON_TLS_REQUIRED] = { "tls-required", REFUSAL, POLICY, REFUSED,
		"tls is \"required\" for this partner, or nothing would authenticate it without TLS, and the stream is not encrypted. "
		"Have the partner enable STARTTLS on its server-to-server port; only if it cannot, set {tls = optional} with "
		"{dialback = true}.",
		"TLS is required",
		"The server of that domain does not encrypt the connection, which is required" },
	[S2SP_REASON_TLS_NOT_SUPPORTED] = { "tls-not-supported", REFUSAL, POLICY, REFUSED,
		"tls is \"not_supported\" for this partner and its server insists on TLS, or sent the command to start it. Set "
		"{tls = required} or \"optional\": a partner that can do TLS should.",
		"TLS is not supported with your domain",
		"The server of that domain insists on encryption, which is switched off for it" },

	[S2SP_REASON_CERTIFICATE_NO_CERTIFICATE] = { "certificate-no-certificate", REFUSAL, NOT_AUTHORIZED, REFUSED,
		"The partner's server presented no certificate. On an incoming stream it must send one as a TLS client: have its "
		"administrator configure the certificate for outgoing connections too.",
		"Certificate not accepted: no-certificate",
		"The server of that domain presented no certificate" },
	[S2SP_REASON_CERTIFICATE_UNTRUSTED] = { "certificate-untrusted", REFUSAL, NOT_AUTHORIZED, REFUSED,
		"The partner's certificate does not lead to a trusted authority: self-signed, an intermediate certificate missing, "
		"a private CA, or not usable for signing. With trust_anchors only that bundle counts. Have the partner send its full "
		"chain, or put its CA into trust_anchors.",
		"Certificate not accepted: untrusted",
		"The certificate of that domain's server is not trusted" },
	[S2SP_REASON_CERTIFICATE_EXPIRED] = { "certificate-expired", REFUSAL, NOT_AUTHORIZED, REFUSED,
		"The partner's certificate, or one of the chain it sent, is past its validity. The partner has to renew it and reload "
		"its server. If it says it has, check this machine's clock and whether an old intermediate is still sent.",
		"Certificate not accepted: expired",
		"The certificate of that domain's server has expired" },
	[S2SP_REASON_CERTIFICATE_NOT_YET_VALID] = { "certificate-not-yet-valid", REFUSAL, NOT_AUTHORIZED, REFUSED,
		"The partner's certificate, or one of its chain, is valid only from a later moment. Check this machine's clock first, "
		"then the certificate's dates.",
		"Certificate not accepted: not-yet-valid",
		"The certificate of that domain's server is not yet valid" },
	[S2SP_REASON_CERTIFICATE_REVOKED] = { "certificate-revoked", REFUSAL, NOT_AUTHORIZED, REFUSED,
		"The authority that issued the partner's certificate, or an intermediate of its chain, has taken it back: it stands in a "
		"revocation list that counts for this partner. The partner needs a new certificate with a new key. Ask it, over another "
		"channel, what happened: the old key may be in somebody else's hands.",
		"Certificate not accepted: revoked",
		"The certificate of that domain's server has been revoked" },
	[S2SP_REASON_CERTIFICATE_REVOCATION_UNKNOWN] = { "certificate-revocation-unknown", REFUSAL, NOT_AUTHORIZED, REFUSED,
		"revocation is \"required\" for this partner and no current revocation list covers every certificate of its chain: there is "
		"none of that issuer, or it has expired, is not signed by the issuer, or is a partial one. The log line names the issuer. "
		"Fetch a fresh list into a file named by crls; or, if the issuer publishes none, set {revocation = if_known}.",
		"Certificate not accepted: revocation-unknown",
		"It cannot be known whether the certificate of that domain's server has been revoked" },
	[S2SP_REASON_CERTIFICATE_IDENTITY_MISMATCH] = { "certificate-identity-mismatch", REFUSAL, NOT_AUTHORIZED, REFUSED,
		"The partner's certificate is in order but does not name the domain of the stream as SRVName, dNSName or XmppAddr (the "
		"common name never counts). The partner needs a certificate for its XMPP domain, not only for the host name of its "
		"server; \"{show}\" lists the names it does have.",
		"Certificate not accepted: identity-mismatch (it does not name your domain)",
		"The certificate of that domain's server does not name the domain" },
	[S2SP_REASON_CERTIFICATE_PIN_MISMATCH] = { "certificate-pin-mismatch", REFUSAL, NOT_AUTHORIZED, REFUSED,
		"The partner's certificate is in order but no key of its chain is among pinned_keys. Either the partner has changed its "
		"key or its authority (ask it, over another channel, then copy the new pin from \"{show}\"), or somebody "
		"stands in between.",
		"Certificate not accepted: pin-mismatch (it does not have an expected key)",
		"The certificate of that domain's server is not the expected one" },
	[S2SP_REASON_CERTIFICATE_MALFORMED] = { "certificate-malformed", REFUSAL, NOT_AUTHORIZED, REFUSED,
		"What the partner's server presented could not be read as a certificate. Have it replaced; \"openssl s_client "
		"-starttls xmpp-server\" shows what is sent.",
		"Certificate not accepted: malformed",
		"The certificate of that domain's server cannot be read" },

	[S2SP_REASON_SASL_REQUIRED] = { "sasl-required", REFUSAL, POLICY, REFUSED,
		"Only SASL EXTERNAL may authenticate this partner and its server does not use it, or refused our certificate. Have the "
		"partner enable it and trust our certificate; only if it cannot, set {sasl = optional} or \"not_supported\" with "
		"{dialback = true}.",
		"SASL EXTERNAL is required",
		"The server of that domain does not authenticate with its certificate, which is required" },
	[S2SP_REASON_SASL_NOT_SUPPORTED] = { "sasl-not-supported", REFUSAL, POLICY, REFUSED,
		"The partner's server tried SASL EXTERNAL, which is not among the methods of this partner or was not offered on this "
		"stream. Set {sasl = optional} or \"required\" if certificates should authenticate it.",
		"SASL EXTERNAL is not supported with your domain",
		"The server of that domain wants to authenticate in a way that is switched off for it" },
	[S2SP_REASON_DIALBACK_NOT_ALLOWED] = { "dialback-not-allowed", REFUSAL, POLICY, REFUSED,
		"Dialback does not authenticate this partner on such a stream (with or without TLS), and the stream tried it or was left "
		"with nothing else. Correct the partner's certificate so that SASL works, or set {dialback = true} where tls and sasl leave "
		"room for it.",
		"Server dialback is not allowed on this stream",
		"The server of that domain cannot be authenticated by server dialback" },
	[S2SP_REASON_NO_METHOD_LEFT] = { "no-method-left", REFUSAL, POLICY, REFUSED,
		"No method allowed for this partner can succeed on this stream any more, so it was closed instead of hanging until "
		"the time-out. \"{show}\" lists the methods; \"{test}\" shows what the other server "
		"offers. {host.constraints} can take methods away as well.",
		"No authentication method is left",
		"The server of that domain cannot be authenticated in any allowed way" },

	[S2SP_REASON_EXTERNAL_ACCESS_DENIED] = { "external-access-denied", REFUSAL, POLICY, REFUSED,
		"{host.access} keeps the local user from talking to other servers. "
		"Change it there if the user should. To partners such a user looks like one who does not exist.",
		ALIKE,
		"You may not exchange messages with other servers" },
	[S2SP_REASON_NO_SUCH_USER] = { "no-such-user", REFUSAL, POLICY, UNAVAILABLE,
		"The stanza is for a local user who does not exist. Nothing to do unless the user should: check the spelling the "
		"partner uses.",
		ALIKE,
		"There is no such user" },
	[S2SP_REASON_BLOCKED_BY_USER] = { "blocked-by-user", REFUSAL, POLICY, BLOCKED,
		"The local user has blocked this contact (XEP-0191). Only the user can undo that; an administrator's setting never "
		"overrides it.",
		ALIKE,
		"You have blocked this contact" },
	[S2SP_REASON_CANCELLED_BY_USER] = { "cancelled-by-user", REFUSAL, POLICY, REFUSED,
		"The local user has cancelled this contact's subscription or removed the contact, and automatic authorisation does not "
		"override that. It works again once the user adds the contact.",
		ALIKE,
		"You have cancelled this contact's subscription" },
	[S2SP_REASON_ROSTER_UNAVAILABLE] = { "roster-unavailable", REFUSAL, POLICY, LATER,
		"The local user's roster could not be read, so it is not known whether the contact is listed. Look for the storage error "
		"before this line in the log and repair the storage or the damaged roster.",
		ALIKE,
		"Your contact list cannot be read at the moment" },
	[S2SP_REASON_NOT_LISTED] = { "not-listed", REFUSAL, POLICY, SUBSCRIBE_FIRST,
		"The partner is public_unverified and the contact is not in the local user's roster. The user has to add the contact "
		"first; with a public provider that is as it should be. {partner_type = federated} is for a business partner who vouches for its users.",
		ALIKE,
		"Add this contact to your contact list first" },
	[S2SP_REASON_GROUP_CHAT_REFUSED] = { "group-chat-refused", REFUSAL, POLICY, REFUSED,
		"group_chat is \"refuse\" for this partner (the default for public_unverified), and the stanza is a groupchat message, a "
		"room join, or for a room or component. Set {group_chat = allow} for the partner if its users may use rooms.",
		ALIKE,
		"Group chat with that domain is not allowed" },
	[S2SP_REASON_INSIDE_UNREACHABLE] = { "inside-unreachable", REFUSAL, TIMEOUT, UNREACHABLE,
		"This host is a relay host, and the server inside, which has its users, could not be reached, or did not accept a stream from this one. "
		"The log says why: check the address, the firewall, and how both authenticate. Nothing is stored here: the sender outside was told to try again.",
		"This domain cannot be reached at the moment",
		"This domain cannot be reached at the moment" },

	[S2SP_REASON_STATUS_NOTE_REMOVED] = { "status-note-removed", CHANGE, POLICY, REFUSED,
		"A status note, or a personal event such as mood or location, was taken out of what went to this partner; the rest was sent, if "
		"there was any. Only federated partners see notes; {personal_events = allow} lets others have events.",
		"",
		"" },
	[S2SP_REASON_SUBSCRIPTION_AUTHORISED] = { "subscription-authorised", CHANGE, POLICY, REFUSED,
		"The contact's request to see presence was authorised on the user's behalf, as {presence_authorization = automatic} "
		"says. The user can cancel it at any time and it then stays cancelled.",
		"",
		"" },
};
/* clang-format on */

const struct s2sp_reason_row *s2sp_reason_row(enum s2sp_reason reason) {
	size_t index = (size_t)reason;
	return &rows[index < S2SP_REASON_COUNT ? index : S2SP_REASON_INTERNAL_ERROR];
}

enum s2sp_reason s2sp_reason_from_token(struct s2sp_text token) {
	for (unsigned i = 0; i < S2SP_REASON_COUNT; i++) {
		if (s2sp_text_equal(token, s2sp_text_from(rows[i].token)))
			return (enum s2sp_reason)i;
	}
	return S2SP_REASON_COUNT;
}
