-- The border between C and Lua: one table, which both call `guard`. What the C handlers read of Lua's, and Lua of theirs, is in here and
-- nowhere else; every field is below, with who writes it. No field is ever nil: what there is none of is false. A name that is not
-- below cannot be written. spec/prosody/border_spec compares it with what C reads.

local jid = require "util.jid";
local nameprep = require "util.encodings".stringprep.nameprep;

local hosts = prosody.hosts;

local function weak_keys() return setmetatable({}, { __mode = "k" }); end

-- Whether mod_dialback would say that a key is of its making. What cannot be found out is left to it.
local function key_is_ours(host, stanza)
	local dialback = hosts[host] and hosts[host].modules.dialback;
	local verify = dialback and dialback.verify_dialback; -- the same in 0.12 and 13
	if type(verify) ~= "function" then return true; end
	local attr = stanza.attr;
	local ok, ours = pcall(verify, attr.id, attr.from, attr.to, stanza[1]);
	return not ok or ours;
end

-- The domains of a stanza's own addresses. Core answers malformed addresses as they stand: nil of what is none.
local function own_way(event)
	local attr = event.stanza.attr;
	return nameprep(jid.host(attr.from) or event.from_host), nameprep(jid.host(attr.to) or event.to_host);
end

local no_name = {
	__newindex = function (_, name) error(("the border has no field %s"):format(tostring(name)), 2); end;
};

-- `with`: read_features, opened_for_key
local function new_border(with)
	return setmetatable({
		--- What is in force: written by lua/in_force, read by C with every decision

		-- Host -> policy (userdata). A host without one has everything refused. The table is replaced as a whole by a commit.
		policies = {};
		-- Stores and revocation lists, see trust.load; replaced with the policies. Of its fields lua/crls exchanges crl_files and crls.
		trust = { anchors = {}; hosts = {}; own = {} };

		--- The actions: written once, by lua/guard before any handler is installed; called by C

		-- Name -> function, see lua/actions.
		act = false;
		-- The same names: what takes their place while nothing is enforced, see lua/observe.
		would = false;
		-- Whether nothing is enforced. Exactly true, here and in C: whatever else it may come to be means that everything is. Written by
		-- lua/guard before any handler is installed and by lua/observe, read by C before it acts on or writes to what is Prosody's.
		observing = false;

		--- What C asks about users: written once, by lua/guard; called and read by C

		-- Name -> function (host, user, own address, contact, id) -> word, see lua/facts.
		facts = false;
		-- User -> who has sent directed presence to whom; kept by lua/facts. C looks whether a user is in there at all.
		directed = false;
		-- Host -> when no role was found there that denies anybody (os.time()); kept by lua/facts. False: Prosody 0.12 has no roles.
		roles_scanned = false;

		--- What C asks about Prosody: constant

		hosts = hosts;
		bare_sessions = prosody.bare_sessions;
		full_sessions = prosody.full_sessions;
		-- What LuaSec's own info() begins with; the rest of it takes a description of the cipher to pieces. False: no LuaSec.
		tls_info = (package.loaded["ssl.core"] or {}).info or false;
		is_address = function (address) return jid.prep(address) ~= nil; end;
		key_is_ours = key_is_ours;
		own_way = own_way;
		read_features = with.read_features; -- see features
		opened_for_key = with.opened_for_key; -- see queue

		--- What C counts: Lua begins it anew, C writes what is inside

		-- { total = number, partners = { name = number } }: begun anew by lua/limits and lua/rejudge, just before C counts all streams again.
		places = { total = 0; partners = {} };
		-- Host -> keys that partners are being asked about; at most so many that their bounds allow.
		questions = {};
		-- See counters.c; lua/metrics drains and clears it.
		counters = {};

		--- Marks

		-- Stanzas of the module's own, which are not judged again: written by lua/answers, read by C.
		answers = weak_keys();
		-- Stanza -> its copy without status notes: written and read by C.
		notes = weak_keys();
		-- Id -> the stream a ping of ours went over: written by lua/keepalive, read and cleared by C. Handed on at a reload of the module.
		keepalives = setmetatable({}, { __mode = "v" });
	}, no_name);
end

return new_border;
