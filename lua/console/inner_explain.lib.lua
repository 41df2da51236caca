-- The other leg of what partners:explain tells of an address at a relay host: what there is at the moment. Nothing is connected for it.

local layout = module:require "layout";

local function new_inner_explain(context)
	local guard = context.guard;
	local inner = {};

	local function found(question)
		local boundary = context.boundary and context.boundary();
		local host = question.own.host;
		local settings = boundary and boundary.settings and boundary.settings.hosts[host];
		return settings, boundary;
	end

	local function who(question)
		local own = question.own;
		if not own.user then return "the host itself"; end
		return guard.hosts[own.host].type == "local" and own.user or ("%s (a room or a user of a service)"):format(own.user);
	end

	local function stream_words(stream)
		local view = stream.view or {};
		if not stream.established then return "is being opened"; end
		return ("stands: %s, %s"):format(layout.method(view.method), view.tls and view.protocol or "no TLS");
	end

	-- The stream that a stanza of that direction takes on the inner leg.
	local function leg_words(question, host)
		local direction = question.direction == "in" and "outgoing" or "incoming";
		for _, stream in ipairs(host.streams) do
			if stream.domain == question.other.host and stream.direction == direction then
				return ("The stream %s it for %s %s."):format(direction == "outgoing" and "to" or "from", question.other.host, stream_words(stream));
			end
		end
		if direction == "incoming" then
			return ("It has no stream to here for %s at the moment; it opens one when a user writes."):format(question.other.host);
		end
		local failure = host.failure;
		if failure then
			return ("There is no stream to it for %s at the moment, and the last attempt for %s failed, %s: %s. The next stanza tries again."):format(
				question.other.host, question.own.host, layout.date(failure.when), layout.plain(failure.why, 200));
		end
		return ("There is no stream to it for %s at the moment; one is opened when it is needed. partners:test(%q, %q) tries it."):format(
			question.other.host, question.other.host, question.own.host);
	end

	-- Lines about the inner leg; none where the address is at no relay host.
	function inner.lines(question)
		local settings, boundary = found(question);
		if not settings then return {}; end
		local host = boundary.view()[question.own.host];
		local lines = { ("%s is a relay host: %s is at the server inside, %s, which is reached by %s."):format(question.own.host, who(question),
			layout.plain(settings.server, 100), layout.methods(settings.view.methods)), leg_words(question, host) };
		if host.waiting > 0 then lines[3] = ("%s for it at the moment."):format(layout.count(host.waiting, "stanza waits", "stanzas wait")); end
		return lines;
	end

	-- What more there is to say of a fact: of a contact since when it is known, and learned from what.
	function inner.detail(need, question)
		local settings, boundary = found(question);
		if need ~= "listed" or not settings or not question.own.user then return nil; end
		if guard.hosts[question.own.host].type ~= "local" then return nil; end
		local item, problem = boundary.contacts.find(question.own.host, question.own.user, question.other.jid);
		if problem then return "what is known of the user's contacts cannot be read"; end
		if not item then return "as far as it shows here; rosters are inside"; end
		return ("known since %s, by %s; confirmed %s"):format(layout.date(item.since), layout.plain(item.by or "?", 80), layout.date(item.seen));
	end

	return inner;
end

return new_inner_explain;
