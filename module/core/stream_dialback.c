/* The steps of dialback (XEP-0220), and what of it is out of shape. */
#include "stream_methods.h"

/*
 * A dialback element that is not to be processed: the stream is closed where nothing could succeed any more (or where
 * nothing at all is accepted before TLS), else the element is ignored and the stream goes on.
 */
static struct s2sp_decision no_dialback(struct s2sp_stream *stream) {
	struct s2sp_decision decision;
	bool tls_to_come = !stream->tls && (methods_of(stream) & S2SP_METHODS_OVER_TLS) != 0;
	if (stream->tls ? methods_now(stream) != 0 : tls_to_come && stream->partner->row->tls != S2SP_REQUIRED)
		return wait(S2SP_REASON_DIALBACK_NOT_ALLOWED, "dialback is not among the methods that fit this stream");
	decision = s2sp_stream_nothing_now(stream);
	if (decision.reason == S2SP_REASON_NO_METHOD_LEFT)
		decision = refuse(S2SP_REASON_DIALBACK_NOT_ALLOWED, "dialback is not among the partner's methods");
	return end(stream, decision.reason, decision.rule);
}

struct s2sp_decision s2sp_stream_dialback(struct s2sp_stream *stream) {
	struct s2sp_decision decision = identified(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (stream->stage >= S2SP_STAGE_AUTHENTICATED)
		return wait(S2SP_REASON_DIALBACK_NOT_ALLOWED, "the stream is authenticated already");
	if (!(methods_now(stream) & S2SP_METHODS_DIALBACK))
		return no_dialback(stream);
	if (stream->key_asked)
		return wait(S2SP_REASON_DIALBACK_NOT_ALLOWED, "a key of this stream is being verified already");
	stream->key_asked = stream->asked = true;
	return allow("dialback is among the methods that fit this stream");
}

struct s2sp_decision s2sp_stream_verify(struct s2sp_stream *stream) {
	struct s2sp_decision decision = identified(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (methods_now(stream) & S2SP_METHODS_DIALBACK)
		return allow("keys are verified for partners whose methods have dialback");
	if (stream->stage >= S2SP_STAGE_AUTHENTICATED)
		return wait(S2SP_REASON_DIALBACK_NOT_ALLOWED, "dialback is not among the methods that fit this stream");
	return no_dialback(stream);
}

struct s2sp_decision s2sp_stream_dialback_answer(struct s2sp_stream *stream, bool key_sent, bool sasl_pending) {
	struct s2sp_decision decision = identified(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (stream->direction != S2SP_OUTGOING || !key_sent || sasl_pending || stream->stage != S2SP_STAGE_IDENTIFIED)
		return end(stream, S2SP_REASON_DIALBACK_NOT_ALLOWED, "a dialback result that nobody asked for");
	if (!(methods_now(stream) & S2SP_METHODS_DIALBACK)) {
		decision = s2sp_stream_nothing_now(stream);
		if (decision.reason == S2SP_REASON_NO_METHOD_LEFT)
			decision.reason = S2SP_REASON_DIALBACK_NOT_ALLOWED;
		return end(stream, decision.reason, "dialback is not among the methods that fit this stream");
	}
	return allow("the key that was sent is valid");
}

/* Whether an unauthenticated stream has sent too much that is wrong. */
static bool tried_too_often(struct s2sp_stream *stream) {
	if (stream->stage >= S2SP_STAGE_AUTHENTICATED)
		return false;
	if (stream->faults < S2SP_STREAM_FAULTS_MAX)
		stream->faults++;
	return stream->faults >= S2SP_STREAM_FAULTS_MAX;
}

struct s2sp_decision s2sp_stream_misshapen(struct s2sp_stream *stream, const struct s2sp_handshake_row *row,
										   enum s2sp_handshake_fault fault) {
	static const char rule[] = "a handshake element that is too large or has not the shape it must have";
	struct s2sp_decision decision = standing(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (fault != S2SP_HANDSHAKE_FAULT_CONTENT || stream->direction != S2SP_INCOMING || row->kind != S2SP_HANDSHAKE_REQUEST)
		return end(stream, row->reason, rule);
	if (tried_too_often(stream))
		return end(stream, row->reason, "too many dialback elements out of shape on one stream");
	if (stream->partner != NULL && stream->stage < S2SP_STAGE_AUTHENTICATED && !(methods_now(stream) & S2SP_METHODS_DIALBACK))
		return no_dialback(stream);
	return wait(row->reason, rule);
}

struct s2sp_decision s2sp_stream_wrong_key(struct s2sp_stream *stream) {
	if (tried_too_often(stream))
		return end(stream, S2SP_REASON_DIALBACK_NOT_ALLOWED, "too many wrong dialback keys on one stream");
	if (stream->wrong_keys >= S2SP_STREAM_WRONG_KEYS_TOLD)
		return wait(S2SP_REASON_DIALBACK_NOT_ALLOWED, "another key that is not ours");
	stream->wrong_keys++;
	return allow("a key that is not ours");
}
