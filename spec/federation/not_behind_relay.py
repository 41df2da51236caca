"""What of the scenarios does not apply where the edge is in front of another server (--inside): each with its reason, which the runner prints."""

from exceptions import Exceptions

_OWN = "it has relay hosts and a server inside of its own"
_CONSOLE = "console and prosodyctl are the same at every edge; boundary* are about what they say of relay hosts"
_OBSERVE = "nothing passes a relay host while nothing is enforced: observing is an error there"
_AUTOMATIC = "automatic authorisation is an error at a relay host: the rosters are inside"
_SILENT_ITEM = "a contact that is added without a request is not seen at the edge: refused though listed (docs/boundary.md)"
_UNDIRECTED = "what a user inside sends to one contact and what goes to all look alike at the edge: no error comes back for it (docs/boundary.md)"
_PROBED = "a probe from inside makes the contact known, be it a client's own (docs/boundary.md)"
_BLOCKED = "whom a user blocks is known inside alone, which compares spellings in its own way"
_CANCELLED = "whose subscription a user has cancelled is known inside alone"
_UNKNOWN = "a trusted partner is told what the server inside says of users that it has not (docs/boundary.md)"
_CLOSED = "without a policy the inner port is closed: users inside hear of it from their own server, in its words"
_ROLES = "roles are the edge's, and the users are inside"
_ROSTER = "the edge does not read the rosters inside; boundary_contacts is about what it keeps itself"
_HOST = "a relay host has to have what the scenario takes from a host, or clients that it has not"
_INSIDE = "it is about how the edge's own core serves users: what a server inside makes of the same is its own affair"
_LAB = "the lab writes presence_authorization into the file, which the scenario compares byte by byte"
_WITHOUT = "without the module nothing is handed over to the inside, so there is nothing that it could end"

# MODULE/SCENARIO, with * and ?; the first that matches.
REASONS = {
    "boundary*": _OWN,
    "console_*": _CONSOLE,
    "offline_*": _CONSOLE,
    "partners_console/*": _CONSOLE,
    "observe/*": _OBSERVE,
    "observe_classes/*": _OBSERVE,
    "external_access/nothing_is_authorised": _AUTOMATIC,
    "external_access/groups_by_role": _ROLES,
    "faults_disk/*": _ROSTER,
    "farewells/long_farewell_of_whom_we_called": "it counts the lines of the log, among which are those of inner streams",
    "lifecycle/file_named_outright_is_missing": _CLOSED,
    "lifecycle/start_with_errors*": _CLOSED,
    "lifecycle_module/module_commands_for_a_host": _CLOSED,
    "lifecycle_module/module_disabled_on_a_host": _HOST,
    "lifecycle_module/module_loaded_late": _WITHOUT,
    "lifecycle_module/module_reload_without_policy": _CLOSED,
    "lifecycle_module/module_unload": _CLOSED,
    "matrix/invalid_rows": _CLOSED,
    "methods_of_modules/*": _HOST,
    "odd_files/partner_file_with_a_byte_order_mark": _LAB,
    "prompt_sockets/clients_are_left_alone": _HOST,
    "reload_leaves_nothing/timers_while_observing_*": _OBSERVE,
    "sizes_stanzas/a_refused_roster_set_*": _AUTOMATIC,
    "sizes_stanzas/automatic_*": _AUTOMATIC,
    "sizes_stanzas/interests_*": _INSIDE,
    "sizes_stanzas/requests_that_wait": "requests wait inside: the edge keeps none of them, and no bound (docs/boundary.md)",
    "sizes_streams/stream_management_both_ways": _INSIDE,
    "spelling/blocked_*": _BLOCKED,
    "spelling/cancelled_*": _CANCELLED,
    "spelling/listed_*": _BLOCKED,
    "spelling/nothing_goes_to_who_is_blocked": _BLOCKED,
    "spelling/survives_a_restart": _BLOCKED,
    "types_alike/blocked": _BLOCKED,
    "types_alike/federated*": _UNKNOWN,
    "types_alike/unverified": _ROSTER,
    "types_alike/verified_automatic": _AUTOMATIC,
    "types_direct/adding_*": _SILENT_ITEM,
    "types_direct/roster_removed_at_the_store": _SILENT_ITEM,
    "types_direct/denied_user": _UNDIRECTED,
    "types_direct/directed_presence_survives_a_reload": "the edge learns of directed presence from what passes, and forgets it when the module is loaded anew",
    "types_direct/directed_presence_unverified_unlisted": _UNDIRECTED,
    "types_direct/presence_and_errors_unverified_unlisted": _PROBED,
    "types_facts/role": _ROLES,
    "types_facts/roster_unavailable": _ROSTER,
    "types_facts/shared_group": "shared groups are inside: the edge learns of them when contacts are probed (docs/boundary.md)",
    "types_out_of_order/explain_*": _PROBED,
    "types_out_of_order/refused_from_the_start_*": _UNDIRECTED,
    "types_out_of_order/seen_coming_*": _UNDIRECTED,
    "types_subscriptions/authorised": _AUTOMATIC,
    "types_subscriptions/blocked": _BLOCKED,
    "types_subscriptions/cancelled_*": _CANCELLED,
    "types_subscriptions/offline_user": _AUTOMATIC,
    "types_subscriptions/removed_*": _CANCELLED,
    "unlisted_outbound/directed_presence": _UNDIRECTED,
}
OF_INSIDE = {"prosody": {}, "ejabberd": {
    "personal_events/retrievals": "what ejabberd says of a node that there is not has a text, which the edge's refusal has not (docs/boundary.md)",
}}
TABLES = Exceptions("not_behind_relay.py", REASONS, OF_INSIDE)
