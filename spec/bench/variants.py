"""The servers that are compared: what each loads beside the same bare Prosody."""

import pathlib

LOCAL, REMOTE, STRANGER = "contoso.test", "fabrikam.test", "evil.test"
ALICE, BOB = f"alice@{LOCAL}", f"bob@{REMOTE}"

# What a site would write to get near: an allow-list of domains, and strangers only from the roster.
FIREWALL = """%LIST partners: file:{list}

::deliver
ENTERING: $local
NOT CHECK LIST: partners contains $<@from|host>
BOUNCE=policy-violation

::deliver
ENTERING: $local
KIND: message
NOT IN ROSTER?
BOUNCE=service-unavailable

::deliver_remote
LEAVING: $local
NOT CHECK LIST: partners contains $<@to|host>
BOUNCE=policy-violation
"""

COLLECTOR = "gc = { threshold = 150, speed = 20, step_size = 10 }\n"

COMMUNITY = "/usr/lib/prosody/modules"
PLUGINS = pathlib.Path(__file__).resolve().parent / "plugins"


def _partner(domain, type_, number, more=""):
    return f'{{ domain = "{domain}"; description = "Partner {number}"; partner_type = "{type_}"{more} }};\n'


def _any_method(domain, type_, more=""):
    return (f'{{ domain = "{domain}"; description = "The one that talks"; partner_type = "{type_}"; '
            f'tls = "optional"; sasl = "optional"; dialback = true{more} }};\n')


def _bare(lab):
    return {"modules": ["dialback"]}


def partner_list(count, type_="federated", more="", each=""):
    """Lua: a list of `count` partners, the one that talks in the middle. `more`: keys of that one; `each`: of all."""
    others = [_partner(f"xmpp-{number:07d}.department.example", "federated", number, each)
              for number in range(1, count)]
    others.insert(count // 2, _any_method(REMOTE, type_, each + more))
    return "{\n" + "".join(others) + "}"


def _table(count, type_="federated"):
    return lambda lab: {"partners": f"s2s_partners = {partner_list(count, type_)}"}


def _files(count):
    def make(lab):
        path = lab.directory / f"partners-{count}.cfg.lua"
        path.write_text(f"return {partner_list(count)}\n")
        return {"partners": f's2s_partners_files = {{ "{path}" }}'}
    return make


def _crl(entries):
    def make(lab):
        path = lab.directory / f"revoked-{entries}.crl"
        path.write_bytes(lab.certificates.crl("good", extra=entries))
        return {"partners": f"s2s_partners = {partner_list(10, more=f'; crls = {{ {chr(34)}{path}{chr(34)} }}')}"}
    return make


def relay(count, server, inner, keys):
    """An edge without users before the server at an address, with the modules of docs/boundary.md; edge.test is what the lab knocks at."""
    partners = partner_list(count, each='; presence_authorization = "user"')
    inside = f's2s_inside = {{ server = "{server}:5269"; {keys} }}'
    return {"partners": f's2s_partners = {partners}\ns2s_inside_interfaces = {{ "{inner}" }}',
            "hosts": {"edge.test": "", LOCAL: f'modules_disabled = {{ "c2s" }}\n{inside}'}, "users": [], "inner_address": inner,
            "options": 'modules_enabled = { "saslauth"; "tls"; "dialback"; "admin_shell"; "s2s_partners" }\n'}


def _relay(count):
    """The server inside is lab.inside."""
    return lambda lab: relay(count, lab.inside.address, lab.address(), 'tls = "optional"; sasl = "not_supported"; dialback = true')


def _collector(more):
    """With the collector that docs/operating.md recommends."""
    return lambda lab: {**more(lab), "options": COLLECTOR}


def _firewall(lab):
    names, script = lab.directory / "partners.txt", lab.directory / "partners.pfw"
    names.write_text("".join(f"xmpp-{number:07d}.department.example\n" for number in range(1, 10)) + f"{REMOTE}\n")
    script.write_text(FIREWALL.format(list=names))
    return {"modules": ["dialback", "firewall"], "plugins": [COMMUNITY],
            "options": f'firewall_scripts = {{ "{script}" }}\n'}


# name: (title, arguments for lab.prosody.Prosody by lab)
VARIANTS = {
    "bare": ("bare Prosody", _bare),
    "bare-collector": ("bare Prosody, small steps of the collector", _collector(_bare)),
    "partners-10": ("s2s_partners, 10 partners", _table(10)),
    "partners-10-collector": ("s2s_partners, small steps of the collector", _collector(_table(10))),
    "crl-100000": ("the same with a revocation list of 100 000 entries", _crl(100000)),
    "partners-10000": ("s2s_partners, 10 000 partners in s2s_partners_files", _files(10000)),
    "table-10000": ("s2s_partners, 10 000 partners in the option", _table(10000)),
    "verified": ("s2s_partners, public_verified", _table(10, "public_verified")),
    "unverified": ("s2s_partners, public_unverified, contact listed", _table(10, "public_unverified")),
    "firewall": ("mod_firewall, allow-list and roster check", _firewall),
    "timers": ("bare Prosody with one timer more", lambda lab: {"modules": ["dialback", "bench_timers"], "plugins": [PLUGINS]}),
    "relay-10": ("s2s_partners, 10 partners, in front of another server", _relay(10)),
    "strangers": ("mod_block_strangers", lambda lab: {"modules": ["dialback", "block_strangers"], "plugins": [COMMUNITY]}),
}

# Of another server, measured by CPU time: (title, more of its configuration).
EJABBERD = {
    "ejabberd": ("ejabberd, s2s_access: all", {}),
    "ejabberd-access": ("ejabberd, s2s_access with 10 domains", {
        "acl": {"partners": {"server": [*(f"xmpp-{number:07d}.department.example" for number in range(1, 10)), REMOTE]}},
        "access_rules": {"partners_only": [{"allow": "partners"}, {"deny": "all"}]},
        "s2s_access": "partners_only",
    }),
}
# The same module in ejabberd, beside the same ejabberd without it; by CPU time as well.
GUARDED = {
    "ejabberd-bare": ("bare ejabberd, TLS optional", None),
    "ejabberd-10": ("ejabberd with s2s_partners, 10 partners", 10),
    "ejabberd-10000": ("ejabberd with s2s_partners, 10 000 partners", 10000),
}
TITLES = {variant: title for variant, (title, _) in {**VARIANTS, **EJABBERD, **GUARDED}.items()}


def base_of(variant):
    """What a variant is compared with."""
    return "ejabberd-bare" if variant in GUARDED else "ejabberd" if variant in EJABBERD else "partners-10" if variant.startswith("crl-") else "bare"
