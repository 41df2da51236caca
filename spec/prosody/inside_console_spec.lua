-- The console's looks at the inner leg: what they find, what they leave behind, and that nobody's stanzas notice. Metrics and expiry of that side.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local inside = require "inside_world";
local st = require "util.stanza";

local HOST, ROOMS = "contoso.test", "rooms.contoso.test";
local ALICE, BOB = "alice@contoso.test", "bob@fed.test";
local DAY = 86400;
local partners = {};
for i = 1, 8 do
	partners[i] = { domain = i == 1 and "fed.test" or ("p%d.test"):format(i); partner_type = "public_unverified"; tls = "not_supported";
		sasl = "not_supported"; dialback = true };
end

describe("the console of relay hosts", function ()
	local edge, context;

	before_each(function ()
		edge = inside.new({ HOST; ROOMS }, partners);
		edge.boundary.apply(inside.settings({ [HOST] = "10.1.0.10:5269"; [ROOMS] = "10.1.0.11:5269" }));
		context = { guard = edge.guard; native = edge.native; boundary = function () return edge.boundary; end };
	end);

	-- An iq of ours that has been written there: its id.
	local function request_id(conn) return conn.sent:match("<iq[^>]*id=['\"](s2s%-inside%-[^'\"]+)['\"]"); end

	describe("looks at the inner leg", function ()
		local leg, stages, outcome, times;

		before_each(function ()
			leg, stages, outcome, times = edge.world.load("console/inner_leg"), {}, nil, 0;
		end);

		local function look(payload, relay)
			leg.look(edge.native, edge.boundary, { relay = relay or HOST; domain = "fed.test"; seconds = 8; payload = payload;
				view = edge.boundary.settings.hosts[relay or HOST].view }, function (name, text)
				stages[#stages + 1] = name;
				stages[name] = text;
			end, function (found) outcome, times = found, times + 1; end);
		end

		local function leaves_nothing()
			edge.world.run();
			assert.equal(1, times);
			assert.is_nil(next(edge.boundary.onlookers));
			for _, session in ipairs(edge.boundary.endpoint.sessions()) do assert.is_nil(session.watcher); end
		end

		-- The server inside asks whether the key of that stream is ours.
		local function ask_about(id, from)
			local asking = inside.accept(edge);
			asking:say(inside.header(from or HOST, "fed.test"));
			asking:say(("<db:verify from='%s' to='fed.test' id='%s'>key</db:verify>"):format(from or HOST, id));
		end

		it("as far as an answer, stage by stage", function ()
			look(leg.ping());
			local conn = inside.answer(edge);
			conn:say(inside.header(HOST, "fed.test", "id1")..inside.FEATURES);
			ask_about("id1");
			conn:say("<db:result from='contoso.test' to='fed.test' type='valid'/>");
			local id = request_id(conn);
			assert.truthy(id, conn.sent);
			local reply = inside.prove(edge, HOST, "fed.test");
			reply:say(("<iq type='result' from='contoso.test' to='fed.test' id='%s'/>"):format(id));
			assert.same({ "TCP"; "stream"; "key"; "method"; "round trip" }, { table.unpack(stages) });
			assert.is_nil(outcome.failed);
			assert.equal("10.1.0.10", outcome.asked_from);
			assert.equal("tcp_dialback", outcome.view.method);
			assert.equal(0, #edge.world.routed);
			leaves_nothing();
			assert.is_true(conn.closed);
			-- A late one is nobody's.
			reply:say(("<iq type='result' from='contoso.test' to='fed.test' id='%s'/>"):format(id));
			assert.equal(1, times);
			assert.equal(0, #edge.world.routed);
		end);

		it("beside the stream that stands, which keeps its stanzas", function ()
			inside.arrive(edge, st.message({ from = BOB; to = ALICE }, "first"));
			local standing = inside.answer(edge);
			inside.establish(standing, HOST, "fed.test");
			look(nil);
			local conn = inside.answer(edge);
			assert.are_not.equal(standing, conn);
			inside.arrive(edge, st.message({ from = BOB; to = ALICE }, "second"));
			inside.establish(conn, HOST, "fed.test");
			assert.is_nil(outcome.failed);
			assert.truthy(standing.sent:find("second", 1, true));
			assert.is_nil(conn.sent:find("second", 1, true));
			leaves_nothing();
			assert.is_false(standing.closed);
			assert.is_true(conn.closed);
		end);

		it("and nobody's stanzas pause when there is no answer", function ()
			look(nil);
			inside.fail(edge);
			assert.equal("TCP", outcome.failed);
			assert.equal("connection refused", outcome.why);
			assert.same({}, edge.boundary.relay.failures);
			inside.arrive(edge, st.message({ from = BOB; to = ALICE }, "hello"));
			assert.equal(2, #edge.dialled);
			assert.equal(0, #edge.refused);
			leaves_nothing();
		end);

		it("and says where it ended", function ()
			for _, case in ipairs({
				{ "stream"; function (conn) conn:drop(); end };
				{ "stream"; function (conn) conn:say("HTTP/1.1 400 Bad Request"); end };
				{ "key"; function (conn)
					conn:say(inside.header(HOST, "fed.test", "id1")..inside.FEATURES);
					conn:say("<stream:error><connection-timeout xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>");
				end };
				{ "key"; function (conn)
					conn:say(inside.header(HOST, "fed.test", "id1")..inside.FEATURES);
					conn:say("<db:result from='contoso.test' to='fed.test' type='invalid'/>");
				end };
				-- Somebody else's question is none about our key, and neither is one about another.
				{ "key"; function (conn)
					conn:say(inside.header(HOST, "fed.test", "id1")..inside.FEATURES);
					ask_about("id1", ROOMS);
					ask_about("id2");
					conn:drop();
				end };
				{ "method"; function (conn)
					conn:say(inside.header(HOST, "fed.test", "id1")..inside.FEATURES);
					ask_about("id1");
					conn:say("<db:result from='contoso.test' to='fed.test' type='invalid'/>");
				end };
				{ "round trip"; function (conn)
					inside.establish(conn, HOST, "fed.test");
					conn:drop();
				end };
			}) do
				outcome, times = nil, 0;
				look(leg.ping());
				case[2](inside.answer(edge));
				assert.is_table(outcome, case[1]);
				assert.equal(case[1], outcome.failed, outcome.why);
				leaves_nothing();
			end
		end);

		it("and takes no other relay host's answer, and none that is no answer", function ()
			look(leg.ping());
			local conn = inside.answer(edge);
			inside.establish(conn, HOST, "fed.test");
			local id = request_id(conn);
			local rooms, own = inside.prove(edge, ROOMS, "fed.test"), inside.prove(edge, HOST, "fed.test");
			rooms:say(("<iq type='result' from='rooms.contoso.test' to='fed.test' id='%s'/>"):format(id));
			own:say(("<iq type='get' from='contoso.test' to='fed.test' id='%s'/>"):format(id));
			own:say(("<iq type='result' from='alice@contoso.test' to='fed.test' id='%s'/>"):format(id));
			assert.is_nil(outcome);
			own:say(("<iq type='error' from='contoso.test' to='fed.test' id='%s'><error type='cancel'><service-unavailable "
				.."xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"):format(id));
			assert.is_nil(outcome.failed);
			assert.equal("contoso.test answers the ping with service-unavailable", stages["round trip"]);
			leaves_nothing();
		end);

		it("and ends in time, whatever the server inside does", function ()
			look(leg.ping());
			local conn = inside.answer(edge);
			conn:say(inside.header(HOST, "fed.test", "id1")..inside.FEATURES);
			assert.is_nil(outcome);
			edge.world.run();
			assert.equal("key", outcome.failed);
			assert.equal("no stream within 8 s", outcome.why);
			leaves_nothing();
			assert.is_true(conn.closed);
		end);

		it("and ends when the relay host is none any more, or there is no room", function ()
			look(leg.ping());
			inside.answer(edge);
			edge.boundary.apply(false);
			assert.equal("stream", outcome.failed);
			times, outcome = 0, nil;
			leg.look(edge.native, edge.boundary, { relay = HOST; domain = "fed.test"; seconds = 8; view = {} }, function () end,
				function (found) outcome, times = found, times + 1; end);
			assert.equal("TCP", outcome.failed);
			assert.equal("the host is no relay host", outcome.why);
		end);
	end);

	describe("checks the servers inside", function ()
		local said, ended;

		local function check(result)
			said, ended = {}, false;
			edge.world.load("console/inner_check")(context)(result, function () end, function (grade, text) said[#said + 1] = grade.." "..text; end,
				function () ended = true; end);
		end

		local function find(pattern)
			for _, text in ipairs(said) do
				if text:find(pattern, 1, true) then return text; end
			end
		end

		-- The connection to that place is there, and its stream gets as far as stanzas.
		local function establish(number, relay, domain)
			local conn = inside.answer(edge, number);
			inside.establish(conn, relay, domain);
			return conn;
		end

		local function dialled_for(address)
			local found;
			for number, begun in ipairs(edge.dialled) do
				if begun.host == address then found = number; end
			end
			return found, edge.dialled[found].data.session.from_host;
		end

		-- All five streams in partners' names to either server; the answer to the first question of HOST is `items`.
		local function run(items)
			for _ = 1, 5 do
				for address, relay in pairs({ ["10.1.0.10"] = HOST; ["10.1.0.11"] = ROOMS }) do
					local number, domain = dialled_for(address);
					local conn = establish(number, relay, domain);
					local id = request_id(conn);
					if id then
						local reply = inside.prove(edge, relay, domain);
						reply:say(("<iq type='result' from='%s' to='%s' id='%s'><query xmlns='http://jabber.org/protocol/disco#items'>%s</query></iq>")
							:format(relay, domain, id, relay == HOST and items or ""));
					end
				end
			end
		end

		it("in the names of a few partners, and says how many", function ()
			check(nil);
			run("<item jid='rooms.contoso.test'/>");
			assert.is_true(ended);
			assert.truthy(find("ok contoso.test: the server inside, 10.1.0.10:5269, takes this one for fed.test: TCP dialback, no TLS"));
			assert.truthy(find("note contoso.test: looked at for 5 of 8 partners"));
			assert.truthy(find("ok contoso.test: services of the server inside that have a relay host: rooms.contoso.test"));
			assert.is_nil(find("warning"));
			edge.world.run();
			for _, session in ipairs(edge.boundary.endpoint.sessions()) do assert.is_nil(session.watcher); end
		end);

		it("and finds a service without a relay host, however many the server tells of", function ()
			check(nil);
			local items = { "<item jid='rooms.contoso.test'/><item jid='town.contoso.test'/><item jid='contoso.test'/><item jid='a@b.test'/><item/>"
				.."<item jid='a b'/><item jid='contoso.test/x'/>" };
			for i = 1, 5000 do items[#items + 1] = ("<item jid='s%d.contoso.test'/>"):format(i); end
			run(table.concat(items));
			local text = find("warning contoso.test: ");
			assert.truthy(text and text:find("town.contoso.test are services of the server inside and no relay host", 1, true), text);
			assert.truthy(text:find("s18.contoso.test", 1, true));
			assert.is_nil(text:find("s19.contoso.test", 1, true));
			assert.is_nil(text:find("b.test, ", 1, true));
		end);

		it("and stops where it would be the same for each partner", function ()
			check(nil);
			assert.is_nil(find("inner port"));
			inside.fail(edge, 1);
			inside.fail(edge, 2);
			assert.is_true(ended);
			assert.equal(2, #edge.dialled);
			assert.truthy(find("warning contoso.test: the server inside, 10.1.0.10:5269, cannot be reached: connection refused; start the server inside"));
			assert.truthy(find("warning rooms.contoso.test: the server inside, 10.1.0.11:5269, cannot be reached"));
		end);

		it("and says of another server on disk that it is not the one looked at", function ()
			local other = inside.settings({ [HOST] = "10.1.0.99:5269" });
			check({ policies = edge.guard.policies; inside = other });
			inside.fail(edge, 1);
			inside.fail(edge, 2);
			assert.truthy(find("note contoso.test: on disk its server is 10.1.0.99:5269; here the one in force is looked at"));
			assert.truthy(find("note rooms.contoso.test is no relay host on disk any more"));
		end);

		it("and tells of an inner port that is not open, as partners:inside does", function ()
			edge.boundary.apply(false);
			edge.unopened["10.1.0.2|5269"] = true;
			edge.boundary.apply(inside.settings({ [HOST] = "10.1.0.10:5269" }));
			check(nil);
			inside.fail(edge, 1);
			assert.truthy(find("warning the inner port 10.1.0.2 port 5269 is not open"));
			local printed = {};
			local function print(text) printed[#printed + 1] = text; end
			context.say_if_not_applied = function () end;
			assert.is_true(edge.world.load("console/inner_side")(context).inside.handler({ session = { print = print } }));
			assert.truthy(table.concat(printed, "\n"):find("  warning  the inner port 10.1.0.2 port 5269 is not open", 1, true));
		end);

		it("and connects to no server that is not in force yet", function ()
			edge.boundary.apply(false);
			check({ policies = edge.guard.policies; inside = inside.settings({ [HOST] = "10.1.0.99:5269" }) });
			assert.is_true(ended);
			assert.same({ "note contoso.test: the server inside is to be 10.1.0.99:5269, which is not in force yet: it is looked at after "
				.."partners:commit()" }, said);
			assert.equal(0, #edge.dialled);
		end);

		it("and says of which certificates the names were too many to look for", function ()
			edge.boundary.apply(false);
			local path, asked, many, hosts = os.tmpname(), 0, {}, {};
			local file = assert(io.open(path, "w"));
			file:write("certificate");
			file:close();
			for i = 1, 600 do many[i] = { name = ("p%d.test"):format(i); additional_domains = {} }; end
			context.native = setmetatable({ own_certificate = function ()
				asked = asked + 1;
				return { names_domain = true; not_after = os.time() + 100 * DAY; key_type = "EC"; key_bits = 256 };
			end }, { __index = edge.native });
			for _, host in ipairs({ HOST; ROOMS }) do
				hosts[host] = { server = "10.1.0.10"; server_host = "10.1.0.10"; server_port = 5269; tls = { certificate = path };
					view = { methods = { "sasl" } } };
			end
			local policy = { partners = function () return many; end };
			check({ policies = { [HOST] = policy; [ROOMS] = policy }; inside = { hosts = hosts } });
			os.remove(path);
			assert.truthy(find(("ok contoso.test: %s names the first 500 partner domains"):format(path)));
			assert.truthy(find(("note rooms.contoso.test: whether %s names its partners has not been looked at: 500 domains"):format(path)));
			assert.equal(502, asked);
		end);

		it("and where there is no relay host says nothing", function ()
			edge.boundary.apply(false);
			check({ policies = edge.guard.policies; inside = false });
			assert.is_true(ended);
			assert.same({}, said);
		end);
	end);

	it("tests the inner leg of a relay host in each of its spellings", function ()
		local host = "bücher.test";
		edge = inside.new({ host }, partners);
		edge.boundary.apply(inside.settings({ [host] = "10.1.0.10:5269" }));
		context = { guard = edge.guard; native = edge.native; boundary = function () return edge.boundary; end };
		local test = edge.world.load("console/inner_test")(context);
		for _, spelling in ipairs({ host; "BÜCHER.test"; "xn--bcher-kva.test" }) do
			local question, problem = test.read("fed.test", spelling);
			assert.truthy(question, spelling..": "..tostring(problem));
			assert.equal(host, question.relay);
		end
		for _, other in ipairs({ "fed.test"; "nowhere.test"; "a b"; "" }) do assert.is_nil(test.read("fed.test", other)); end
	end);

	describe("explains the inner leg", function ()
		local function lines(direction, user, host)
			return table.concat(edge.world.load("console/inner_explain")(context).lines({ direction = direction; own = { host = host or HOST; user = user };
				other = { host = "fed.test"; jid = BOB } }), "\n");
		end

		it("from what there is, and connects to nobody", function ()
			assert.truthy(lines("in", "alice"):find("contoso.test is a relay host: alice is at the server inside, 10.1.0.10:5269, which is reached by "
				.."TCP dialback.\nThere is no stream to it for fed.test at the moment; one is opened when it is needed.", 1, true));
			assert.equal(0, #edge.dialled);
			inside.arrive(edge, st.message({ from = BOB; to = ALICE }, "hello"));
			assert.truthy(lines("in", "alice"):find("The stream to it for fed.test is being opened.\n1 stanza waits for it at the moment.", 1, true));
			inside.fail(edge);
			local told = lines("in", "alice");
			assert.truthy(told:find("needed. The last failure there, %d+.* UTC: connection refused. partners:test%("), told);
			edge.clock = edge.clock + 1;
			inside.arrive(edge, st.message({ from = "tom@p2.test"; to = ALICE }, "hello"));
			inside.establish(inside.answer(edge), HOST, "p2.test");
			assert.truthy(lines("in", "alice"):find("needed. It is reached: there are others. partners:test(", 1, true), lines("in", "alice"));
			inside.prove(edge, HOST, "fed.test");
			assert.truthy(lines("out", "alice"):find("The stream from it for fed.test stands: TCP dialback, no TLS.", 1, true));
			assert.equal("", lines("in", "alice", "other.test"));
		end);

		it("and of a contact since when it is known, and by what", function ()
			local detail = edge.world.load("console/inner_explain")(context).detail;
			local question = { own = { host = HOST; user = "alice" }; other = { host = "fed.test"; jid = BOB } };
			assert.is_nil(detail("account", question));
			assert.equal("as far as it shows here; rosters are inside", detail("listed", question));
			edge.boundary.contacts.sent(HOST, st.presence({ from = ALICE; to = BOB; type = "subscribe" }));
			assert.truthy(detail("listed", question):find("^known since .* UTC, by a request of the user's; confirmed .* UTC$"), detail("listed", question));
			edge.world.open_store = function () return { get = function () return nil, "disk"; end }; end;
			question.own.user = "carol";
			edge.world.prosody.hosts[HOST].events = {};
			assert.equal("what is known of the user's contacts cannot be read", detail("listed", question));
		end);
	end);

	it("has metrics whose labels are relay hosts", function ()
		inside.arrive(edge, st.message({ from = BOB; to = ALICE }, "one"));
		inside.arrive(edge, st.message({ from = BOB; to = ALICE }, "two"));
		edge.world.fire("stats-update");
		assert.same({ [HOST] = 2; [ROOMS] = 0 }, edge.world.metrics.inside_queue.values);
		assert.same({}, edge.world.metrics.inside_streams.values);
		inside.fail(edge);
		inside.prove(edge, HOST, "fed.test");
		for _ = 1, 2 do edge.world.fire("stats-update"); end
		assert.same({ [HOST] = 2; [ROOMS] = 0 }, edge.world.metrics.inside_bounces.values);
		assert.same({ [HOST] = 0; [ROOMS] = 0 }, edge.world.metrics.inside_queue.values);
		assert.same({ [HOST.." in tcp_dialback"] = 1 }, edge.world.metrics.inside_streams.values);
		edge.boundary.apply(false);
		edge.world.fire("stats-update");
		assert.same({}, edge.world.metrics.inside_streams.values);
		assert.same({}, edge.world.metrics.inside_queue.values);
	end);

	describe("warns of certificates inside", function ()
		local watch, lines;
		local now = os.time();

		before_each(function ()
			lines = edge.world.lines;
			watch = edge.world.load("inside/inner_expiry")({ native = { own_certificate = function (text) return { not_after = tonumber(text) }; end };
				expiry = edge.expiry; own_files = function (host) return host == ROOMS and { "/outer.crt" } or {}; end });
			for i = #lines, 1, -1 do lines[i] = nil; end
		end);

		local function view(days, fields)
			local seen = { remote = HOST; certificate = "valid"; report = { not_after = now + days * DAY; serial = "0A"; issuer = "CN=CA" } };
			for name, value in pairs(fields or {}) do seen[name] = value; end
			return seen;
		end

		it("that the server inside shows, once a day, where they count", function ()
			watch.seen(view(20), now);
			watch.seen(view(3, { certificate = "unknown" }), now);
			watch.seen(view(3, { report = false }), now);
			assert.same({}, lines);
			watch.seen(view(3), now);
			watch.seen(view(3), now);
			assert.equal(1, #lines);
			assert.truthy(lines[1]:find("warn: The certificate that the server inside shows for contoso.test expires in 3 days", 1, true), lines[1]);
			watch.seen(view(3), now + DAY);
			assert.equal(2, #lines);
		end);

		it("that this server shows there, and not those that it shows outside", function ()
			local path = os.tmpname();
			local file = assert(io.open(path, "w"));
			file:write(tostring(now + 5 * DAY));
			file:close();
			watch.committed({ hosts = { [HOST] = { tls = { certificate = path } }; [ROOMS] = { tls = { certificate = "/outer.crt" } };
				["third.test"] = { tls = {} } } }, now);
			os.remove(path);
			assert.equal(1, #lines);
			assert.truthy(lines[1]:find("which is shown inside (for contoso.test), expires in 5 days", 1, true), lines[1]);
			watch.tick({ sessions = function () return {}; end }, now + 100);
			assert.equal(1, #lines);
			watch.tick({ sessions = function () return {}; end }, now + DAY + 1);
			assert.equal(2, #lines);
			assert.truthy(next(edge.expiry.state.warned.inner_own));
			watch.committed(false, now);
			assert.is_nil(next(edge.expiry.state.warned.inner_own));
		end);
	end);
end);
