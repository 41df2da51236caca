/* The peer's certificate, judged from its bytes. Dirty CPU: signatures take most of a millisecond. */
#include "idna.h"
#include "nif_functions.h"
#include "nif_known.h"

/* What a judgement works on; too large for a stack. */
struct bench {
	struct s2sp_certificate_report report;
	struct s2sp_text chain[S2SP_CHAIN_LENGTH_MAX + 1];
	const struct s2sp_nif_crl **crls; /* one after the other in `files`, which has room for both */
	const struct s2sp_crl_file *files[];
};

static void put_string(ErlNifEnv *env, struct s2sp_nif_map *map, ERL_NIF_TERM key, const char *string) {
	if (string != NULL && string[0] != '\0')
		s2sp_nif_put(map, key, s2sp_nif_make_string(env, string));
}

static void put_time(ErlNifEnv *env, struct s2sp_nif_map *map, ERL_NIF_TERM key, int64_t time) {
	if (time != 0)
		s2sp_nif_put(map, key, enif_make_int64(env, time));
}

static ERL_NIF_TERM make_name(ErlNifEnv *env, const void *of, size_t index) {
	const struct s2sp_presented_name *name = &((const struct s2sp_certificate_report *)of)->names[index];
	return enif_make_tuple3(env, s2sp_atoms.identifier_types[name->type], s2sp_nif_make_string(env, name->text),
							s2sp_atoms.findings_of_identity[name->finding]);
}

static ERL_NIF_TERM make_pin(ErlNifEnv *env, const void *of, size_t index) {
	char text[S2SP_PIN_TEXT];
	s2sp_pin_text(&((const struct s2sp_certificate_report *)of)->pins[index], text);
	return s2sp_nif_make_string(env, text);
}

static ERL_NIF_TERM make_report(ErlNifEnv *env, const struct s2sp_certificate_report *report, size_t presented, size_t learned) {
	struct s2sp_nif_map map = { 0 };
	s2sp_nif_put(&map, s2sp_atoms.verdict, s2sp_atoms.verdicts[report->verdict]);
	s2sp_nif_put(&map, s2sp_atoms.cause, s2sp_nif_make_words(env, report->cause));
	s2sp_nif_put(&map, s2sp_atoms.presented, enif_make_uint64(env, presented));
	s2sp_nif_put(&map, s2sp_atoms.learned, enif_make_uint64(env, learned));
	put_time(env, &map, s2sp_atoms.depth, (int64_t)report->fault_depth + 1);
	put_string(env, &map, s2sp_atoms.subject, report->subject);
	put_string(env, &map, s2sp_atoms.issuer, report->issuer);
	put_string(env, &map, s2sp_atoms.serial, report->serial);
	put_time(env, &map, s2sp_atoms.not_before, report->not_before);
	put_time(env, &map, s2sp_atoms.not_after, report->not_after);
	put_time(env, &map, s2sp_atoms.chain_not_after, report->chain_not_after);
	put_time(env, &map, s2sp_atoms.revocation_until, report->revocation_until);
	if (report->uncovered != NULL) {
		put_string(env, &map, s2sp_atoms.uncovered, report->uncovered);
		put_time(env, &map, s2sp_atoms.uncovered_depth, (int64_t)report->uncovered_depth + 1);
		put_string(env, &map, s2sp_atoms.uncovered_issuer, report->uncovered_issuer);
	}
	s2sp_nif_put(&map, s2sp_atoms.links,
				 s2sp_nif_make_text(env, (struct s2sp_text){ (const char *)report->links, report->link_bytes }));
	s2sp_nif_put(&map, s2sp_atoms.name_count, enif_make_uint64(env, report->name_count));
	s2sp_nif_put(&map, s2sp_atoms.names, s2sp_nif_make_list(env, report->names_kept, make_name, report));
	s2sp_nif_put(&map, s2sp_atoms.pins, s2sp_nif_make_list(env, report->pin_count, make_pin, report));
	return s2sp_nif_make_map(env, &map);
}

/* Nothing could be found out: never to be taken for valid. */
static ERL_NIF_TERM unknown(ErlNifEnv *env, const char *cause) {
	static const struct s2sp_certificate_report empty = { .verdict = S2SP_CERTIFICATE_UNKNOWN, .cause = "", .fault_depth = -1 };
	return enif_make_tuple3(env, s2sp_atoms.unknown, s2sp_nif_make_string(env, cause), make_report(env, &empty, 0, 0));
}

/* The chain as it was presented: one more than there may be says that there are too many. */
static bool read_chain(ErlNifEnv *env, ERL_NIF_TERM list, struct s2sp_text chain[S2SP_CHAIN_LENGTH_MAX + 1], size_t *count) {
	ERL_NIF_TERM head;
	for (*count = 0; *count <= S2SP_CHAIN_LENGTH_MAX && enif_get_list_cell(env, list, &head, &list); ++*count) {
		if (!s2sp_nif_text(env, head, &chain[*count]))
			return false;
	}
	return *count > S2SP_CHAIN_LENGTH_MAX || enif_is_empty_list(env, list);
}

static bool read_crls(ErlNifEnv *env, ERL_NIF_TERM list, const struct s2sp_nif_crl *crls[], size_t count) {
	ERL_NIF_TERM head;
	for (size_t i = 0; i < count && enif_get_list_cell(env, list, &head, &list); i++) {
		crls[i] = s2sp_nif_get(env, head, S2SP_NIF_CRL);
		if (crls[i] == NULL)
			return false;
	}
	return true;
}

/* The question's fields as Erlang gave them. */
struct asked {
	ERL_NIF_TERM chain, crls;
	unsigned crl_count;
	struct s2sp_nif_store *store;
	const struct s2sp_policy *policy;
	struct s2sp_domain domain;
	ErlNifSInt64 now;
};

static bool read_asked(ErlNifEnv *env, ERL_NIF_TERM map, struct asked *asked) {
	ERL_NIF_TERM store, domain, policy, now;
	void *object;
	if (!s2sp_nif_field(env, map, s2sp_atoms.chain, &asked->chain) || !s2sp_nif_field(env, map, s2sp_atoms.store, &store) ||
		!s2sp_nif_field(env, map, s2sp_atoms.domain, &domain) || !s2sp_nif_field(env, map, s2sp_atoms.policy, &policy) ||
		!s2sp_nif_field(env, map, s2sp_atoms.now, &now))
		return false;
	if (!s2sp_nif_field(env, map, s2sp_atoms.crls, &asked->crls))
		asked->crls = enif_make_list(env, 0);
	if (!s2sp_nif_get_or_none(env, store, S2SP_NIF_STORE, &object) || !enif_get_list_length(env, asked->crls, &asked->crl_count))
		return false;
	asked->store = object;
	return s2sp_nif_get_policy(env, policy, &asked->policy) && s2sp_nif_domain(env, domain, &asked->domain) &&
		   enif_get_int64(env, now, &asked->now);
}

/* The partner whose certificate it is; NULL with a policy of which the domain is nobody's. */
static const struct s2sp_partner *partner_of(const struct asked *asked) {
	if (asked->policy == NULL || asked->domain.length == 0)
		return NULL;
	return s2sp_policy_find(asked->policy, s2sp_domain_text(&asked->domain), NULL);
}

static struct s2sp_nif_judged judged_of(const struct asked *asked, const struct s2sp_partner *partner,
										const struct s2sp_text *chain, size_t presented, const struct s2sp_nif_crl *const *crls) {
	return (struct s2sp_nif_judged){
		.chain = chain,
		.chain_length = presented,
		.domain = s2sp_domain_text(&asked->domain),
		.pins = partner == NULL ? NULL : partner->pins,
		.pin_count = partner == NULL ? 0 : partner->pin_count,
		.revocation = partner == NULL ? S2SP_REVOCATION_OFF : s2sp_policy_revocation(asked->policy, partner),
		.crls = crls,
		.crl_count = asked->crl_count,
	};
}

static ERL_NIF_TERM judge(ErlNifEnv *env, const struct asked *asked, const struct s2sp_partner *partner, struct bench *bench) {
	size_t presented, learned = 0;
	struct s2sp_learned_digest key;
	if (!read_chain(env, asked->chain, bench->chain, &presented) || !read_crls(env, asked->crls, bench->crls, asked->crl_count))
		return enif_make_badarg(env);
	for (size_t i = 0; i < asked->crl_count; i++)
		bench->files[i] = bench->crls[i]->file;
	const struct s2sp_nif_judged judged = judged_of(asked, partner, bench->chain, presented, bench->crls);
	bool keyed = asked->store->known != NULL && s2sp_nif_known_key(&judged, &key);
	void *hints = s2sp_learned_take(asked->store->anchors, bench->chain, presented, S2SP_CHAIN_LENGTH_MAX, &learned);
	const struct s2sp_certificate_question question = {
		.chain = bench->chain,
		.chain_length = presented + learned,
		.store = asked->store->store,
		.domain = judged.domain,
		.pins = judged.pins,
		.pin_count = judged.pin_count,
		.revocation = judged.revocation,
		.crls = bench->files,
		.crl_count = asked->crl_count,
		.to_ascii = s2sp_idna_to_ascii,
		.now = asked->now,
	};
	s2sp_learned_pause(true);
	enum s2sp_certificate_verdict verdict = s2sp_certificate_judge(&question, &bench->report);
	s2sp_learned_pause(false);
	if (verdict == S2SP_CERTIFICATE_VALID && learned > 0)
		s2sp_learned_used(bench->chain + presented, learned);
	s2sp_learned_give_back(hints);
	ERL_NIF_TERM answer = enif_make_tuple3(env, s2sp_atoms.verdicts[verdict], s2sp_nif_make_words(env, bench->report.cause),
										   make_report(env, &bench->report, presented, learned));
	if (verdict == S2SP_CERTIFICATE_VALID && keyed)
		s2sp_nif_known_keep(asked->store->known, &key, asked->now, &bench->report, answer);
	return answer;
}

/* Why nothing may be learned, which leaves everybody behind an intermediate untrusted. */
NIF(s2sp_nif_learned) {
	const struct s2sp_learned_counts counts = s2sp_learned_counts();
	const struct {
		ERL_NIF_TERM key;
		size_t number;
	} numbers[] = {
		{ s2sp_atoms.kept, counts.kept },         { s2sp_atoms.bytes, counts.bytes },     { s2sp_atoms.seen, counts.seen },
		{ s2sp_atoms.admitted, counts.admitted }, { s2sp_atoms.refused, counts.refused }, { s2sp_atoms.evicted, counts.evicted },
	};
	struct s2sp_nif_map map = { 0 };
	(void)argc;
	(void)argv;
	s2sp_nif_put(&map, s2sp_atoms.status,
				 counts.listening ? s2sp_atoms.ok
								  : s2sp_nif_make_string(env, "OpenSSL gives no place to listen to its verifications"));
	for (size_t i = 0; i < COUNT(numbers); i++)
		s2sp_nif_put(&map, numbers[i].key, enif_make_uint64(env, numbers[i].number));
	return s2sp_nif_make_map(env, &map);
}

NIF(s2sp_nif_judge) {
	struct asked asked;
	(void)argc;
	if (!enif_is_map(env, argv[0]) || !read_asked(env, argv[0], &asked))
		return enif_make_badarg(env);
	if (asked.store == NULL)
		return unknown(env, "there are no trust anchors to judge it by");
	const struct s2sp_partner *partner = partner_of(&asked);
	if (asked.policy != NULL && partner == NULL)
		return unknown(env, "the domain is not a partner of this host");
	struct bench *bench =
		s2sp_nif_allocate(sizeof(*bench) + asked.crl_count * (sizeof(bench->files[0]) + sizeof(bench->crls[0])));
	if (bench == NULL)
		return unknown(env, "not enough memory to judge it");
	bench->crls = (const struct s2sp_nif_crl **)(bench->files + asked.crl_count);
	ERL_NIF_TERM result = judge(env, &asked, partner, bench);
	s2sp_nif_free(bench);
	return result;
}

/* The same question to what is remembered: no certificate is read, no memory taken. */
NIF(s2sp_nif_judged) {
	struct asked asked;
	struct s2sp_text chain[S2SP_CHAIN_LENGTH_MAX + 1];
	const struct s2sp_nif_crl *crls[S2SP_NIF_KNOWN_CRLS_MAX];
	struct s2sp_learned_digest key;
	size_t presented;
	ERL_NIF_TERM answer;
	(void)argc;
	if (!enif_is_map(env, argv[0]) || !read_asked(env, argv[0], &asked))
		return enif_make_badarg(env);
	const struct s2sp_partner *partner = partner_of(&asked);
	if (asked.store == NULL || asked.store->known == NULL || (asked.policy != NULL && partner == NULL) ||
		asked.crl_count > COUNT(crls))
		return s2sp_atoms.none;
	if (!read_chain(env, asked.chain, chain, &presented) || !read_crls(env, asked.crls, crls, asked.crl_count))
		return enif_make_badarg(env);
	const struct s2sp_nif_judged judged = judged_of(&asked, partner, chain, presented, crls);
	if (!s2sp_nif_known_key(&judged, &key) || !s2sp_nif_known_find(asked.store->known, &key, asked.now, env, &answer))
		return s2sp_atoms.none;
	return answer;
}
