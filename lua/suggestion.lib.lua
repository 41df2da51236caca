-- A list of partners from what is known: whom users have in their rosters, in which rooms they are, how live streams came about. Shows,
-- decides nothing: the reader chooses.

local jid_split = require "util.jid".split;

local layout = module:require "layout";
local lua_text = module:require "import/lua_text";

local DOMAINS_MAX = 20000; -- users may write what they like into their rosters
local SUBSCRIPTIONS = { "both"; "to"; "from"; "none" };

local quote = lua_text.quote;

-- What a stream's method asks of an entry; without one, what Prosody itself does with everybody: TLS, and a certificate or dialback.
local by_method = {
	sasl = { tls = "required"; sasl = "required"; dialback = false };
	tls_dialback = { tls = "required"; sasl = "not_supported"; dialback = true };
	tcp_dialback = { tls = "not_supported"; sasl = "not_supported"; dialback = true };
};
local unseen = { tls = "required"; sasl = "optional"; dialback = true };

-- context: native, is_local(domain), listed(domain) -> the place of the entry that covers it, or nil
local function new_suggestion(context)
	local native = context.native;
	local suggestion = { users = 0; contacts = 0; domains = {}; count = 0; left_out = 0; bad = {}; unread = {} };

	-- The record of a domain as a user wrote it; nil when there is nothing to suggest.
	local function record_of(written)
		local domain = native.canonical_domain(written);
		if not domain then
			if #suggestion.bad < 20 then table.insert(suggestion.bad, layout.plain(written, 60)); end
			return nil;
		end
		if context.is_local(domain) then return nil; end
		local record = suggestion.domains[domain];
		if not record then
			if suggestion.count >= DOMAINS_MAX then
				suggestion.left_out = suggestion.left_out + 1;
				return nil;
			end
			record = { domain = domain; users = 0; contacts = 0; rooms = 0; room_users = 0; subscriptions = {}; streams = {} };
			suggestion.domains[domain] = record;
			suggestion.count = suggestion.count + 1;
		end
		return record;
	end

	-- One local user: { [JID] = item }, list of rooms
	function suggestion.add_user(contacts, rooms)
		suggestion.users = suggestion.users + 1;
		local known, visited = {}, {};
		for jid, item in pairs(contacts) do
			local _, host = jid_split(jid);
			local record = host and record_of(host);
			if record then
				suggestion.contacts = suggestion.contacts + 1;
				record.contacts = record.contacts + 1;
				local subscription = item.subscription;
				record.subscriptions[subscription] = (record.subscriptions[subscription] or 0) + 1;
				known[record] = true;
			end
		end
		for _, jid in ipairs(rooms or {}) do
			local _, host = jid_split(jid);
			local record = host and record_of(host);
			if record then
				record.rooms = record.rooms + 1;
				visited[record] = true;
			end
		end
		for record in pairs(known) do record.users = record.users + 1; end
		for record in pairs(visited) do
			record.room_users = record.room_users + 1;
			if not known[record] then record.users = record.users + 1; end
		end
	end

	-- What could not be read; the list is then incomplete.
	function suggestion.add_problem(text)
		table.insert(suggestion.unread, layout.plain(text, 200));
	end

	-- A live stream: { method, direction, certificate, pin }
	function suggestion.add_stream(domain, stream)
		local record = record_of(domain);
		if record then table.insert(record.streams, stream); end
	end

	-- What observe mode has counted: { stanzas = { in, out }, streams = { in = { [method] = count }, out } }
	function suggestion.add_observed(domain, counts)
		local record = record_of(domain);
		if record then record.observed = counts; end
	end

	local function sorted()
		local list, listed = {}, {};
		for _, record in pairs(suggestion.domains) do
			local place = context.listed(record.domain);
			table.insert(place and listed or list, record);
			record.place = place;
		end
		local function before(a, b)
			if a.users ~= b.users then return a.users > b.users; end
			return a.domain < b.domain;
		end
		table.sort(list, before);
		table.sort(listed, before);
		return list, listed;
	end

	local function who_words(record)
		local words = {};
		if record.contacts > 0 then
			local kinds = {};
			for _, kind in ipairs(SUBSCRIPTIONS) do
				if record.subscriptions[kind] then kinds[#kinds + 1] = ("%d %s"):format(record.subscriptions[kind], kind); end
			end
			words[1] = ("%s (%s)"):format(layout.count(record.contacts, "contact"), #kinds > 0 and table.concat(kinds, ", ") or "of unknown subscription");
		end
		if record.rooms > 0 then
			words[#words + 1] = ("%s of %s"):format(layout.count(record.rooms, "bookmarked room"), layout.count(record.room_users, "user"));
		end
		if #words == 0 then return "no user has contacts there"; end
		return layout.count(record.users, "user")..": "..table.concat(words, "; ");
	end

	-- Live streams in words, and the settings that fit the weakest of their methods.
	local function stream_words(record)
		local lines, settings, pins = {}, nil, {};
		for i, stream in ipairs(record.streams) do
			if i > 4 then break; end
			lines[#lines + 1] = ("a stream %s used %s%s"):format(stream.direction == "in" and "from there" or "to there", layout.method(stream.method),
				stream.certificate and stream.certificate ~= "unknown" and ", certificate "..stream.certificate or "");
			if stream.pin and not pins[stream.pin] then
				pins[stream.pin] = true;
				lines[#lines + 1] = "pin of that certificate: "..stream.pin;
			end
		end
		local order = { "tcp_dialback"; "tls_dialback"; "sasl" };
		for _, method in ipairs(order) do
			for _, stream in ipairs(record.streams) do
				if stream.method == method then settings = settings or by_method[method]; end
			end
			if record.observed and (record.observed.streams["in"][method] or record.observed.streams.out[method]) then
				settings = settings or by_method[method];
			end
		end
		return lines, settings or unseen;
	end

	local METHODS = { "sasl"; "tls_dialback"; "tcp_dialback" };

	local function observed_words(record)
		local counts, words = record.observed, {};
		for _, direction in ipairs({ "in"; "out" }) do
			for _, method in ipairs(METHODS) do
				local count = counts.streams[direction][method];
				if count then
					words[#words + 1] = ("%s %s by %s"):format(layout.count(count, "stream"), direction, layout.method(method));
				end
			end
		end
		words[#words + 1] = ("%s in, %d out"):format(layout.count(counts.stanzas["in"], "stanza"), counts.stanzas.out);
		return "observed: "..table.concat(words, ", ");
	end

	-- Prints the list as configuration; returns how many entries it has.
	function suggestion.print(print)
		local list, listed = sorted();
		print(("-- Suggested from the rosters of %s: %s, %s with nobody in the list of partners yet."):format(layout.count(suggestion.users, "user"),
			layout.count(suggestion.contacts, "remote contact"), layout.count(#list, "domain")));
		print("-- Sorted by users concerned. Take out whom you do not want, and give the type that fits: public_unverified lets only those");
		print("-- contacts through whom a user has in the own list. prosodyctl mod_s2s_partners probe DOMAIN says what a domain can do.");
		for _, text in ipairs(suggestion.unread) do print("-- INCOMPLETE: "..text); end
		if #suggestion.bad > 0 then
			print("-- Left out, since no domain: "..table.concat(suggestion.bad, ", ")..(#suggestion.bad == 20 and ", ..." or ""));
		end
		if suggestion.left_out > 0 then
			print(("-- INCOMPLETE: only %d domains are counted; %s more are left out"):format(DOMAINS_MAX, layout.count(suggestion.left_out, "contact")));
		end
		if suggestion.observed then
			print(("-- Observed since %s: what would have been refused, by domain%s"):format(os.date("!%Y-%m-%d %H:%M UTC", suggestion.observed.since),
				suggestion.observed.left_out > 0 and (" (INCOMPLETE: %d more, of domains beyond those that are kept)")
					:format(suggestion.observed.left_out) or ""));
		end
		if #listed > 0 then
			local names = {};
			for i = 1, math.min(#listed, 10) do names[i] = ("%s (%s)"):format(listed[i].domain, listed[i].place); end
			print(("-- Listed already: %s%s"):format(table.concat(names, ", "), #listed > 10 and (" and %d more"):format(#listed - 10) or ""));
		end
		print("s2s_partners = {");
		for _, record in ipairs(list) do
			print("\t-- "..who_words(record));
			local lines, settings = stream_words(record);
			for _, line in ipairs(lines) do print("\t-- "..line); end
			if record.observed then print("\t-- "..observed_words(record)); end
			print(("\t{ domain = %s; partner_type = \"public_unverified\"; tls = %s; sasl = %s; dialback = %s%s };"):format(quote(record.domain),
				quote(settings.tls), quote(settings.sasl), tostring(settings.dialback), record.rooms > 0 and "; group_chat = \"allow\"" or ""));
		end
		print("}");
		return #list;
	end

	-- Whether anything could not be read.
	function suggestion.complete()
		return #suggestion.unread == 0 and suggestion.left_out == 0;
	end
	return suggestion;
end

return { new = new_suggestion };
