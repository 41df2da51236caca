-- What "inside" prints, a function for each word. Each gets what there is and `write`, and gives nil, or what its output cannot do for the list.
-- `what`: wildcards (names without "*.", those that no other one covers), all_wildcards, each_exact(visit), is_below(name, itself), hosts and
-- own (the relay hosts, as configured and in A-labels), place (see offline/inside), ways (tls, sasl, dialback), default (whether domains that no
-- entry names are let in).
-- Every domain comes from the compiled list: letters, digits, hyphens and dots, so that there is nothing to escape.

local idna = require "util.encodings".idna;

local SERVICE, DIRECT = "_xmpp-server._tcp.", "_xmpps-server._tcp.";
local NAME_MAX = 253; -- RFC 1035 2.3.4, without the last dot
local TTL = 60; -- seconds: a changed list is noticed soon
local DEFAULT_PORT = 5269;
local SAN_BYTES_MAX = 60000; -- OpenSSL takes no chain of more than 100 KiB from a peer, and bytes of other kinds come on top

local function each(places, visit)
	for _, address in ipairs(places) do visit(address); end
end

local function heading(write, mark, what, ...)
	write(mark, " mod_s2s_partners inside: partners' domains lead to the edge, for the server inside that has ", table.concat(what.hosts, ", "), ".\n");
	for _, line in ipairs({ ... }) do write(mark, " ", line, "\n"); end
end

local DEFAULT_LACKS = "s2s_partners_default lets in domains that no entry names, and a view of DNS cannot name them: the server inside looks for "
	.."them itself. Where it can be told a place for all domains, as Prosody 13 and Openfire can, use that";
local PORT_LACKS = "wildcards are left out (%s): records cannot give them a port, and the edge listens on %d only; add 5269 to s2s_inside_ports";

-- What a view of DNS lacks, or nil.
local function lacks_of(what)
	local lacks = {};
	if what.place.port ~= DEFAULT_PORT and #what.wildcards > 0 then
		lacks[1] = PORT_LACKS:format(what.wildcards[2] and ("*.%s and others"):format(what.wildcards[1]) or "*."..what.wildcards[1], what.place.port);
	end
	if what.default then lacks[#lacks + 1] = DEFAULT_LACKS; end
	return lacks[1] and lacks or nil;
end

-- The names that a view has: wildcards, and exact names that are below none.
local function view(what, write_wildcard, write_exact, write_own)
	local with_wildcards = what.place.port == DEFAULT_PORT;
	if with_wildcards then each(what.wildcards, write_wildcard); end
	what.each_exact(function (name)
		if not with_wildcards or not what.is_below(name, true) then write_exact(name); end
	end);
	-- What is ours stays what it is for the server inside, also where a partner has what is above.
	each(what.own, write_own);
	return lacks_of(what);
end

local forms = {};

function forms.unbound(what, write)
	local place = what.place;
	heading(write, "#", what, "For unbound, as a file in unbound.conf.d. Not for the company's resolver: for the server inside alone, which has to ask",
		"this unbound.");
	write("server:\n");
	local function addresses(name)
		each(place.ipv4, function (address) write(("\tlocal-data: \"%s. %d IN A %s\"\n"):format(name, TTL, address)); end);
		each(place.ipv6, function (address) write(("\tlocal-data: \"%s. %d IN AAAA %s\"\n"):format(name, TTL, address)); end);
	end
	return view(what, function (name)
		-- All below it, at any depth. Without SRV records: one for all names would be one for direct TLS as well.
		write(("\tlocal-zone: \"%s.\" redirect\n"):format(name));
		addresses(name);
	end, function (name)
		-- "transparent": of this name there is nothing else, what is below it is looked for as ever.
		write(("\tlocal-zone: \"%s.\" transparent\n"):format(name));
		addresses(name);
		if #name + #SERVICE <= NAME_MAX then
			write(("\tlocal-zone: \"%s%s.\" static\n"):format(SERVICE, name));
			write(("\tlocal-data: \"%s%s. %d IN SRV 0 0 %d %s.\"\n"):format(SERVICE, name, TTL, place.port, name));
		end
		if #name + #DIRECT <= NAME_MAX then write(("\tlocal-zone: \"%s%s.\" static\n"):format(DIRECT, name)); end
	end, function (name)
		if what.is_below(name) then write(("\tlocal-zone: \"%s.\" transparent\n"):format(name)); end
	end);
end

function forms.dnsmasq(what, write)
	local place, listed = what.place, {};
	for _, name in ipairs(what.own) do
		local at = name:match("^[^.]*%.(.*)$");
		while at do
			listed[at] = false;
			at = at:match("^[^.]*%.(.*)$");
		end
	end
	heading(write, "#", what, "For dnsmasq, as a file in dnsmasq.d. Not for the company's resolver: for the server inside alone, which has to ask",
		"this dnsmasq. address= covers all names below a domain; what of them is not listed the edge refuses. Without local= dnsmasq 2.86",
		"and later would ask outside for the SRV records, and the edge would be passed by.");
	local function all_below(name)
		if listed[name] == false then listed[name] = true; end
		write(("local=/%s/\n"):format(name));
		each(place.ipv4, function (address) write(("address=/%s/%s\n"):format(name, address)); end);
		each(place.ipv6, function (address) write(("address=/%s/%s\n"):format(name, address)); end);
	end
	return view(what, all_below, function (name)
		all_below(name);
		if #name + #SERVICE <= NAME_MAX then write(("srv-host=%s%s,%s,%d\n"):format(SERVICE, name, name, place.port)); end
	end, function (name)
		local above = name:match("^[^.]*%.(.*)$");
		while above and not listed[above] do above = above:match("^[^.]*%.(.*)$"); end
		if above then write(("server=/%s/#\n"):format(name)); end
	end);
end

--- Overrides

-- Servers may look for a domain as users write it, in U-labels.
local function spellings(name, visit)
	visit(name);
	if not name:find("xn--", 1, true) then return; end
	local unicode = idna.to_unicode(name);
	if unicode and unicode ~= name and not unicode:find("[%c%s\"'\\{},:/#]") then visit(unicode); end
end

local function host_and_port(address, port)
	return (address:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(address, port);
end

-- Prosody writes its configuration in Lua, and so it is printed here.
function forms.prosody(what, write)
	local ways = what.ways;
	heading(write, "--", what, "For the global section of prosody.cfg.lua of the server inside.");
	if ways.dialback then
		write("-- modules_enabled has to have \"dialback\".\n",
			"s2s_secure_auth = false -- it believes whom dialback proves at the edge's inner address, and no certificate is needed there\n");
	else
		write("-- The authority that has issued the edge's inner certificate has to be among those that this server trusts; the certificate has to\n",
			"-- name the partners, see inside san.\ns2s_secure_auth = true\n");
	end
	write(("s2s_require_encryption = %s\n"):format(tostring(ways.secure)));
	if ways.tls == "not_supported" then write("s2s_allow_encryption = false\n"); end
	write("\n-- Prosody 0.12.3, which Debian 12 has, finds domains by DNS alone: leave out what follows, give it a view (inside unbound, inside\n",
		"-- dnsmasq), and name that view where /etc/resolv.conf does not:\n",
		"-- unbound = { resolvconf = false; hoststxt = false; forward = \"ADDRESS\" }\n",
		"-- From 0.12.4 on, and in 13, the community module mod_s2sout_override does without DNS: add \"s2sout_override\" to modules_enabled.\n",
		"-- A wildcard has one level there: what is deeper wants an entry of its own, or [\"*\"], which leads all other domains to the edge,\n",
		"-- which then says why not.\n",
		"s2sout_override = {\n");
	local target = ("tcp://%s"):format(host_and_port(what.place.first, what.place.port));
	local function line(name) write(("\t[\"%s\"] = \"%s\";\n"):format(name, target)); end
	each(what.all_wildcards, function (name) spellings(name, function (spelling) line("*."..spelling); end); end);
	what.each_exact(function (name) spellings(name, line); end);
	if what.default then line("*"); end
	write("}\n");
	return nil;
end

function forms.ejabberd(what, write)
	local ways, place = what.ways, what.place;
	heading(write, "#", what, "To be merged into ejabberd.yml of the server inside.",
		"ejabberd has no option for the place of one domain. What resolves names for it, in its /etc/resolv.conf, has to be a view of DNS for it alone:",
		"inside unbound, inside dnsmasq.");
	if not ways.dialback then
		write("# ca_file has to have the authority that has issued the edge's inner certificate; the certificate has to name the partners, see\n",
			"# inside san.\n");
	end
	write(("s2s_use_starttls: %s\n"):format(ways.tls == "not_supported" and "false" or ways.secure and "required" or "optional"));
	write("s2s_max_retry_delay: 10 # seconds; by default it bounces everything for up to 300 after one failure, such as a restart of the edge\n");
	if place.port ~= DEFAULT_PORT then write(("outgoing_s2s_port: %d # where there is no SRV record\n"):format(place.port)); end
	if #place.ipv6 == 0 then write("outgoing_s2s_families: [ipv4]\n"); end
	if #place.ipv4 == 0 then write("outgoing_s2s_families: [ipv6]\n"); end
	if ways.dialback then write("modules:\n  mod_s2s_dialback: {}\n"); end
	return nil;
end

-- Read in the sources of Openfire 4.7 to 5.1 (DNSUtil): a list of {domain,host:port} in one property, cut at each brace, comma and colon, so that an
-- IPv6 address does not survive; looked up as the exact name, from 5.1.0 on as the longest *.name that covers it at any depth, and as *.
function forms.openfire(what, write)
	local address = what.place.ipv4[1];
	if not address then
		return { "Openfire cuts the property dnsutil.dnsOverride at each colon, so it cannot hold an IPv6 address; give s2s_inside_interfaces an IPv4 "
			.."address as well, or Openfire a view of DNS (inside unbound, inside dnsmasq)" };
	end
	heading(write, "#", what, "For Openfire: the value of the system property dnsutil.dnsOverride is the last line; it is read when Openfire starts.",
		"Entries with * before a name need Openfire 5.1.0. {*,...} alone leads every domain to the edge, in older ones as well, and the",
		"edge says why not.");
	if not what.ways.dialback then
		write("# The authority that has issued the edge's inner certificate has to be in its trust store for server-to-server connections.\n");
	end
	local first = true;
	local target = host_and_port(address, what.place.port);
	local function entry(name)
		write(first and "" or ",", "{", name, ",", target, "}");
		first = false;
	end
	each(what.wildcards, function (name) spellings(name, function (spelling) entry("*."..spelling); end); end);
	what.each_exact(function (name)
		spellings(name, entry);
	end);
	if what.default then entry("*"); end
	write("\n");
	return nil;
end

--- The certificate request

function forms.san(what, write)
	local name = what.own[1];
	heading(write, "#", what, "The names that the edge's inner certificate needs where SASL EXTERNAL proves the edge inside. Saved as inner.cnf:",
		"openssl req -new -newkey rsa:3072 -nodes -keyout inner.key -out inner.csr -config inner.cnf",
		"For the private authority that the server inside trusts, not for a public one: the names are the partners'.",
		"A wildcard in a certificate stands for one label: deeper names want entries of their own.");
	write("[req]\nprompt = no\ndistinguished_name = subject\nreq_extensions = extensions\n\n");
	write("[subject]\nCN = ", #name <= 64 and name or "edge", "\n\n");
	write("[extensions]\nkeyUsage = critical, digitalSignature, keyEncipherment\nextendedKeyUsage = serverAuth, clientAuth\n");
	write("subjectAltName = @names\n\n[names]\n");
	local number, bytes = 0, 0;
	local function line(text)
		number, bytes = number + 1, bytes + #text + 2;
		write(("DNS.%d = %s\n"):format(number, text));
	end
	each(what.all_wildcards, function (wildcard)
		if #wildcard + 2 <= NAME_MAX then line("*."..wildcard); end
	end);
	what.each_exact(line);
	local lacks = {};
	if number == 0 then lacks[1] = "no entry names a domain, so there is nothing that the certificate could name"; end
	if bytes > SAN_BYTES_MAX then
		lacks[#lacks + 1] = ("%d names of %d bytes are more than servers take in a certificate (OpenSSL: 100 KiB for the whole chain); "
			.."use dialback inside"):format(number, bytes);
	end
	if what.default then
		lacks[#lacks + 1] = "s2s_partners_default lets in domains that no entry names, and a certificate cannot name them; use dialback inside";
	end
	return lacks[1] and lacks or nil;
end

return forms;
