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

	-- The stream for a domain in that direction, nil when there is none; and whether there is any that leads to the server inside of the host.
	local function find_stream(boundary, host, domain, direction)
		local stream, reached = nil, false;
		for _, session in ipairs(boundary.endpoint.sessions()) do
			local ours, relay = boundary.endpoint.pair(session);
			if relay == host and session.direction == direction and not session.for_key and not session.watcher then
				if ours == domain and (not stream or session.established) then stream = session; end
				reached = reached or session.established == true;
			end
		end
		return stream, reached;
	end

	local function stream_words(session)
		if not session.established then return "is being opened"; end
		local view = context.native.stream_view(session) or {};
		return ("stands: %s, %s"):format(layout.method(view.method), view.tls and view.protocol or "no TLS");
	end

	-- The stream that a stanza of that direction takes on the inner leg.
	local function leg_words(question, boundary)
		local host, domain = question.own.host, question.other.host;
		local direction = question.direction == "in" and "outgoing" or "incoming";
		local session, reached = find_stream(boundary, host, domain, direction);
		if session then
			return ("The stream %s it for %s %s."):format(direction == "outgoing" and "to" or "from", domain, stream_words(session));
		elseif direction == "incoming" then
			return ("It has no stream to here for %s at the moment; it opens one when a user writes."):format(domain);
		end
		local failure, words = boundary.relay.failures[host], "";
		if reached then
			words = " It is reached: there are others.";
		elseif failure then
			words = (" The last failure there, %s: %s."):format(layout.date(failure.when), layout.plain(failure.why, 200));
		end
		return ("There is no stream to it for %s at the moment; one is opened when it is needed.%s partners:test(%q, %q) tries it."):format(domain, words,
			domain, host);
	end

	-- Lines about the inner leg; none where the address is at no relay host.
	function inner.lines(question)
		local settings, boundary = found(question);
		if not settings then return {}; end
		local host = question.own.host;
		local lines = { ("%s is a relay host: %s is at the server inside, %s, which is reached by %s."):format(host, who(question),
			layout.plain(settings.server, 100), layout.methods(settings.view.methods)), leg_words(question, boundary) };
		local waiting = boundary.relay.waiting(host);
		if waiting > 0 then lines[3] = ("%s for it at the moment."):format(layout.count(waiting, "stanza waits", "stanzas wait")); end
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
