/* How streams with a partner are negotiated: the 18 combinations as data (docs/negotiation.md is generated from them). */
#ifndef S2SP_NEGOTIATION_H
#define S2SP_NEGOTIATION_H

#include <stdbool.h>
#include <stddef.h>

/* Zero is the strictest value everywhere. */
enum s2sp_requirement {
	S2SP_REQUIRED = 0,
	S2SP_OPTIONAL,
	S2SP_NOT_SUPPORTED,
};

/* Bits of a set of methods, in order of preference. */
enum s2sp_method {
	S2SP_METHOD_NONE = 0,
	S2SP_METHOD_SASL = 1,         /* SASL EXTERNAL over TLS, XEP-0178 */
	S2SP_METHOD_TLS_DIALBACK = 2, /* XEP-0220 over TLS */
	S2SP_METHOD_TCP_DIALBACK = 4, /* XEP-0220 without TLS */
};
#define S2SP_METHODS_OVER_TLS (S2SP_METHOD_SASL | S2SP_METHOD_TLS_DIALBACK)
#define S2SP_METHODS_DIALBACK (S2SP_METHOD_TLS_DIALBACK | S2SP_METHOD_TCP_DIALBACK)

enum s2sp_row_verdict {
	S2SP_ROW_ERROR = 0,
	S2SP_ROW_WARNING,
	S2SP_ROW_OK,
};

struct s2sp_negotiation_row {
	enum s2sp_requirement tls;
	enum s2sp_requirement sasl;
	bool dialback;
	unsigned methods; /* set of enum s2sp_method; 0 in an invalid row */
	enum s2sp_row_verdict verdict;
	const char *text; /* what the administrator is told at commit; "" when there is nothing to say */
};

#define S2SP_NEGOTIATION_ROWS 18

/* Never NULL for valid enum values; NULL otherwise. Static storage. */
const struct s2sp_negotiation_row *s2sp_negotiation_row(enum s2sp_requirement tls, enum s2sp_requirement sasl, bool dialback);

/* Row `index` (0..17) in the order of docs/negotiation.md, NULL past the end. */
const struct s2sp_negotiation_row *s2sp_negotiation_row_at(size_t index);

/* "required", "optional", "not_supported"; "sasl", "tls_dialback", "tcp_dialback", "none". Static. */
const char *s2sp_requirement_token(enum s2sp_requirement requirement);
const char *s2sp_method_token(enum s2sp_method method);
/* "SASL over TLS", "TLS dialback", "TCP dialback", "none": for people. Static. */
const char *s2sp_method_text(enum s2sp_method method);

#endif
