/* The verdicts on a certificate: what they are called, and which reason refuses for them. */
#include "stream.h"

static const struct {
	const char *token;
	enum s2sp_reason reason;
} certificate_verdicts[] = {
	[S2SP_CERTIFICATE_UNKNOWN] = { "unknown", S2SP_REASON_INTERNAL_ERROR },
	[S2SP_CERTIFICATE_VALID] = { "valid", S2SP_REASON_NONE },
	[S2SP_CERTIFICATE_NO_CERTIFICATE] = { "no-certificate", S2SP_REASON_CERTIFICATE_NO_CERTIFICATE },
	[S2SP_CERTIFICATE_UNTRUSTED] = { "untrusted", S2SP_REASON_CERTIFICATE_UNTRUSTED },
	[S2SP_CERTIFICATE_EXPIRED] = { "expired", S2SP_REASON_CERTIFICATE_EXPIRED },
	[S2SP_CERTIFICATE_NOT_YET_VALID] = { "not-yet-valid", S2SP_REASON_CERTIFICATE_NOT_YET_VALID },
	[S2SP_CERTIFICATE_REVOKED] = { "revoked", S2SP_REASON_CERTIFICATE_REVOKED },
	[S2SP_CERTIFICATE_REVOCATION_UNKNOWN] = { "revocation-unknown", S2SP_REASON_CERTIFICATE_REVOCATION_UNKNOWN },
	[S2SP_CERTIFICATE_IDENTITY_MISMATCH] = { "identity-mismatch", S2SP_REASON_CERTIFICATE_IDENTITY_MISMATCH },
	[S2SP_CERTIFICATE_PIN_MISMATCH] = { "pin-mismatch", S2SP_REASON_CERTIFICATE_PIN_MISMATCH },
	[S2SP_CERTIFICATE_MALFORMED] = { "malformed", S2SP_REASON_CERTIFICATE_MALFORMED },
};

static size_t certificate_index(enum s2sp_certificate_verdict verdict) {
	size_t count = sizeof certificate_verdicts / sizeof certificate_verdicts[0];
	return (size_t)verdict < count ? (size_t)verdict : S2SP_CERTIFICATE_UNKNOWN;
}

const char *s2sp_certificate_verdict_token(enum s2sp_certificate_verdict verdict) {
	return certificate_verdicts[certificate_index(verdict)].token;
}

enum s2sp_reason s2sp_certificate_verdict_reason(enum s2sp_certificate_verdict verdict) {
	return certificate_verdicts[certificate_index(verdict)].reason;
}
