/* The functions of the border, one for each line of erlang/src/s2s_partners_nif.erl, where their meaning stands. */
#ifndef S2SP_NIF_FUNCTIONS_H
#define S2SP_NIF_FUNCTIONS_H

#include "nif.h"

/* nif_names.c */
NIF(s2sp_nif_canonical);
NIF(s2sp_nif_has_spellings);
NIF(s2sp_nif_same_domain);
/* nif_compile.c */
NIF(s2sp_nif_compile);
NIF(s2sp_nif_compile_policy);
/* nif_partner.c */
NIF(s2sp_nif_table_partners);
NIF(s2sp_nif_policy_find);
NIF(s2sp_nif_policy_partners);
NIF(s2sp_nif_policy_default);
/* nif_policy.c */
NIF(s2sp_nif_policy_partner);
NIF(s2sp_nif_policy_limits);
NIF(s2sp_nif_policy_facts);
NIF(s2sp_nif_external_access);
NIF(s2sp_nif_route);
NIF(s2sp_nif_place);
NIF(s2sp_nif_limits_suffice);
NIF(s2sp_nif_key_question);
NIF(s2sp_nif_waiting_room);
NIF(s2sp_nif_waiting_crowded);
NIF(s2sp_nif_waiting_due);
/* nif_trust.c */
NIF(s2sp_nif_trust_store);
NIF(s2sp_nif_trust_store_facts);
NIF(s2sp_nif_crl_read);
NIF(s2sp_nif_crl_facts);
NIF(s2sp_nif_crl_follows);
NIF(s2sp_nif_crl_same);
NIF(s2sp_nif_crl_mentions);
NIF(s2sp_nif_crl_begins);
/* nif_judge.c */
NIF(s2sp_nif_judge);
NIF(s2sp_nif_judged);
NIF(s2sp_nif_learned);
/* nif_own.c */
NIF(s2sp_nif_own_certificate);
NIF(s2sp_nif_own_chain);
NIF(s2sp_nif_certificate_pins);
/* nif_stream.c */
NIF(s2sp_nif_stream_new);
NIF(s2sp_nif_stream_bind);
NIF(s2sp_nif_stream_identify);
NIF(s2sp_nif_stream_domain);
NIF(s2sp_nif_stream_partner);
NIF(s2sp_nif_stream_observe);
NIF(s2sp_nif_stream_authenticated);
NIF(s2sp_nif_stream_stanza);
NIF(s2sp_nif_stream_rejudge);
NIF(s2sp_nif_stream_refuse);
NIF(s2sp_nif_stream_used);
NIF(s2sp_nif_stream_view);
/* nif_stream_steps.c */
NIF(s2sp_nif_stream_certificate);
NIF(s2sp_nif_stream_offer);
NIF(s2sp_nif_stream_starttls);
NIF(s2sp_nif_stream_auth);
NIF(s2sp_nif_stream_dialback);
NIF(s2sp_nif_stream_verify);
NIF(s2sp_nif_stream_wrong_key);
NIF(s2sp_nif_stream_premature);
NIF(s2sp_nif_stream_plan);
NIF(s2sp_nif_stream_sasl_failed);
NIF(s2sp_nif_stream_dialback_answer);
NIF(s2sp_nif_stream_established);
/* nif_handshake.c */
NIF(s2sp_nif_stream_handshake);
/* nif_stream_times.c */
NIF(s2sp_nif_stream_place);
NIF(s2sp_nif_stream_counted);
NIF(s2sp_nif_stream_queue);
NIF(s2sp_nif_stream_queue_emptied);
NIF(s2sp_nif_stream_active);
NIF(s2sp_nif_stream_keepalive_sent);
NIF(s2sp_nif_stream_keepalive_answered);
NIF(s2sp_nif_stream_due);
/* nif_stanza.c */
NIF(s2sp_nif_stanza_kind);
NIF(s2sp_nif_question);
NIF(s2sp_nif_fact);
NIF(s2sp_nif_authorise);
NIF(s2sp_nif_passes);
NIF(s2sp_nif_stream_passes);
NIF(s2sp_nif_is_service);
NIF(s2sp_nif_is_personal_event);
/* nif_refusal.c */
NIF(s2sp_nif_reply_to);
NIF(s2sp_nif_reply_to_malformed);
NIF(s2sp_nif_refused_route);
NIF(s2sp_nif_dialback_error);
NIF(s2sp_nif_own_way);
NIF(s2sp_nif_own_words);
NIF(s2sp_nif_is_published);
NIF(s2sp_nif_is_echo);
NIF(s2sp_nif_answer_is_replaced);
/* nif_texts.c */
NIF(s2sp_nif_reason);
NIF(s2sp_nif_reasons);
NIF(s2sp_nif_words);
NIF(s2sp_nif_vocabulary);
NIF(s2sp_nif_rows);
/* nif_explain.c */
NIF(s2sp_nif_explain_stream);

#endif
