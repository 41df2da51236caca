-- lua/queue.lib.lua: what waits for an outgoing stream, in the shapes of both versions of core.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local lua_world = require "lua_world";
local st = require "util.stanza";

local HOST = "contoso.test";

describe("a queue", function ()
	local world, queue;

	before_each(function ()
		world = lua_world.new {};
		world.prosody.hosts[HOST] = {};
		queue = world.load "queue";
	end);

	local function key(id) return st.stanza("db:verify", { from = HOST; to = "fed.test"; id = id }):text("key & more"); end
	local function message(id) return st.message({ from = "alice@"..HOST; to = "bob@fed.test"; id = id }, "hello"); end

	-- 0.12: { text, reply }... 13: a queue of stanzas.
	local function old(...)
		local items = {};
		for i, stanza in ipairs { ... } do items[i] = { tostring(stanza), false }; end
		return items;
	end
	local function new(...)
		local items = { ... };
		return { peek = function () return items[1]; end; consume = function () return function () return table.remove(items, 1); end; end };
	end

	it("that a key was put into first is for the key", function ()
		for _, kind in ipairs { old, new } do
			assert.is_true(queue.is_for_key({ sendq = kind(key "1") }));
			assert.is_true(queue.is_for_key({ sendq = kind(key "1", message "2") }));
			assert.is_false(queue.is_for_key({ sendq = kind(message "2", key "1") }));
			assert.is_false(queue.is_for_key({ sendq = kind() }));
		end
	end);

	it("that cannot be read is for stanzas, which takes a place", function ()
		for _, sendq in ipairs { {}, { "text" }, { {} }, { { 7 } }, { { "<db:verif" } } } do assert.is_false(queue.is_for_key({ sendq = sendq })); end
		assert.is_false(queue.is_for_key({}));
	end);

	it("is taken out whole, in order", function ()
		for _, kind in ipairs { old, new } do
			local session, taken = { direction = "outgoing"; from_host = HOST; to_host = "fed.test"; sendq = kind(key "1", message "2") }, {};
			queue.take(session, taken);
			assert.is_nil(session.sendq);
			assert.same({ "db:verify", "message" }, { taken[1].stanza.name, taken[2].stanza.name });
			assert.same({ "1", "key & more", "hello" }, { taken[1].stanza.attr.id, taken[1].stanza:get_text(), taken[2].stanza:get_child_text("body") });
			assert.same({ HOST, HOST }, { taken[1].host, taken[2].host });
		end
	end);

	it("loses what cannot be read, and says so without a word of it", function ()
		local taken = {};
		queue.take({ direction = "outgoing"; from_host = HOST; to_host = "fed.test"; sendq = { { "<message>secret" }, { tostring(message "2") } } }, taken);
		assert.equal(1, #taken);
		assert.same({ "error: A queued stanza to fed.test cannot be read again and is lost" }, world.lines);
	end);

	it("of an incoming stream, or none, is left", function ()
		local taken = {};
		local session = { direction = "incoming"; sendq = old(message "1") };
		queue.take(session, taken);
		queue.take({ direction = "outgoing" }, taken);
		assert.same({}, taken);
		assert.truthy(session.sendq);
	end);

	it("is routed again, each by itself, but not of a host that has gone", function ()
		local calls = 0;
		function world.prosody.core_route_stanza(_, stanza)
			calls = calls + 1;
			if stanza.attr.id == "1" then error("oops"); end
			table.insert(world.routed, stanza.attr.id);
		end
		queue.route { { host = HOST; stanza = message "1" }, { host = "gone.test"; stanza = message "2" }, { host = HOST; stanza = message "3" } };
		assert.same({ "3" }, world.routed);
		assert.equal(2, calls);
		assert.equal(1, #world.lines);
	end);
end);
