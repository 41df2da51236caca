-- What would become of a stream or a stanza, step by step. Judged by the C code that judges traffic; here it is only put into words.

local layout = module:require "layout";

local jid_prep, jid_split = require "util.jid".prep, require "util.jid".split;

-- kind -> name, type and what else the stanza is
local kinds = {
	stream = {};
	message = { name = "message" };
	groupchat = { name = "message"; type = "groupchat" };
	presence = { name = "presence"; note = true };
	subscribe = { name = "presence"; type = "subscribe" };
	probe = { name = "presence"; type = "probe" };
	["iq-get"] = { name = "iq"; type = "get" };
	["iq-set"] = { name = "iq"; type = "set" };
	["iq-result"] = { name = "iq"; type = "result" };
	["iq-error"] = { name = "iq"; type = "error" };
};
local kind_order = { "stream"; "message"; "groupchat"; "presence"; "subscribe"; "probe"; "iq-get"; "iq-set"; "iq-result"; "iq-error" };

local explain_kinds = table.concat(kind_order, ", ");

local type_words = {
	federated = "trusted like a part of the own enterprise";
	public_verified = "a public provider that is trusted to verify its users";
	public_unverified = "a public provider that is not trusted to verify its users";
};

--[[
new_explain{ native, is_local(host), has_accounts(host), policy(host), fact(need, question) } -> explain. Where there may be relay hosts also
inner = { lines(question), detail(need, question) }, see console/inner_explain.
]]
local function new_explain(context)
	local native = context.native;

	-- A question, or nil and what is wrong with it.
	local function read_question(from, to, kind)
		kind = kind or "message";
		if not kinds[kind] then
			return nil, ("%q is no kind; the kinds are %s"):format(layout.plain(kind, 40), explain_kinds);
		end
		local question = { kind = kind; stanza = kinds[kind] };
		for name, jid in pairs({ from = from or ""; to = to or "" }) do
			local prepped = type(jid) == "string" and jid_prep(jid);
			if not prepped then
				return nil, ("%q is no address; write user@domain, or a domain"):format(layout.plain(jid, 80));
			end
			local user, host, resource = jid_split(prepped);
			question[name] = { jid = prepped; user = user; host = host; resource = resource;
				is_local = context.is_local(host) and true or false };
		end
		if question.from.is_local == question.to.is_local then
			return nil, question.from.is_local and "both addresses are of this server: between them nothing is refused by this module"
				or ("neither %s nor %s is a host of this server"):format(question.from.host, question.to.host);
		end
		question.direction = question.from.is_local and "out" or "in";
		question.own = question.from.is_local and question.from or question.to;
		question.other = question.from.is_local and question.to or question.from;
		question.policy = context.policy(question.own.host);
		question.partner = question.policy and question.policy:find(question.other.host);
		return question;
	end

	local function partner_words(question)
		local partner, domain = question.partner, question.other.host;
		local described = partner.description ~= "" and (" (%s)"):format(layout.plain(partner.description, 60)) or "";
		if partner.match == "default" then
			return ("%s is not listed, so s2s_partners_default applies."):format(domain);
		elseif partner.match == "primary" then
			return ("%s is the domain of the partner at %s%s."):format(domain, partner.place, described);
		elseif partner.match == "additional" then
			return ("%s is an additional domain of the partner %s at %s%s."):format(domain, partner.name, partner.place, described);
		end
		return ("%s is covered by a wildcard among the additional domains of the partner %s at %s%s."):format(domain, partner.name,
			partner.place, described);
	end

	local function row_words(partner)
		for number, row in ipairs(native.negotiation_rows()) do
			if row.tls == partner.tls and row.sasl == partner.sasl and row.dialback == partner.dialback then
				return ("tls %s, sasl %s, dialback %s: row %d of the 18, %s%s."):format(row.tls, row.sasl,
					row.dialback and "yes" or "no", number, layout.methods(row.methods), row.text ~= "" and " ("..row.text..")" or "");
			end
		end
	end

	local function set_of(list)
		local set = {};
		for _, item in ipairs(list) do set[item] = true; end
		return set;
	end

	-- What the other server has to do.
	local function demand_words(question)
		local partner, methods = question.partner, set_of(question.partner.methods);
		local ways = {};
		local certificate = ("a certificate valid for %s"):format(question.other.host);
		local demanded = partner.trust_anchors or #partner.pinned_keys > 0;
		if methods.sasl then
			ways[#ways + 1] = ("start TLS with %s and use SASL EXTERNAL"):format(certificate);
		end
		if methods.tls_dialback then
			ways[#ways + 1] = demanded and ("start TLS with %s and prove itself by dialback"):format(certificate)
				or "start TLS and prove itself by dialback";
		end
		if methods.tcp_dialback then
			ways[#ways + 1] = "prove itself by dialback without TLS";
		end
		return #ways > 0 and "The other server has to "..table.concat(ways, ", or ").."." or
			"No method is left: Prosody's own options take away what the entry allows.";
	end

	local function certificate_words(partner)
		local words = {};
		words[1] = partner.trust_anchors and ("It must lead to the authorities in %s and to no other."):format(partner.trust_anchors)
			or "It must lead to an authority that this host trusts.";
		if partner.revocation == "required" then
			words[#words + 1] = "Current revocation lists must cover each certificate of its chain, and none may revoke it.";
		elseif partner.revocation == "if_known" then
			words[#words + 1] = "No current revocation list may revoke a certificate of its chain.";
		end
		words[#words + 1] = "It must name the domain as SRVName, dNSName or XmppAddr; the common name does not count.";
		if #partner.pinned_keys > 0 then
			words[#words + 1] = ("A key of its chain must be one of %s."):format(layout.count(#partner.pinned_keys, "pinned key"));
		end
		return table.concat(words, " ");
	end

	local function offer_words(step)
		local parts = {};
		if step.starttls then parts[#parts + 1] = step.starttls_required and "STARTTLS (required)" or "STARTTLS"; end
		if step.sasl then parts[#parts + 1] = "SASL EXTERNAL"; end
		if step.dialback then parts[#parts + 1] = "dialback"; end
		return #parts > 0 and table.concat(parts, ", ") or nil;
	end

	local function print_stream_steps(print, steps, direction)
		for _, step in ipairs(steps) do
			local text = ("%s: %s"):format(step.verdict, step.rule ~= "" and step.rule or "nothing against it");
			if step.reason ~= "none" then text = text..(" (%s)"):format(step.reason); end
			local offer = offer_words(step);
			if offer then
				text = text..(direction == "in" and "; we offer " or "; we take up ")..offer;
			elseif step.certificate then
				text = text.."; certificate "..step.certificate;
			end
			layout.print(print, ("    %-17s "):format(step.step), text);
		end
	end

	local function stream_result(result)
		if result.verdict == "allow" then
			return "established by "..layout.method(result.method);
		end
		return "refused, "..result.reason;
	end

	local suppositions = {
		{ words = "without TLS"; facts = { starttls = false } };
		{ words = "with a certificate that is not valid"; facts = { certificate = "untrusted" } };
		{ words = "without SASL EXTERNAL"; facts = { sasl = false } };
		{ words = "without dialback"; facts = { dialback = false } };
		{ words = "without 'from'"; facts = { anonymous = true }; only = "in" };
	};

	local function simulate(question, facts)
		local all = { direction = question.direction; domain = question.other.host };
		for key, value in pairs(facts or {}) do all[key] = value; end
		-- A peer without TLS can use no certificate; one that is refused for that must not be told that EXTERNAL is missing.
		return native.simulate_stream(question.policy, all);
	end

	local function print_stream(print, question, number)
		local result = simulate(question);
		layout.print(print, ("%2d. "):format(number), "The stream, if the other server does all it may be asked for:");
		print_stream_steps(print, result.steps, question.direction);
		layout.print(print, "    ", "Result: "..stream_result(result)..".");
		if question.partner then
			local others = {};
			for _, supposition in ipairs(suppositions) do
				if not supposition.only or supposition.only == question.direction then
					others[#others + 1] = ("%s: %s"):format(supposition.words, stream_result(simulate(question, supposition.facts)));
				end
			end
			layout.print(print, "    ", table.concat(others, "; ")..".");
		end
		return result;
	end

	-- Whose the address on our side is.
	local function local_kind(question)
		local accounts = context.has_accounts(question.own.host);
		if question.own.user then return accounts and "user" or "room"; end
		if accounts then return "host"; end
		return question.own.resource and "room" or "component";
	end

	local fact_words = {
		access = { denied = "the local user is denied external access"; allowed = "the local user may federate" };
		account = { missing = "there is no such local user"; exists = "the local user exists" };
		listed = { unavailable = "the local user's roster cannot be read"; no = "the contact is not in the local user's roster";
			yes = "the contact is in the local user's roster" };
		directed = { no = "the user has sent the contact no directed presence"; yes = "the user has sent the contact directed presence" };
		requested = { no = "nothing was asked that this would answer"; yes = "it answers a request of ours" };
		standing = { unavailable = "the user's roster or block list cannot be read"; blocked = "the user has blocked the contact";
			cancelled = "the user has cancelled the contact's subscription"; none = "the user has not decided about the contact yet";
			authorised = "the contact may see the user's presence already" };
		blocked = { no = "the user has not blocked the contact, in no spelling of the address";
			yes = "the user has blocked the contact, in some spelling of the address" };
		contacts = { few = "the user has few contacts of this partner"; many = "the user has as many contacts of this partner as are "
			.."authorised automatically" };
		waiting = { room = "the request can wait for the user"; full = "no more of the partner's requests can wait for the user" };
	};

	--[[
	Judged as traffic is, each fact looked up when the rules ask for it: { verdict, reason, rule, change }, and the facts in words.
	context.fact(need, question) gives one; nil when it cannot be looked up.
	]]
	local function judge_stanza(question)
		if not native.authorise then return nil; end
		local partner, told = question.partner, {};
		local facts = {
			partner_type = partner.partner_type; group_chat = partner.group_chat; presence_authorization = partner.presence_authorization;
			personal_events = partner.personal_events;
			direction = question.direction; stanza = question.kind; ["local"] = local_kind(question);
			contact = question.other.jid;
		};
		for _ = 1, 16 do
			local verdict, reason, rule, change, events = native.authorise(facts);
			if verdict ~= "wait" then
				return { verdict = verdict; reason = reason; rule = rule; change = change;
					without_events = verdict == "allow" and not events }, told;
			end
			local value = context.fact(reason, question);
			if not value then
				return { verdict = "refuse"; reason = "internal-error"; rule = "a fact about the local user could not be looked up ("..reason..")" }, told;
			end
			facts[reason] = value;
			local detail = context.inner and context.inner.detail(reason, question);
			local words = fact_words[reason] and fact_words[reason][value] or ("%s: %s"):format(reason, value);
			told[#told + 1] = detail and ("%s (%s)"):format(words, detail) or words;
		end
		return { verdict = "refuse"; reason = "internal-error"; rule = "the rules did not come to an end" }, told;
	end

	-- What is changed in a stanza of this kind as it is supposed here: only presence is supposed to have a note.
	local function change_of(question, judged)
		if judged.change == "status-note-removed" and question.kind ~= "presence" then return "none"; end
		return judged.change or "none";
	end

	local function refuse_words(question)
		local partner = question.partner;
		if partner.match == "default" then
			return "Set s2s_partners_default = \"refuse\", so that only listed domains federate.";
		end
		local words = ("Remove %s from the entry at %s (and see that no wildcard covers it)"):format(question.other.host, partner.place);
		if question.kind == "stream" then
			return words..", or demand more: tls, sasl, trust_anchors, pinned_keys.";
		elseif partner.partner_type ~= "public_unverified" then
			words = words..", or make it partner_type = \"public_unverified\": then only contacts in the user's roster get through";
		end
		return words..", or deny the local user with s2s_partners_external_access, or external_access of the entry.";
	end

	local function verdict_line(verdict)
		if verdict.verdict == "refuse" then
			return "verdict: refuse "..verdict.reason;
		elseif verdict.change and verdict.change ~= "none" then
			return "verdict: allow, changed: "..verdict.change;
		end
		return "verdict: allow";
	end

	local function print_end(print, question, verdict)
		print("");
		if verdict.verdict == "refuse" then
			print("Why, and what to change to have it allowed:");
			layout.print(print, "    ", question.policy and question.policy:out_of_reach()
				and ("Take \"s2s\" out of modules_disabled of %s and restart the server."):format(question.own.host)
				or native.reasons[verdict.reason].text);
		else
			print("What to change to have it refused:");
			layout.print(print, "    ", refuse_words(question));
		end
		print("");
		print(verdict_line(verdict));
	end

	--[[
	explain(print, from, to, kind) -> "allow" or "refuse", its last line printed last; or nil and what is wrong with the question.
	]]
	local function explain(print, from, to, kind)
		local question, problem = read_question(from, to, kind);
		if not question then return nil, problem; end
		print(("%s: %s -> %s (%s)"):format(question.kind, question.from.jid, question.to.jid,
			question.direction == "in" and "coming in" or "going out"));
		print("");
		local number = 0;
		local function say(text)
			number = number + 1;
			layout.print(print, ("%2d. "):format(number), text);
		end
		if question.policy and question.policy:out_of_reach() then
			say(("S2S is switched off for %s (modules_disabled): it is out of reach for every partner, over any stream, as if nobody were there.")
				:format(question.own.host));
		elseif not question.policy then
			say(("No valid configuration is in force for %s: everything is refused there."):format(question.own.host));
		else
			say(("The policy of %s has %s; domains not listed: %s."):format(question.own.host,
				layout.count(question.policy:count(), "partner"), question.policy:unlisted()));
			if question.partner then
				say(partner_words(question));
				say(("It is %s: %s."):format(question.partner.partner_type, type_words[question.partner.partner_type]));
				say("Negotiation: "..(question.partner.match == "default" and layout.negotiation(question.partner) or row_words(question.partner)));
				if #question.partner.methods < #question.partner.row_methods then
					say(("Prosody's own options (s2s_require_encryption, s2s_secure_auth, s2s_secure_domains) and modules (modules_enabled) leave of these: %s.")
						:format(layout.methods(question.partner.methods)));
				end
				say(demand_words(question));
				if set_of(question.partner.methods).sasl or question.partner.trust_anchors or #question.partner.pinned_keys > 0 then
					say("The certificate: "..certificate_words(question.partner));
				end
			else
				say(("No entry covers %s."):format(question.other.host));
			end
		end
		local stream = print_stream(print, question, number + 1);
		number = number + 1;
		local verdict = { verdict = stream.verdict; reason = stream.reason };
		if verdict.verdict == "allow" and question.kind ~= "stream" then
			local judged, told = judge_stanza(question);
			if judged then
				if #told > 0 then say("Looked up: "..table.concat(told, "; ").."."); end
				say(("The stanza: %s%s: %s."):format(judged.verdict, judged.reason ~= "none" and " ("..judged.reason..")" or "", judged.rule));
				verdict = { verdict = judged.verdict; reason = judged.reason; change = change_of(question, judged) };
				if judged.verdict == "allow" and judged.change == "status-note-removed" then
					say(question.kind == "presence" and "Its status note is taken out: only federated partners see notes."
						or "Should it hold a status note, that is taken out: only federated partners see notes.");
				elseif judged.verdict == "allow" and judged.change == "subscription-authorised" then
					say("The subscription is authorised on the user's behalf: presence_authorization is \"automatic\".");
				end
				if judged.without_events then
					say("Personal events (mood, activity, tune, location; not avatars and nicknames) are taken out: personal_events is \"refuse\".");
				end
				if question.kind == "iq-get" and not (question.direction == "in" and question.own or question.other).user then
					say("This is for any request but disco, ping, version and time, which every partner may ask a bare domain.");
				end
			else
				say("The stanza: what users may send each other is not judged by this version; the stream decides.");
			end
		end
		for _, line in ipairs(context.inner and context.inner.lines(question) or {}) do say(line); end
		print_end(print, question, verdict);
		return verdict.verdict == "refuse" and "refuse" or "allow";
	end

	return explain;
end

return { new = new_explain; kinds = explain_kinds };
