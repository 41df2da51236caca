-- partners:inside and partners:contacts: the inner side of relay hosts, and whom their users are known to have as contacts.

local jid = require "util.jid";

local layout = module:require "layout";

local CONTACTS_SHOWN = 200;

local function new_inner_side(context)
	local function nothing()
		return nil, "there is no relay host: see s2s_inside in docs/boundary.md";
	end

	local function state_of(stream)
		local view = stream.view or {};
		if not stream.established then return "being opened"; end
		return ("%s, %s"):format(layout.method(view.method), view.tls and view.protocol or "no TLS");
	end

	local function inside(self)
		local print, boundary = self.session.print, context.boundary();
		context.say_if_not_applied(print);
		local all = boundary and boundary.view() or {};
		local names, streams = {}, 0;
		for name in pairs(all) do names[#names + 1] = name; end
		if #names == 0 then return nothing(); end
		table.sort(names);
		for _, text in ipairs(boundary.closed_ports()) do layout.print(print, "  warning  ", text); end
		for _, name in ipairs(names) do
			local host = all[name];
			print(("%s: the server inside is %s"):format(name, host.server));
			layout.print(print, "  methods  ", layout.methods(host.settings.methods));
			table.sort(host.streams, function (a, b)
				return a.domain..a.direction < b.domain..b.direction;
			end);
			for _, stream in ipairs(host.streams) do
				streams = streams + 1;
				layout.print(print, stream.direction == "incoming" and "  from it  " or "  to it    ", ("for %s: %s"):format(layout.plain(stream.domain, 253),
					state_of(stream)));
			end
			if #host.streams == 0 then print("  streams  none; they are opened when they are needed"); end
			if host.waiting > 0 then print(("  waiting  %s"):format(layout.count(host.waiting, "stanza"))); end
			if host.failure then
				layout.print(print, "  failure  ", ("%s: %s"):format(os.date("%Y-%m-%d %H:%M:%S", host.failure.when), layout.plain(host.failure.why, 300)));
			end
		end
		return true, ("%s, %s"):format(layout.count(#names, "relay host"), layout.count(streams, "stream"));
	end

	-- The prepared address of a user of a relay host; nil and what is wrong.
	local function user_of(boundary, address, usage)
		local prepared = type(address) == "string" and jid.prep(address);
		local host = prepared and boundary.host_of(prepared);
		if not host or not jid.node(prepared) then
			return nil, ("%s is no user of a relay host. Usage: %s"):format(layout.plain(tostring(address), 80), usage);
		end
		return host, jid.node(prepared);
	end

	local function contacts(self, address)
		local print, boundary = self.session.print, context.boundary();
		if not boundary or not boundary.settings then return nothing(); end
		local host, user = user_of(boundary, address, "partners:contacts(\"alice@contoso.com\")");
		if not host then return nil, user; end
		local list, problem = boundary.contacts.list(host, user);
		if not list then return nil, "the contacts cannot be read: "..layout.plain(problem, 200); end
		for i, item in ipairs(list) do
			if i > CONTACTS_SHOWN then break; end
			local state = item.to and item.from and "both" or item.to and "to" or item.from and "from" or "none";
			layout.print(print, "  ", ("%s: %s%s, since %s, by %s; confirmed %s%s"):format(layout.plain(item.contact, 300), state,
				item.ask and ", asked" or "", layout.date(item.since), layout.plain(item.by or "?", 80), layout.date(item.seen),
				item.old and "; too long ago, so it counts no more" or ""));
		end
		if #list > CONTACTS_SHOWN then print(("  and %d more"):format(#list - CONTACTS_SHOWN)); end
		return true, layout.count(#list, "known contact");
	end

	local function forget(_, address, contact)
		local boundary = context.boundary();
		if not boundary or not boundary.settings then return nothing(); end
		local usage = "partners:forget(\"alice@contoso.com\", \"bob@fabrikam.com\")";
		local host, user = user_of(boundary, address, usage);
		if not host then return nil, user; end
		local prepared = type(contact) == "string" and jid.prep(contact);
		if not prepared then return nil, "the contact is no address. Usage: "..usage; end
		local ok, found, is_unsaved = pcall(boundary.contacts.forget, host, user, prepared);
		if not ok then return nil, "the contacts cannot be read: "..layout.plain(tostring(found), 200); end
		if not found then return nil, ("%s is not known as a contact"):format(layout.plain(prepared, 200)); end
		if is_unsaved then
			return true, "forgotten, but that could not be stored, see the log: a restart before it can be makes the contact known again";
		end
		return true, "forgotten; a request of the user's, or a probe of the server inside, makes it known again";
	end

	local user = { name = "user"; type = "string" };
	return {
		inside = { desc = "Relay hosts: the server inside, its streams, what waits for it, the last failure"; args = {}; handler = inside };
		contacts = { desc = "Whom a user of a relay host is known to have as contacts"; args = { user }; handler = contacts };
		forget = { desc = "Forgets a contact that has been removed inside without a word"; args = { user; { name = "contact"; type = "string" } };
			handler = forget };
	};
end

return new_inner_side;
