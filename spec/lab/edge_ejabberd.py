"""ejabberd as the gatekeeper: the server under test, told and asked in the words of the lab's Prosody.

What a scenario says of the edge is data: partners and options as prosody.cfg.lua has them, which become the same options of
mod_s2s_partners in ejabberd.yml here.  What has no counterpart raises Skipped with the reason; nothing is passed over in silence."""

import json
import os
import pathlib
import re
import socket
import struct
import subprocess

from . import machine
from .ejabberd import HTTP_PORT, Ejabberd
from .lab import Skipped
from .prosody import GREETING, PASSWORD
from .waiting import PATIENCE, answers, port_open, wait_until

EVALUATION_PORT = 5281
MODULE = "mod_s2s_partners"

# Lua that gives its own variables back as JSON.  An empty table is a list: YAML's [] is both.
_DUMP = r"""
local environment, order = {}, {};
local chunk = assert(load(io.read("a"), "=options", "t", environment));
chunk();
local function dump(value)
	if type(value) == "table" then
		local parts = {};
		if #value > 0 or next(value) == nil then
			for _, inside in ipairs(value) do parts[#parts + 1] = dump(inside); end
			local count = 0;
			for _ in pairs(value) do count = count + 1; end
			assert(count == #value, "a table that is list and mapping");
			return "[" .. table.concat(parts, ",") .. "]";
		end
		for key, inside in pairs(value) do parts[#parts + 1] = dump(tostring(key)) .. ":" .. dump(inside); end
		table.sort(parts);
		return "{" .. table.concat(parts, ",") .. "}";
	elseif type(value) == "string" then
		return '"' .. value:gsub('[%c"\\\127]', function (c) return string.format("\\u%04x", c:byte()); end) .. '"';
	elseif math.type(value) == "float" then
		return string.format("%.17g", value);
	end
	return tostring(value);
end
io.write(dump(environment) == "[]" and "{}" or dump(environment));
"""

# Evaluates what comes over a socket: the node needs no name, no cookie and no epmd to be asked.
_EVALUATOR = """
spawn(fun() ->
    {ok, Listener} = gen_tcp:listen(%d, [binary, {packet, 4}, {ip, {%s}}, {active, false}, {reuseaddr, true}]),
    Serve = fun Serve() ->
        {ok, Socket} = gen_tcp:accept(Listener),
        case gen_tcp:recv(Socket, 0) of
            {ok, Text} ->
                Answer = try
                    {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Text)),
                    {ok, Expressions} = erl_parse:parse_exprs(Tokens),
                    {value, Value, _} = erl_eval:exprs(Expressions, []),
                    {value, Value}
                catch Class:Reason:Stack -> {Class, Reason, Stack} end,
                Said = case Answer of
                    {value, Binary} when is_binary(Binary) -> [<<"=">>, Binary];
                    {value, Other} -> io_lib:format("=~~0tp", [Other]);
                    _ -> io_lib:format("!~~0tp", [Answer])
                end,
                gen_tcp:send(Socket, unicode:characters_to_binary(Said));
            _ -> ok
        end,
        gen_tcp:close(Socket), Serve()
    end,
    Serve()
end).
"""

_GLOBAL = {     # options of Prosody's that have a counterpart in ejabberd.yml
    "s2s_require_encryption": lambda value: {"s2s_use_starttls": "required"} if value else {},
    "s2s_secure_auth": lambda value: {},                # the certificate is judged by the module
    "s2s_timeout": lambda value: {"negotiation_timeout": value},
    "s2s_insecure_domains": lambda value: {},
    "s2s_ssl": lambda value: {"s2s_cafile": value["cafile"]} if list(value) == ["cafile"] else {},
    "muc_room_locking": lambda value: {},               # ejabberd's rooms are open at once
    "statistics": lambda value: {},                     # always there
    "custom_roles": lambda value: {},                   # no roles, no groups_file: what asks for them is in not_on_ejabberd.py
    "groups_file": lambda value: {},
    "network_settings": lambda value: {},               # ejabberd sets TCP_NODELAY by itself
}
_MODULES = {    # Prosody's modules; None: nothing has to be loaded
    "s2s_bidi": "mod_s2s_bidi", "dialback": None, "lab_measure": None, "adhoc": "mod_adhoc", "http_openmetrics": None, "groups": None,
    "smacks": "mod_stream_mgmt", "csi": "mod_client_state", "mam": "mod_mam",
}
_BASE = {
    "mod_roster": {}, "mod_s2s_dialback": {}, "mod_disco": {}, "mod_ping": {}, "mod_version": {}, "mod_time": {}, "mod_last": {},
    "mod_private": {}, "mod_privacy": {}, "mod_blocking": {}, "mod_vcard": {"search": False}, "mod_offline": {}, "mod_caps": {},
    "mod_pubsub": {"plugins": ["flat", "pep"]}, "mod_admin_extra": {}, "mod_http_api": {},
}


class NoOptions(Exception):
    """What should be a piece of prosody.cfg.lua is none."""


def options_in(text):
    """{name: value} of a piece of prosody.cfg.lua."""
    if not text.strip():
        return {}
    ran = subprocess.run(["lua5.4", "-e", _DUMP], input=text.encode(errors="surrogateescape"), capture_output=True, timeout=10, check=False)
    if ran.returncode:
        raise NoOptions(f"{ran.stderr.decode(errors='replace')}\n{text}")
    return json.loads(ran.stdout.decode(errors="surrogateescape"))


_ARGUMENTS = {"list": 1, "show": 1, "explain": 3, "check": 0, "test": 2, "streams": 0}
_PLAIN = re.compile(r"(?!(?:true|false|yes|no|on|off|null)$)[a-z_/][\w./-]*")


_LINE = re.compile(r"^\S+ \S+ \[(\w+)\] \S+@(?:mod_)?s2s_partners\w*:\S+ ", re.MULTILINE)
_LEVELS = {"warning": "warn", "notice": "info"}


def in_words_of_prosody(log):
    """The module's lines with the level, and options with the names, that the log of a Prosody has."""
    log = _LINE.sub(lambda found: f"mod_s2s_partners\t{_LEVELS.get(found[1], found[1])}\t", log)
    # ejabberd's own line about a reload is followed by ours.
    log = re.sub(r"Configuration reload aborted: .*\n((?:.*\n)*?)(?=\d+ errors?; nothing has been changed)",
                 lambda found: re.sub(r"^", "mod_s2s_partners\terror\t", found[0], flags=re.MULTILINE), log)
    log = re.sub(r"modules\.mod_s2s_partners\.partners\b", "s2s_partners", log)
    return re.sub(r"modules\.mod_s2s_partners\.", "s2s_partners_", log)


def yaml(value, indent=0):
    """As an administrator would write it."""
    space = "  " * indent
    if isinstance(value, dict) and value:
        return "".join(f"{space}{_scalar(key)}:{_inside(inside, indent + 1)}" for key, inside in value.items())
    return "".join(f"{space}- {yaml(item, indent + 1).lstrip() if isinstance(item, dict) and item else _scalar(item) + chr(10)}" for item in value)


def _inside(value, indent):
    if isinstance(value, dict) and value or isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        return "\n" + yaml(value, indent)
    return f" {_scalar(value)}\n"


def _scalar(value):
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ", ".join(map(_scalar, value)) + "]"
    return json.dumps(value)


def beams_under_test():
    """The directory with s2s_partners-VERSION/, from the environment."""
    return os.environ["S2S_PARTNERS_ERLANG"]


class EdgeEjabberd(Ejabberd):
    """As lab.prosody.Prosody, as far as an edge is concerned; see there."""

    host = "ejabberd"

    def __init__(self, lab, name, hosts, components=None, users=(), preset=None, partners=None, options="", modules=(), plugins=(),
                 certificates=None, direct_tls=False, version=None, address=None, s2s_timeout=10, log_level="debug", env=None,
                 register=True, trust=None, under_test=None):
        if preset or plugins or under_test:
            raise Skipped("a Prosody with files of its own")
        self.installation = machine.choose_ejabberd(version) if version else lab.ejabberd
        self.components = dict(components or {})
        self.texts = dict(hosts) if isinstance(hosts, dict) else dict.fromkeys(hosts, "")
        super().__init__(lab, name, self.texts, users, None, s2s_timeout, address, register=False)
        self.texts = self.hosts         # which scenarios change
        self.partners, self.more, self.modules = partners, options, list(modules)
        self.certificates, self.direct_tls, self.log_level = dict(certificates or {}), direct_tls, log_level
        self.trust = trust or lab.certificates.trust
        self.env = {**os.environ, **(env or {})}
        self.config_file = self.directory / "ejabberd.yml"
        self.rosters = {}
        self.answer = self.status = None        # of the last reload, of the last command
        self.readable = False           # the configuration is for somebody to look at
        self.web_admin = None           # who may use WebAdmin, a bare JID; nobody: it is not there
        self.cluster = None             # the Cluster that it is a node of
        self.beams = None               # the directory with other beams than those under test
        self.yaml = {}                  # more of the module's own options, as they are: {"partners": [...]}
        for _, (kind, _) in self.components.items():
            if kind != "muc":
                raise Skipped(f"a component {kind} of Prosody's")
        for module in self.modules:
            if module not in _MODULES:
                raise Skipped(f"mod_{module} is Prosody's")
        self.bidi = self.number >= (24, 10)
        if "s2s_bidi" in self.modules and not self.bidi:
            self.modules.remove("s2s_bidi")     # XEP-0288 came with 24.10
        if register:
            for domain in self.domains:
                lab.dns.server(domain, self.address, direct_tls_port=5270 if direct_tls else None)

    @property
    def number(self):
        return tuple(map(int, re.findall(r"\d+", self.installation.number)[:2]))

    @property
    def domains(self):
        return [*self.texts, *self.components]

    # Configuration

    def _owner(self, component):
        """The virtual host that a component's domain is below; else the first."""
        below = [host for host in self.texts if component.endswith("." + host)]
        return max(below, key=len) if below else next(iter(self.texts))

    def _options(self, host):
        """(those of the module under test, those of ejabberd's own) for a host; the same two of None: the global ones."""
        found = options_in(self.partners or "")
        found.update(options_in(self.more))
        if host is not None:
            found.update(options_in(self.texts[host]))
        ours, own = {}, {}
        for key, value in found.items():
            if key == "s2s_partners":
                ours["partners"] = value
            elif key.startswith("s2s_partners_"):
                ours[key.removeprefix("s2s_partners_")] = value
            elif key in _GLOBAL:
                own.update(_GLOBAL[key](value))
            else:
                raise Skipped(f"Prosody's option {key}")
        return {**ours, **self.yaml}, own

    def _translate_files(self):
        """Files of partners are YAML here: what a scenario has written in Lua is put into the same place anew."""
        for path in self.directory.glob("**/*.cfg.lua"):
            text = path.read_text(errors="replace") if path.is_file() and path.stat().st_size < 1 << 20 else ""
            mark, text = ("\ufeff" if text.startswith("\ufeff") else ""), text.removeprefix("\ufeff")
            if text.startswith("return "):
                try:
                    value = options_in(f"value = (function () {text} end)()")["value"]
                except NoOptions:       # broken, as the scenario wants it
                    continue
                path.write_text(mark + json.dumps(value))

    def config(self):
        files, modules_of, own_of = [], {}, {}
        for domain in self.domains:
            leaf = self._leaf(domain)
            if leaf is not None:
                files.append(str(self._pem(leaf, domain)))
        for host in self.texts:
            ours, own = self._options(host)
            modules = {name: dict(options) for name, options in _BASE.items()}
            modules.update({_MODULES[module]: {} for module in self.modules if _MODULES[module]})
            rooms = [domain for domain in self.components if self._owner(domain) == host]
            if rooms:
                modules["mod_muc"] = {"hosts": rooms, "default_room_options": {"persistent": False}}
            if self.partners is not None:
                modules[MODULE] = ours
            if self._leaf(host) is None:
                own["s2s_use_starttls"] = False
            modules_of[host], own_of[host] = modules, own
        shared = modules_of[next(iter(self.texts))]
        own = own_of[next(iter(self.texts))]
        special = {host: {"modules": modules_of[host], **own_of[host]} for host in self.texts
                   if modules_of[host] != shared or own_of[host] != own}
        listen = [
            {"ip": self.address, "port": 5222, "module": "ejabberd_c2s"},
            {"ip": self.address, "port": 5269, "module": "ejabberd_s2s_in"},
            {"ip": self.address, "port": HTTP_PORT, "module": "ejabberd_http", "request_handlers": self.handlers()},
        ]
        if self.direct_tls:
            listen.append({"ip": self.address, "port": 5270, "module": "ejabberd_s2s_in", "tls": True})
        return {
            "hosts": list(self.texts), "loglevel": self.log_level,
            "certfiles": files, "ca_file": str(self.trust),
            "negotiation_timeout": self.s2s_timeout, "s2s_dns_retries": 1,
            "s2s_max_retry_delay": 1,       # after a failure it bounces everything for up to that long
            "listen": listen, "acme": {"auto": False},
            "api_permissions": {"lab": {"who": "all", "what": ["*"]}},
            **({"acl": {"admin": {"user": [self.web_admin]}}, "access_rules": {"configure": {"allow": "admin"}}} if self.web_admin else {}),
            "modules": shared, "host_config": special, **own,
        }

    def handlers(self):
        more = {"/metrics": "s2s_partners_metrics"} if "http_openmetrics" in self.modules else {}
        if self.web_admin:
            more["/admin"] = "ejabberd_web_admin"
        return {"/api": "mod_http_api", **more}

    def _leaf(self, host):
        leaf = self.certificates.get(host, "good")
        return self.lab.certificates.leaf(host, leaf) if isinstance(leaf, str) else leaf

    def _pem(self, leaf, domain=None):
        """One file for each domain: a renewed certificate takes the place of the one before."""
        path = self.directory / f"{domain or leaf.certificate.stem}.pem"
        content = leaf.certificate.read_bytes() + leaf.key.read_bytes()
        if not path.exists():
            path.write_bytes(content)
        elif path.read_bytes() != content:
            before = path.stat().st_mtime
            path.write_bytes(content)
            after = max(path.stat().st_mtime, before + 1)       # ejabberd takes it for the same within a second
            os.utime(path, (after, after))
        return path

    def write_config(self):
        self._translate_files()
        try:
            config = self.config()
        except NoOptions:       # a broken file is what the scenario wants
            self.config_file.write_text("broken: [\n" + (self.partners or ""))
            return
        text = yaml(config) if self.readable else json.dumps(config, indent=1, ensure_ascii=False)     # JSON is YAML
        self.config_file.write_text(text, errors="surrogateescape")

    # Process

    def _environment(self, libraries):
        env = super()._environment(libraries)
        preload = [os.environ[name] for name in ("S2S_PARTNERS_PRELOAD",) if name in os.environ and self.partners is not None]
        if "LD_PRELOAD" in self.env and self.env is not os.environ:
            preload.append(self.env["LD_PRELOAD"])
        return {**self.env, **env, **({"LD_PRELOAD": " ".join(preload)} if preload else {})}

    def libraries(self):
        return [self.beams or beams_under_test(), *self.installation.libraries] if self.partners is not None else self.installation.libraries

    def arguments(self):
        text = _EVALUATOR % (EVALUATION_PORT, self.address.replace(".", ","))
        # Quiet: not a second time on the console.
        return [*(self.cluster.arguments(self) if self.cluster else []), "-ejabberd", "quiet", "true", "-eval", " ".join(text.split()).replace("~~", "~")]

    def start(self, timeout=45):
        self.write_config()
        self.launch()
        return self.started(timeout)

    def started(self, timeout=45):
        """Waits until what has been launched serves everybody."""
        try:
            # All its ports are open before ejabberd counts as started (ejabberd_listener, 23.01 and 24.12). Nobody knocks at 5269: scenarios count what
            # has come there since start().
            wait_until(lambda: not self.process.running or (
                port_open(self.address, EVALUATION_PORT) and
                self.evaluate("lists:keymember(ejabberd, 1, application:which_applications(30000))") == "true" and answers(self.address, 5222, GREETING)),
                timeout, f"sign of life from {self.name}")
            if not self.process.running:
                raise RuntimeError(f"{self.name} ended at once")
            # Its log drops lines when it cannot follow; here those who log wait. It also drops all after the 500th in a second,
            # and log_burst_limit_count in its configuration does not change that.
            said = self.evaluate("""logger:update_handler_config(ejabberd_log, config,
                #{burst_limit_enable => false, sync_mode_qlen => 0, drop_mode_qlen => 1000000, flush_qlen => 1000000})""")
            if said != "ok":
                raise RuntimeError(f"its log can lose lines: {said}")
            self._accounts()
        except (TimeoutError, RuntimeError, OSError) as problem:
            raise RuntimeError(f"{problem}\n{self.log_tail(15)}") from None
        return self

    def _accounts(self):
        pairs = ", ".join(f"{{{_binary(user)}, {_binary(host)}}}" for user, host in (jid.split("@") for jid in self.users))
        self.evaluate(f"[ejabberd_auth:try_register(U, H, {_binary(PASSWORD)}) || {{U, H}} <- [{pairs}]]")
        for jid, items in self.rosters.items():
            self._write_roster(jid, items)
        self.rosters.clear()        # the store keeps them

    def stop(self):
        """The exit status, negative for a signal."""
        return self.process.stop(30)    # what is stored has to be on the disk

    def kill(self):
        self.process.stopped = True
        self.process.popen.kill()
        self.process.popen.wait(10)

    def restart(self):
        self.stop()
        return self.start()

    def reload(self, timeout=30):
        """Writes the configuration and reloads it; what ejabberdctl would have said is in `answer`."""
        self.write_config()
        self.answer = self.evaluate('case ejabberd_admin:reload_config() of ok -> <<"ok">>; {error, Why} -> iolist_to_binary(Why) end', timeout)

    # Accounts and rosters

    def add_user(self, jid):
        self.users.append(jid)

    def set_roster(self, jid, items):
        if self.process is not None and self.process.running:
            self._write_roster(jid, items)
        else:
            self.rosters.setdefault(jid, {}).update(items)

    def _write_roster(self, jid, items):
        user, host = jid.split("@")
        for contact, subscription in items.items():
            if subscription not in ("none", "to", "from", "both"):
                raise Skipped(f"a roster item {subscription} as Prosody writes it")
        listed = ", ".join(f"{{{_binary(contact)}, {_binary(subscription)}}}" for contact, subscription in items.items())
        self.evaluate(f"""
            To = jid:make({_binary(user)}, {_binary(host)}),
            [ok = mod_roster:set_item_and_notify_clients(To, xmpp:decode({{xmlel, <<"item">>,
                [{{<<"xmlns">>, <<"jabber:iq:roster">>}}, {{<<"jid">>, Jid}}, {{<<"subscription">>, Sub}}], []}},
                <<"jabber:iq:roster">>, []), true) || {{Jid, Sub}} <- [{listed}]]""", 60)

    def roster(self, jid):
        """As text, an item a line; "" if there is none."""
        user, _, host = jid.partition("@")
        return self.evaluate(f"""
            Items = case (gen_mod:db_mod({_binary(host)}, mod_roster)):get_roster({_binary(user)}, {_binary(host)}) of {{ok, L}} -> L; _ -> [] end,
            iolist_to_binary([io_lib:format("[\\"~s\\"] = {{ subscription = \\"~s\\"; ask = \\"~s\\" }};~n",
                [jid:encode(element(4, I)), atom_to_list(element(6, I)), atom_to_list(element(7, I))]) || I <- Items])""")

    def _store(self, jid, store, text):
        if store == "roster" and "this is no roster" in text:
            return      # Mnesia has no such thing; what asks for it is named in not_on_ejabberd.py
        raise Skipped(f"Prosody's store {store}")

    # Console

    def evaluate(self, text, timeout=30):
        """An Erlang expression; a binary as it is, all else as Erlang writes it."""
        with socket.create_connection((self.address, EVALUATION_PORT), timeout) as connection:
            data = f"{text.strip().rstrip('.')}.".encode()
            connection.sendall(struct.pack(">I", len(data)) + data)
            answer = b""
            while part := connection.recv(65536):
                answer += part
        said = answer[4:].decode(errors="replace")
        if not said.startswith("="):
            raise RuntimeError(f"{text.strip()[:200]}: {said[:2000]}")
        return said[1:]

    def shell(self, command, timeout=30):
        """What Prosody's administration shell would be told, by its counterpart here."""
        command = command.strip()
        if command == "> 1":
            return ""
        if command == "config:reload()":
            self.reload()
            return self.answer
        if command == "> os.time()":
            return f"Result: {self.evaluate('os:system_time(second)')}"
        if command == "> prosody.lab_measure()":
            return self._measure()
        found = re.fullmatch(r"partners:(list|show|explain|check|test|streams)\((.*)\)", command)
        if found:
            words = [json.loads(word) for word in re.findall(r'"(?:[^"\\]|\\.)*"', found[2])]
            words += [""] * (_ARGUMENTS[found[1]] - len(words))     # all are to be there
            return self.command(f"s2s_partners_{found[1]}", *words)
        found = re.fullmatch(r'module:(load|unload|reload)\("s2s_partners"(?:, "([^"]*)")?\)', command)
        if found:
            hosts = [found[2]] if found[2] and found[2] != "*" else list(self.texts)
            return "\n".join(self._module(found[1], host) for host in hosts)
        found = re.fullmatch(r's2s:close(all)?\("([^"]+)"(?:, "([^"]+)")?\)', command)
        if found:
            return self._close([name for name in found.groups()[1:] if name])
        raise Skipped(f"no counterpart of the shell's {command.split('(')[0][:60]}")

    def command(self, name, *words):
        """What `ejabberdctl NAME WORDS` prints; its exit status is in `status` afterwards."""
        arguments = ", ".join(f"binary_to_list({_binary(word)})" for word in [name, *words])
        text = self.evaluate(f"""
            Printer = spawn(fun() -> (fun Loop(Said) -> receive
                {{io_request, From, As, Request}} ->
                    More = case Request of
                        {{put_chars, _, Module, Function, Arguments}} -> apply(Module, Function, Arguments);
                        {{put_chars, _, Characters}} -> Characters;
                        _ -> []
                    end,
                    From ! {{io_reply, As, ok}}, Loop([Said, More]);
                {{said, Who}} -> Who ! {{said, Said}}
            end end)([]) end),
            Self = self(),
            {{Runner, Monitor}} = spawn_monitor(fun() -> group_leader(Printer, self()), exit({{status, ejabberd_ctl:process([{arguments}])}}) end),
            Status = receive {{'DOWN', Monitor, process, Runner, Why}} -> Why end,
            Printer ! {{said, Self}},
            receive {{said, Said}} -> unicode:characters_to_binary([io_lib:format("~0tp~n", [Status]), Said]) end""")
        status, _, said = text.partition("\n")
        found = re.fullmatch(r"\{status,(\d+)\}", status)
        self.status = int(found[1]) if found else status
        return said

    def _measure(self):
        """As mod_lab_measure.lua: name=number. "lua_kb" is what Erlang's processes and tables have once garbage is collected."""
        return self.evaluate("""
            Of = fun(Supervisor) -> length([P || {_, P, _, _} <- supervisor:which_children(Supervisor), is_pid(P)]) end,
            [erlang:garbage_collect(P) || P <- processes()],
            Ours = fun(Start) -> lists:sum([ets:info(T, size) || T <- ets:all(), is_atom(ets:info(T, name)),
                lists:prefix(Start, atom_to_list(ets:info(T, name)))]) end,
            {Waiting, _} = try s2s_partners_places:waiting() catch _:_ -> {0, 0} end,
            Places = try maps:fold(fun(_, {OfPartner, _}, Sum) -> Sum + OfPartner; (_, N, Sum) when is_integer(N) -> Sum + N; (_, _, Sum) -> Sum end,
                0, s2s_partners_places:counts()) catch _:_ -> 0 end,
            iolist_to_binary(io_lib:format("s2sin=~b s2sout=~b c2s=~b waiting=~b places=~b directed=~b entries=~b lua_kb=~b",
                [Of(ejabberd_s2s_in_sup), Of(ejabberd_s2s_out_sup), length(ejabberd_sm:connected_users()), Waiting, Places,
                 Ours("s2s_partners_directed"), Ours("s2s_partners"),
                 (erlang:memory(processes) + erlang:memory(ets) + erlang:memory(binary)) div 1024]))""", 60)

    def _module(self, action, host):
        stop = f"gen_mod:stop_module({_binary(host)}, {MODULE})"
        start = f"gen_mod:start_module({_binary(host)}, {MODULE})"
        return self.evaluate({"load": start, "unload": stop, "reload": f"{stop}, {start}"}[action])

    def _close(self, names):
        """As an administrator has them ended. One that is over, and only takes what is still on its way to it, gives no state.

        Returns when no stanza finds them any more: ejabberd takes those that have ended out of its table in a process of its own."""
        return self.evaluate(f"""
            Names = [{', '.join(map(_binary, names))}],
            Of = fun(Supervisor, Module) -> [{{P, Module}} || {{_, P, _, _}} <- supervisor:which_children(Supervisor), is_pid(P)] end,
            Chosen = [{{P, M}} || {{P, M}} <- Of(ejabberd_s2s_in_sup, ejabberd_s2s_in) ++ Of(ejabberd_s2s_out_sup, ejabberd_s2s_out),
                begin Text = lists:flatten(io_lib:format("~0p", [catch sys:get_state(P)])),
                    lists:all(fun(N) -> string:find(Text, binary_to_list(N)) =/= nomatch end, Names) end],
            Monitors = [begin Monitor = monitor(process, P), M:stop_async(P), Monitor end || {{P, M}} <- Chosen],
            Ends = [receive {{'DOWN', Monitor, process, _, _}} -> ended after 5000 -> still end || Monitor <- Monitors],
            Known = fun() -> [P || {{s2s, _, P}} <- ets:tab2list(s2s), lists:keymember(P, 1, Chosen)] end,
            Wait = fun Wait(N) -> N =:= 0 orelse Known() =:= [] orelse begin timer:sleep(10), Wait(N - 1) end end,
            Wait(500), Ends""")

    def ctl(self, *words, timeout=30):
        raise Skipped(f"no counterpart of prosodyctl {' '.join(map(str, words))[:60]}")

    # Log

    def mark(self):
        self._write_out()
        return self.log_file.stat().st_size if self.log_file.exists() else 0

    def log_since(self, mark=0):
        self._write_out()
        return self._logged(mark)

    def _write_out(self):
        """What has been logged is on its way to the file: another process writes it, and says after 5 seconds that it is busy."""
        for _ in range(4):
            if self.process is None or not self.process.running:
                return
            try:
                if "busy" not in self.evaluate("[logger_std_h:filesync(H) || #{id := H, module := logger_std_h} <- logger:get_handler_config()]", 15):
                    return
            except (OSError, RuntimeError):     # it is just ending
                return

    def module_log(self, mark=0):
        """What the module itself has logged."""
        return "\n".join(line for line in self.log_since(mark).splitlines() if line.startswith("mod_s2s_partners\t"))

    def _logged(self, mark):
        if not self.log_file.exists():
            return ""
        with open(self.log_file, "rb") as log:
            log.seek(mark)
            return in_words_of_prosody(log.read().decode(errors="replace"))

    def wait_log(self, pattern, timeout=PATIENCE, mark=0):
        """The match of the pattern in what is logged after the mark."""
        def search():
            return re.search(pattern, self._logged(mark), re.MULTILINE)
        return wait_until(search, max(timeout, PATIENCE), f"{pattern!r} in the log of {self.name}")


class Cluster:
    """Several nodes of ejabberd that are one server: the same hosts and users, a cookie, each node with addresses of its own for
    everything, S2S included.  Partners find all of them behind SRV records.

    names    of the nodes; the others join the first
    more     as for EdgeEjabberd, for each of them

    Each node is an EdgeEjabberd, in `nodes` and by its name as an attribute.  There is no port mapper (epmd), which would have one node
    of a name: all listen at one port, each on its own address."""

    COOKIE, PORT = "s2slab", 5289

    def __init__(self, lab, names, hosts, users=(), **more):
        self.lab, self.users = lab, list(users)
        self.nodes = [EdgeEjabberd(lab, name, hosts, register=False, **more) for name in names]
        for node in self.nodes:
            node.cluster = self
            setattr(self, node.name, node)
            lab.dns.record(f"{node.name}.nodes.test. 0 IN A {node.address}")
            for host in node.domains:
                lab.dns.record(f"_xmpp-server._tcp.{host}. 0 IN SRV 0 0 5269 {node.name}.nodes.test.")

    @staticmethod
    def node_name(node):
        """As packages name it: the machine alone tells the nodes apart."""
        return f"ejabberd@{node.address}"

    def arguments(self, node):
        """For erl.  Who is cut off on purpose is not to be taken further apart by the emulator."""
        return ["-start_epmd", "false", "-erl_epmd_port", str(self.PORT), "-name", self.node_name(node), "-setcookie", self.COOKIE,
                "-kernel", "inet_dist_use_interface", f"{{{node.address.replace('.', ',')}}}", "prevent_overlapping_partitions", "false"]

    def start(self):
        """All of them start at once, then join the first, one after the other, as `ejabberdctl join_cluster` does it."""
        for node in self.nodes:
            node.write_config()
            node.launch()
        self.nodes[0].users = self.users
        for node in self.nodes:
            node.started()
        for node in self.nodes[1:]:
            said = node.evaluate(f"ejabberd_cluster:join('{self.node_name(self.nodes[0])}')", 60)
            if said != "ok":
                raise RuntimeError(f"{node.name} cannot join: {said}")
            node.started()
        self.wait_whole()
        return self

    def seen_from(self, node, which="ejabberd_cluster:get_nodes()"):
        """The names of the nodes that a node has in its cluster, itself included."""
        known = node.evaluate(f"lists:sort({which})")
        return [other.name for other in self.nodes if f"'{self.node_name(other)}'" in known]

    def wait_whole(self, nodes=None, timeout=20):
        """Until these nodes (all) are each other's cluster, for ejabberd and for those who count places."""
        nodes = nodes or self.nodes
        names = [node.name for node in self.nodes if node in nodes]
        for node in nodes:
            wait_until(lambda node=node: self.seen_from(node) == names, timeout, f"{names} seen by {node.name}")
            wait_until(lambda node=node: self.seen_from(node, "[node() | s2s_partners_places:others()]") == names, timeout,
                       f"the places of {names} known to {node.name}")

    def cut(self, one, other):
        """The two do not see each other any more, and do not find together again by themselves."""
        for node, far in ((one, other), (other, one)):
            node.evaluate(f"erlang:set_cookie('{self.node_name(far)}', cut_by_{node.name})")
        one.evaluate(f"erlang:disconnect_node('{self.node_name(other)}')")

    def heal(self, one, other):
        for node, far in ((one, other), (other, one)):
            node.evaluate(f"erlang:set_cookie('{self.node_name(far)}', {self.COOKIE})")
        # A node that still tries with the cookie of before, or clears away the connection that was cut, refuses this one.
        wait_until(lambda: one.evaluate(f"net_adm:ping('{self.node_name(other)}')") == "pong", 20, f"connection of {one.name} and {other.name}")


def _binary(text):
    """Text as an Erlang expression for its UTF-8."""
    return f"<<{','.join(map(str, text.encode(errors='surrogateescape')))}>>"
