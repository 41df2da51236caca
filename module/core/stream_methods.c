#include "stream_methods.h"

struct s2sp_decision s2sp_stream_nothing_now(const struct s2sp_stream *stream) {
	unsigned methods = methods_of(stream);
	if (!stream->tls) {
		if (stream->partner->row->tls == S2SP_REQUIRED)
			return refuse(S2SP_REASON_TLS_REQUIRED, "the partner's entry says {tls = required}");
		if (!(methods & S2SP_METHOD_TCP_DIALBACK))
			return refuse(S2SP_REASON_TLS_REQUIRED, "no method of this partner works without TLS");
	} else {
		if (!(methods & S2SP_METHODS_OVER_TLS))
			return refuse(S2SP_REASON_TLS_NOT_SUPPORTED, "no method of this partner works over TLS");
		if (stream->certificate != S2SP_CERTIFICATE_VALID) {
			if (demands_certificate(stream->partner))
				return refuse(s2sp_certificate_verdict_reason(stream->certificate),
							  "trust_anchors and pinned_keys demand a valid certificate on every TLS stream");
			if (!(methods & S2SP_METHOD_TLS_DIALBACK))
				return refuse(s2sp_certificate_verdict_reason(stream->certificate),
							  "SASL EXTERNAL is the only method and needs a valid certificate");
		}
	}
	return refuse(S2SP_REASON_NO_METHOD_LEFT, "no method of this partner can succeed on this stream");
}
