#include "negotiation.h"

#define SASL S2SP_METHOD_SASL
#define TLS_DIALBACK S2SP_METHOD_TLS_DIALBACK
#define TCP_DIALBACK S2SP_METHOD_TCP_DIALBACK

#define NO_DIALBACK "dialback will not operate when TLS and SASL are both required"
#define FALLS_BACK "SASL needs TLS; with TLS optional a stream without TLS falls back to dialback"
#define WILL_FAIL "SASL needs TLS; streams without TLS will fail"
#define NEEDS_TLS "SASL requires TLS"
#define NO_METHOD "SASL or dialback must be enabled"
#define UNENCRYPTED "unencrypted"

/*
 * Lync Server 2013, "TLS, SASL and server dialback negotiation settings", all combinations. SASL EXTERNAL is bound to a
 * client certificate and so to TLS (RFC 6120 13.8.4, XEP-0178 3); dialback works with and without (XEP-0220 1.1).
 * The index is computed from the settings, see s2sp_negotiation_row: the order is part of the table.
 */
/* clang-format off */
static const struct s2sp_negotiation_row rows[S2SP_NEGOTIATION_ROWS] = {
	{ S2SP_REQUIRED,      S2SP_REQUIRED,      true,  SASL,                               S2SP_ROW_WARNING, NO_DIALBACK },
	{ S2SP_REQUIRED,      S2SP_REQUIRED,      false, SASL,                               S2SP_ROW_OK,      "" },
	{ S2SP_OPTIONAL,      S2SP_REQUIRED,      true,  SASL | TLS_DIALBACK | TCP_DIALBACK, S2SP_ROW_WARNING, FALLS_BACK },
	{ S2SP_OPTIONAL,      S2SP_REQUIRED,      false, SASL,                               S2SP_ROW_WARNING, WILL_FAIL },
	{ S2SP_NOT_SUPPORTED, S2SP_REQUIRED,      true,  0,                                  S2SP_ROW_ERROR,   NEEDS_TLS },
	{ S2SP_NOT_SUPPORTED, S2SP_REQUIRED,      false, 0,                                  S2SP_ROW_ERROR,   NEEDS_TLS },
	{ S2SP_REQUIRED,      S2SP_OPTIONAL,      true,  SASL | TLS_DIALBACK,                S2SP_ROW_OK,      "" },
	{ S2SP_REQUIRED,      S2SP_OPTIONAL,      false, SASL,                               S2SP_ROW_OK,      "" },
	{ S2SP_OPTIONAL,      S2SP_OPTIONAL,      true,  SASL | TLS_DIALBACK | TCP_DIALBACK, S2SP_ROW_WARNING, FALLS_BACK },
	{ S2SP_OPTIONAL,      S2SP_OPTIONAL,      false, SASL,                               S2SP_ROW_WARNING, WILL_FAIL },
	{ S2SP_NOT_SUPPORTED, S2SP_OPTIONAL,      true,  0,                                  S2SP_ROW_ERROR,   NEEDS_TLS },
	{ S2SP_NOT_SUPPORTED, S2SP_OPTIONAL,      false, 0,                                  S2SP_ROW_ERROR,   NEEDS_TLS },
	{ S2SP_REQUIRED,      S2SP_NOT_SUPPORTED, true,  TLS_DIALBACK,                       S2SP_ROW_OK,      "" },
	{ S2SP_REQUIRED,      S2SP_NOT_SUPPORTED, false, 0,                                  S2SP_ROW_ERROR,   NO_METHOD },
	{ S2SP_OPTIONAL,      S2SP_NOT_SUPPORTED, true,  TLS_DIALBACK | TCP_DIALBACK,        S2SP_ROW_OK,      "" },
	{ S2SP_OPTIONAL,      S2SP_NOT_SUPPORTED, false, 0,                                  S2SP_ROW_ERROR,   NO_METHOD },
	{ S2SP_NOT_SUPPORTED, S2SP_NOT_SUPPORTED, true,  TCP_DIALBACK,                       S2SP_ROW_OK,      UNENCRYPTED },
	{ S2SP_NOT_SUPPORTED, S2SP_NOT_SUPPORTED, false, 0,                                  S2SP_ROW_ERROR,   NO_METHOD },
};
/* clang-format on */

/* What comes from outside an enum's range (a cast byte) must not become an index. */
static bool is_requirement(enum s2sp_requirement requirement) {
	switch (requirement) {
	case S2SP_REQUIRED:
	case S2SP_OPTIONAL:
	case S2SP_NOT_SUPPORTED: return true;
	}
	return false;
}

const struct s2sp_negotiation_row *s2sp_negotiation_row(enum s2sp_requirement tls, enum s2sp_requirement sasl, bool dialback) {
	if (!is_requirement(tls) || !is_requirement(sasl))
		return NULL;
	return &rows[((size_t)sasl * 3 + (size_t)tls) * 2 + (dialback ? 0 : 1)];
}

const struct s2sp_negotiation_row *s2sp_negotiation_row_at(size_t index) {
	return index < S2SP_NEGOTIATION_ROWS ? &rows[index] : NULL;
}

const char *s2sp_requirement_token(enum s2sp_requirement requirement) {
	switch (requirement) {
	case S2SP_REQUIRED: return "required";
	case S2SP_OPTIONAL: return "optional";
	case S2SP_NOT_SUPPORTED: return "not_supported";
	}
	return "unknown";
}

const char *s2sp_method_token(enum s2sp_method method) {
	switch (method) {
	case S2SP_METHOD_NONE: return "none";
	case S2SP_METHOD_SASL: return "sasl";
	case S2SP_METHOD_TLS_DIALBACK: return "tls_dialback";
	case S2SP_METHOD_TCP_DIALBACK: return "tcp_dialback";
	}
	return "none";
}

const char *s2sp_method_text(enum s2sp_method method) {
	switch (method) {
	case S2SP_METHOD_NONE: return "none";
	case S2SP_METHOD_SASL: return "SASL over TLS";
	case S2SP_METHOD_TLS_DIALBACK: return "TLS dialback";
	case S2SP_METHOD_TCP_DIALBACK: return "TCP dialback";
	}
	return "none";
}
