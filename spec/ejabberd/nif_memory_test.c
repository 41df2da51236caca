/*
 * A day in the life of ejabberd's library without an emulator, so that Valgrind sees each byte: a list is compiled, streams come about
 * and carry stanzas, certificates are judged, learned and remembered. Once as it should be; once with each allocation failing in turn.
 * What the answers have to be is for the tests that run in an emulator; here they are looked at where they show that work was done.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/x509.h>

#include "certificate_maker.h"
#include "fake_emulator.h"

#define NO_MORE ((ERL_NIF_TERM)0)
#define CALL(...) fake_call(env, __VA_ARGS__, NO_MORE)
#define ATOM(name) enif_make_atom(env, name)
#define TEXT(text) fake_text(env, text)
#define INT(number) enif_make_long(env, number)
#define DOMAIN "fabrikam.com"
#define SEED "0123456789abcdef"

static const struct made *root, *intermediate, *leaf;
static const char *anchors;

static ERL_NIF_TERM mapping(ErlNifEnv *env, const char *const *pairs, size_t count, ERL_NIF_TERM more) {
	ERL_NIF_TERM list = more;
	for (size_t i = 0; i + 1 < count; i += 2)
		list = enif_make_list_cell(env, enif_make_tuple2(env, TEXT(pairs[i]), TEXT(pairs[i + 1])), list);
	return enif_make_tuple2(env, ATOM("mapping"), list);
}

static ERL_NIF_TERM listed(ErlNifEnv *env, ERL_NIF_TERM value) {
	return enif_make_tuple2(env, ATOM("list"), enif_make_list(env, 1, value));
}

/* {ok, Object, _} -> Object; 0 for anything else. */
static ERL_NIF_TERM object(ERL_NIF_TERM outcome) {
	return fake_is(fake_element(outcome, 1), "ok") ? fake_element(outcome, 2) : 0;
}

static ERL_NIF_TERM compile(ErlNifEnv *env, const char *type, const char *anchors_of_partner) {
	const char *const pairs[] = { "domain",      DOMAIN,     "partner_type",  type,
								  "description", "Fabrikam", "trust_anchors", anchors_of_partner };
	const char *const bad[] = { "domain", "x", "tsl", "required" };
	ERL_NIF_TERM additional = enif_make_tuple2(env, TEXT("additional_domains"), listed(env, TEXT("*.fabrikam.com")));
	ERL_NIF_TERM partner = mapping(env, pairs, anchors_of_partner == NULL ? 6 : 8, enif_make_list(env, 1, additional));
	ERL_NIF_TERM wrong = mapping(env, bad, 4, enif_make_list(env, 0));
	ERL_NIF_TERM name = TEXT("partners");
	CALL("compile_nif", fake_map(env, "lists", enif_make_list(env, 1, enif_make_tuple2(env, name, listed(env, wrong))), NULL),
		 TEXT(SEED));
	ERL_NIF_TERM spec = fake_map(env, "lists", enif_make_list(env, 1, enif_make_tuple2(env, name, listed(env, partner))), NULL);
	return object(CALL("compile_nif", spec, TEXT(SEED)));
}

static void look_at(ErlNifEnv *env, ERL_NIF_TERM table, ERL_NIF_TERM policy) {
	CALL("table_partners", table);
	CALL("policy_find", policy, TEXT("a.b." DOMAIN));
	CALL("policy_partner", policy, TEXT("FABRIKAM.com."));
	CALL("policy_partners", policy);
	CALL("policy_default", policy);
	CALL("policy_limits", policy);
	CALL("policy_facts", policy);
	CALL("external_access", policy, TEXT(DOMAIN), TEXT("alice"));
	CALL("route", policy, TEXT("evil.com"), ATOM("false"));
	CALL("place", policy, TEXT(DOMAIN), INT(1), INT(2));
	CALL("waiting_room", policy);
	CALL("domain", TEXT("b\xc3\xbc"
						"cher.example"));
	CALL("has_spellings", TEXT(""));
	CALL("same_domain", TEXT(DOMAIN), TEXT("\xff\xfe"));
	CALL("reasons");
	CALL("reason", ATOM("not-listed"));
	CALL("rows");
	CALL("words", TEXT("{check}"));
	CALL("explain_stream", policy, fake_map(env, "direction", ATOM("incoming"), "domain", TEXT(DOMAIN), NULL));
}

/* An element as the stream's library has it: {xmlel, Name, Attributes, Children}. */
static ERL_NIF_TERM element(ErlNifEnv *env, const char *name, ERL_NIF_TERM attributes, ERL_NIF_TERM children) {
	return enif_make_tuple4(env, ATOM("xmlel"), TEXT(name), attributes, children);
}

static void stanzas(ErlNifEnv *env, ERL_NIF_TERM stream, ERL_NIF_TERM policy) {
	static const char *const types[] = { "chat", "normal", "groupchat", "available", "error", "subscribe" };
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		CALL("passes", policy, TEXT(DOMAIN), TEXT("alice"), ATOM(types[i]));
		CALL("stream_passes", stream, policy, TEXT(DOMAIN), TEXT("alice"), ATOM(types[i]));
		ERL_NIF_TERM kind = CALL("stanza_kind", ATOM(i < 3 ? "message" : "presence"), ATOM(types[i]));
		ERL_NIF_TERM question = CALL("question", ATOM("incoming"), kind, ATOM("user"), ATOM("false"));
		CALL("authorise", policy, TEXT(DOMAIN), TEXT("alice"), question);
		CALL("authorise", policy, TEXT(DOMAIN), TEXT("alice"), CALL("fact", question, ATOM("account"), ATOM("missing")));
	}
	CALL("stream_stanza", stream, policy, TEXT("Fabrikam.COM"));
	CALL("stream_stanza", stream, policy, TEXT(DOMAIN), ATOM("revoked"));
	CALL("is_service", TEXT("urn:xmpp:ping"), TEXT("ping"));
	CALL("is_personal_event", TEXT(""));
}

static ERL_NIF_TERM question(ErlNifEnv *env, ERL_NIF_TERM store, ERL_NIF_TERM policy) {
	ERL_NIF_TERM chain = enif_make_list(env, 1, fake_bytes(env, leaf->der.bytes, leaf->der.length));
	return fake_map(env, "chain", chain, "store", store, "domain", TEXT(DOMAIN), "policy", policy, "now", INT(MAKER_NOW), NULL);
}

static ERL_NIF_TERM verdict(ErlNifEnv *env, ERL_NIF_TERM store, ERL_NIF_TERM policy) {
	ERL_NIF_TERM asked = question(env, store, policy);
	CALL("judged", asked);
	ERL_NIF_TERM answer = CALL("judge", asked);
	CALL("judged", asked);
	return fake_element(answer, 1);
}

static void stream(ErlNifEnv *env, ERL_NIF_TERM policy, ERL_NIF_TERM certificate) {
	ERL_NIF_TERM made = CALL("stream_new", ATOM("incoming"), policy, INT(0), ATOM("false"));
	if (fake_raised())
		return;
	ERL_NIF_TERM attributes =
		enif_make_list(env, 1, enif_make_tuple2(env, TEXT("xmlns"), TEXT("urn:ietf:params:xml:ns:xmpp-tls")));
	CALL("stream_handshake", made, TEXT("contoso.com"), element(env, "starttls", attributes, enif_make_list(env, 0)));
	CALL("stream_identify", made, TEXT(DOMAIN));
	CALL("stream_offer", made);
	CALL("stream_observe", made, ATOM("true"), certificate);
	CALL("stream_certificate", made);
	CALL("stream_place", made);
	CALL("stream_authenticated", made, ATOM("sasl"), TEXT(DOMAIN));
	CALL("stream_established", made);
	stanzas(env, made, policy);
	CALL("stream_active", made, INT(-1000));
	CALL("stream_due", made, policy, INT(1000000));
	CALL("stream_rejudge", made, policy);
	CALL("stream_view", made);
	CALL("stream_refuse", made, ATOM("policy-changed"), TEXT("a rule"));
}

/* As a handshake in this process does it: with all that the peer has sent. */
static void handshake(void) {
	X509_STORE *trusted = X509_STORE_new();
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	STACK_OF(X509) *sent = sk_X509_new_null();
	X509_STORE_add_cert(trusted, root->certificate);
	sk_X509_push(sent, intermediate->certificate);
	X509_STORE_CTX_init(context, trusted, leaf->certificate, sent);
	X509_verify_cert(context);
	X509_STORE_CTX_free(context);
	X509_STORE_free(trusted);
	sk_X509_free(sent);
}

/* Whether all of it could be done. */
static bool day(void) {
	ErlNifEnv *env = fake_environment();
	bool whole = false;
	ERL_NIF_TERM table = compile(env, "federated", anchors);
	ERL_NIF_TERM policy = table == 0 ? 0 : object(CALL("compile_policy_nif", table, fake_map(env, NULL), TEXT(SEED)));
	ERL_NIF_TERM store = object(CALL("trust_store", fake_map(env, "anchors", TEXT(anchors), "now", INT(MAKER_NOW), NULL)));
	if (policy != 0 && store != 0) {
		handshake();
		look_at(env, table, policy);
		ERL_NIF_TERM found = verdict(env, store, policy);
		stream(env, policy, found);
		whole = fake_is(found, "valid");
		CALL("trust_store_facts", store);
		CALL("learned");
		CALL("counts");
	}
	enif_free_env(env);
	return whole;
}

static void as_it_should_be(void **state) {
	(void)state;
	size_t before = fake_blocks();
	assert_true(day());
	assert_int_equal(fake_blocks(), before);
}

static void each_allocation_fails_in_turn(void **state) {
	(void)state;
	ErlNifEnv *env = fake_environment();
	size_t before = fake_blocks();
	long count = 0;
	for (bool failed = true; failed; count++) {
		assert_true(count < 5000);
		CALL("fail_after", INT(count));
		day();
		failed = fake_is(CALL("has_failed"), "true");
		CALL("fail_after", INT(-1));
		assert_int_equal(fake_blocks(), before);
	}
	assert_true(count > 10);
	assert_true(day());
	enif_free_env(env);
}

/* Whatever is handed in, of any kind. */
static void arguments_of_the_wrong_kind(void **state) {
	(void)state;
	static const struct {
		const char *name;
		int arity;
	} functions[] = { { "judge", 1 },         { "judged", 1 },      { "trust_store", 1 },
					  { "route", 3 },         { "passes", 4 },      { "stream_passes", 5 },
					  { "stream_stanza", 3 }, { "authorise", 4 },   { "stanza_kind", 2 },
					  { "question", 4 },      { "fact", 3 },        { "policy_find", 2 },
					  { "domain", 1 },        { "compile_nif", 2 }, { "stream_handshake", 3 } };
	ErlNifEnv *env = fake_environment();
	const ERL_NIF_TERM wrong[] = {
		ATOM("none"), INT(-1), TEXT(""), enif_make_list(env, 0), fake_map(env, NULL), enif_make_tuple2(env, INT(1), INT(2))
	};
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		for (size_t j = 0; j < sizeof(wrong) / sizeof(wrong[0]); j++) {
			ERL_NIF_TERM a[5] = { 0 };
			for (int k = 0; k < functions[i].arity; k++)
				a[k] = wrong[(j + (size_t)k) % (sizeof(wrong) / sizeof(wrong[0]))];
			fake_call(env, functions[i].name, a[0], a[1], a[2], a[3], a[4], NO_MORE);
		}
	}
	enif_free_env(env);
}

static int set_up(void **state) {
	(void)state;
	root = maker_ca("Test root", NULL);
	intermediate = maker_ca("Test intermediate", root);
	leaf = maker_make((struct recipe){ .issuer = intermediate, .names = "DNS:" DOMAIN, .usage = "critical,digitalSignature" });
	char *pem = maker_pem(&root, 1);
	anchors = maker_file(pem, strlen(pem));
	free(pem);
	fake_load(S2SP_VERSION);
	return 0;
}

static int tear_down(void **state) {
	(void)state;
	maker_clean();
	fake_unload();
	return 0;
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_it_should_be),
		cmocka_unit_test(each_allocation_fails_in_turn),
		cmocka_unit_test(arguments_of_the_wrong_kind),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
