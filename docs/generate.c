/* Prints docs/negotiation.md or docs/reasons.md from the tables of module/core. */
#include <stdio.h>
#include <string.h>

#include "prosody_vocabulary.h"
#include "negotiation.h"
#include "reason.h"

static const char negotiation_intro[] =
	"# Negotiation\n"
	"\n"
	"<!-- Printed from the table in module/core/negotiation.c by docs/generate.c; do not edit. -->\n"
	"\n"
	"Each partner has three settings that say how a stream with it may come about. They hold for both directions: it makes\n"
	"no difference which side opens the connection.\n"
	"\n"
	"`tls` says whether the stream is encrypted.\n"
	"\n"
	"* `required`: until the stream is encrypted nothing but STARTTLS is offered or accepted; whatever else arrives closes the\n"
	"  stream. An outgoing stream whose peer does not offer STARTTLS is given up.\n"
	"* `optional`: offered to the peer, and taken whenever the peer offers it. Where the table below leaves no method without\n"
	"  TLS it is offered as required, since nothing else could follow.\n"
	"* `not_supported`: never offered and never started, and a peer that asks for it is refused. A peer that insists on TLS\n"
	"  cannot be reached with this setting.\n"
	"\n"
	"A connection that starts with TLS on a port of its own (XEP-0368) counts as encrypted.\n"
	"\n"
	"`sasl` says whether certificates authenticate the partner (SASL EXTERNAL, XEP-0178). It needs TLS. It is offered to a peer\n"
	"only when the peer's certificate is valid for its domain, and used on an outgoing stream only when the certificate of the\n"
	"server that answered is. Where it is not among the methods it is not offered, and attempts at it are refused.\n"
	"\n"
	"`dialback` says whether server dialback (XEP-0220) authenticates the partner. The table tells dialback on an encrypted\n"
	"stream (TLS dialback) from dialback on a plain one (TCP dialback). Where the variant that fits the stream is not among the\n"
	"methods, a dialback key is ignored: it is not verified and no connection is opened for it. A stream that has no method\n"
	"left is closed at once, with a text that says so.\n"
	"\n"
	"The methods are in order of preference; any of them lets stanzas pass, and no stanza moves over a stream that was\n"
	"authenticated in another way. Prosody's own `s2s_require_encryption`, `s2s_secure_auth`, `s2s_secure_domains`,\n"
	"`s2s_insecure_domains` and modules that the host does not load can take methods away, never add any. With `trust_anchors` or\n"
	"`pinned_keys` TLS dialback too needs a valid certificate.\n"
	"\n"
	"## The 18 combinations\n"
	"\n"
	"A combination with an error is not accepted, and the configuration that holds it is not applied; one with a warning is.\n"
	"\n"
	"| tls | sasl | dialback | methods | when the configuration is applied |\n"
	"|---|---|---|---|---|\n";

static const char reasons_intro[] =
	"# Reason codes\n"
	"\n"
	"<!-- Printed from the table in module/core/reason.c by docs/generate.c; do not edit. -->\n"
	"\n"
	"Every refusal has exactly one reason, spelled alike in the log, the metrics, `partners:explain` and here. When several\n"
	"apply it is the first in the order of this page.\n"
	"\n"
	"\"Stream error\" is the condition a stream is closed with, and the text the other server is told. \"Local sender\" is the\n"
	"stanza error that a local user gets for a stanza that cannot go out, with its text. A remote sender learns nothing from a refused\n"
	"stanza: messages and IQ requests are answered with `service-unavailable`, whatever the reason, and the rest is dropped. The one exception is\n"
	"what a relay host cannot hand over: there \"Remote sender\" is what such a sender gets.\n";

static void print_methods(unsigned methods) {
	static const enum s2sp_method order[] = { S2SP_METHOD_SASL, S2SP_METHOD_TLS_DIALBACK, S2SP_METHOD_TCP_DIALBACK };
	const char *separator = "";
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		if ((methods & order[i]) == 0)
			continue;
		printf("%s%s", separator, s2sp_method_text(order[i]));
		separator = ", ";
	}
	if (methods == 0)
		printf("—");
}

static void print_row_verdict(const struct s2sp_negotiation_row *row) {
	switch (row->verdict) {
	case S2SP_ROW_ERROR: printf("error: %s", row->text); break;
	case S2SP_ROW_WARNING: printf("warning: %s", row->text); break;
	case S2SP_ROW_OK: printf(row->text[0] == '\0' ? "ok" : "ok (note: %s)", row->text); break;
	}
}

static void print_negotiation(void) {
	fputs(negotiation_intro, stdout);
	const struct s2sp_negotiation_row *row;
	for (size_t i = 0; (row = s2sp_negotiation_row_at(i)) != NULL; i++) {
		printf("| %s | %s | %s | ", s2sp_requirement_token(row->tls), s2sp_requirement_token(row->sasl),
			   row->dialback ? "true" : "false");
		print_methods(row->methods);
		printf(" | ");
		print_row_verdict(row);
		printf(" |\n");
	}
}

/* The heading that stands before a reason, NULL when none does. */
static const char *heading(unsigned reason) {
	static const struct {
		unsigned first;
		const char *text;
	} headings[] = {
		{ S2SP_REASON_CONFIG_INVALID, "Configuration and internal errors" },
		{ S2SP_REASON_UNLISTED_DOMAIN, "Domain" },
		{ S2SP_REASON_CONNECTION_LIMIT, "Limits" },
		{ S2SP_REASON_TLS_REQUIRED, "TLS" },
		{ S2SP_REASON_CERTIFICATE_NO_CERTIFICATE, "Certificate" },
		{ S2SP_REASON_SASL_REQUIRED, "SASL and dialback" },
		{ S2SP_REASON_EXTERNAL_ACCESS_DENIED, "Stanzas: access, user, listed, group chat" },
		{ S2SP_REASON_STATUS_NOTE_REMOVED, "Changes" },
	};
	for (size_t i = 0; i < sizeof(headings) / sizeof(headings[0]); i++) {
		if (headings[i].first == reason)
			return headings[i].text;
	}
	return NULL;
}

static void print_reasons(void) {
	fputs(reasons_intro, stdout);
	for (unsigned i = 0; i < S2SP_REASON_COUNT; i++) {
		const struct s2sp_reason_row *row = s2sp_reason_row((enum s2sp_reason)i);
		if (row->grade == S2SP_REASON_GRADE_NONE)
			continue;
		if (heading(i) != NULL)
			printf("\n## %s\n", heading(i));
		if (i == S2SP_REASON_STATUS_NOTE_REMOVED)
			printf("\nNot refusals: the stanza was changed, or answered for the user.\n");
		struct s2sp_line text;
		s2sp_line_begin(&text);
		s2sp_vocabulary_write(&s2sp_prosody_vocabulary, row->operator_text, &text);
		printf("\n### `%s`\n\n%s\n", row->token, text.bytes);
		if (row->grade == S2SP_REASON_GRADE_CHANGE)
			continue;
		/* The reasons for stanzas close no stream. */
		if (i < S2SP_REASON_EXTERNAL_ACCESS_DENIED)
			printf("\n* Stream error: `%s`, \"%s\"", row->stream_condition, row->peer_text);
		printf("\n* %s sender: `%s` (%s), \"%s\"\n", i == S2SP_REASON_INSIDE_UNREACHABLE ? "Remote" : "Local",
			   row->stanza_condition, row->stanza_type, row->user_text);
	}
}

int main(int argc, char **argv) {
	const char *missing = s2sp_vocabulary_lacks(&s2sp_prosody_vocabulary);
	if (missing != NULL) {
		fprintf(stderr, "generate_docs: the vocabulary has no {%s}\n", missing);
		return 1;
	}
	if (argc == 2 && strcmp(argv[1], "negotiation") == 0)
		print_negotiation();
	else if (argc == 2 && strcmp(argv[1], "reasons") == 0)
		print_reasons();
	else {
		fprintf(stderr, "usage: generate_docs negotiation | reasons\n");
		return 2;
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
