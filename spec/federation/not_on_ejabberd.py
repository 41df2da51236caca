"""What of the scenarios does not apply where the edge is an ejabberd: each with its reason, which the runner prints."""

from exceptions import Exceptions

_CONSOLE = "Prosody's shell and prosodyctl: the commands of ejabberdctl have a ring of their own (spec/ejabberd)"
_BIDI = "XEP-0288 came with ejabberd 24.10"
_OTHER_BIDI = "mod_s2s_bidi of 24.12 looks for another namespace in the features than that of XEP-0288, so it never takes up a partner's offer"
_OBSERVE = "it is about Prosody's own streams and options while nothing is enforced; ejabberd_observe is about those of ejabberd"
_LUA = "it breaks a file of the module in Lua, or looks into Prosody's Lua state"
_COMMIT = "Prosody commits in several turns of its loop; ejabberd in one step of one process"
_ACTIVATE = "Prosody's shell adds hosts while it runs; on ejabberd a reload does"
_RELOAD = "module:reload exchanges a running module's code; ejabberd loads code anew at a restart only"
_NO_PARTNERS_OF_PROSODY = "it compares two versions of Prosody as edges"

# MODULE/SCENARIO, with * and ?; the first that matches.
REASONS = {
    "console_*": _CONSOLE,
    "offline_*": _CONSOLE,
    "partners_console/*": _CONSOLE,
    "external_access/is_shown": _CONSOLE,
    "external_access/groups_by_role": "ejabberd has no roles",
    "hosts_without_s2s/*": "ejabberd cannot take S2S from one host",
    "methods_of_modules/*": "it switches mod_tls and mod_saslauth off for a host, which ejabberd cannot do",
    "observe/*": _OBSERVE,
    "observe_classes/*": _OBSERVE,
    "first_look/*": "it is about sessions that Prosody makes for strangers; ejabberd has a process for each connection from the start",
    "failures/*": _LUA,
    "module_fails/*": _LUA,
    "reload_leaves_nothing/*": _LUA,
    "reload_pauses/*": _COMMIT,
    "upgrade/*": "it exchanges Prosody's files of the module; beams are loaded at a restart only",
    "platforms/*": "it is about what a Prosody, its XML parser and LuaSec lack or have",
    "prompt_sockets/*": "ejabberd sets TCP_NODELAY on all its sockets itself",
    "readme/*": "it runs the configuration for Prosody that stands in the README",
    "interop_prosody/*": _NO_PARTNERS_OF_PROSODY,
    "multi_edge/*": "several nodes of ejabberd are one server, a cluster",
    "log_of_strangers/missing_bundle": "ejabberd itself refuses an option that names a file which is missing",
    "log_of_strangers/unreadable_tls_options": "s2s_ssl is an option of Prosody's",
    "lifecycle_module/module_*": _RELOAD,
    "lifecycle_module/core_modules_reloaded": _RELOAD,
    "lifecycle_module/host_*": _ACTIVATE,
    "lifecycle_module/component_activated": _ACTIVATE,
    "lifecycle/reload_during_a_reload": _COMMIT,
    "odd_files/endless_*": "partner files are YAML and run nothing",
    "lifecycle/file_broken_raises": "partner files are YAML and run nothing",
    "limits/module_reload_with_errors": _RELOAD,
    "limits/*_over_a_module_reload": _RELOAD,
    "types_facts/role": "ejabberd has no roles",
    "types_facts/roster_unavailable": "Mnesia has no damaged roster of one user",
    "types_facts/shared_group": "shared groups of mod_groups are a file of Prosody's",
    "trust/another_module_says_valid": "no module of ejabberd's can change the verdict",
    "slots/*": "it is about the place that Prosody's core keeps for a stream; ejabberd has a back-off instead (s2s_max_retry_delay)",
    "certificates/missing-intermediate": "an intermediate that was learned from another stream takes the place of the missing one; it is verified as ever",
    "certificates/long-chain": "ejabberd's TLS library gives out the leaf alone: what else a peer shows is not looked at",
    "limits/keepalive_incoming": "it reads the log of Prosody's core",
    "sizes_streams/keys_that_wait": "ejabberd opens a connection for each key",
    "crowd/keys_for_a_partner": "ejabberd looks a domain up, and opens a connection, for each key",
    "log_of_strangers/lines_in_a_name": "a header with such a name is refused by ejabberd's stream library, and no name gets into the log",
    "faults_kill/*": "it compares what is lost with a bare Prosody, and asks both in Prosody's shell",
    "languages/*": "xml:lang is ejabberd's own: its stream library gives it to stanzas, and refuses what is no language",
    "odd_elements/*": "it has a plugin of Prosody's as witness",
    "sizes_streams/stranded_route": _LUA,
    "sizes_streams/stream_management_both_ways": "XEP-0198 between servers is Prosody's alone",
    "sizes_stanzas/interests_*": "it counts what Prosody's mod_pep keeps",
    "faults_disk/*": "it fails Prosody's stores, file by file",
    "reload_in_handshake/*": "it collects Prosody's garbage between two steps of OpenSSL",
    "no_tracebacks/*": "it is about errors of Prosody's own",
}
# The same for one version only.
OF_VERSION = {
    "23.01": {
        "bypass_stanzas/bidi_both_ways": _BIDI,
        "bypass_outbound/bidi": _BIDI,
        "bypass_outbound/bidi_other_host": _BIDI,
        "default_policy/bidi_*": _BIDI,
        "limits/bidi_*": _BIDI,
        "several_hosts/bidi_*": _BIDI,
        "sizes_stanzas/deep_and_wide_presence": _BIDI,
        "sizes_stanzas/answers_of_others_come_back": _BIDI,
        "sizes_streams/bidirectional_questions": _BIDI,
        "types_facts/international_domain": _BIDI,
    },
    "24.12": {
        "bypass_outbound/bidi": _OTHER_BIDI,
        "bypass_outbound/bidi_other_host": _OTHER_BIDI,
        "several_hosts/bidi_answer": _OTHER_BIDI,
    },
}
TABLES = Exceptions("not_on_ejabberd.py", REASONS, OF_VERSION)
