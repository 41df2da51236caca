-- The live streams as the records have them.

local tls_info = module:require "tls_info";

local function new_live(native, latch)
	local live = {};

	local function order(a, b)
		for _, key in ipairs({ "partner", "remote", "local_host", "direction" }) do
			local left, right = a[key] or "", b[key] or "";
			if left ~= right then return left < right; end
		end
		return false;
	end

	-- Views of all streams, or of those for which choose(view) is true, with `session`, `address` and `tls_version` beside. each_stream(visit): of
	-- others than those with other servers.
	function live.streams(choose, each_stream)
		local list = {};
		(each_stream or latch.each_stream)(function (session)
			local view = native.stream_view(session);
			if not view or session.destroyed then return; end
			view.session, view.address = session, session.ip;
			local info = view.tls and tls_info(session.conn) or {};
			view.tls_version, view.cipher = info.protocol, info.cipher;
			-- One stream for both directions (XEP-0288).
			view.bidi = session.incoming and session.outgoing and true or false;
			if not choose or choose(view) then list[#list + 1] = view; end
		end);
		table.sort(list, order);
		return list;
	end

	-- partner name -> direction -> method -> count, of established streams (of one host)
	function live.counts(host)
		local counts = {};
		for _, view in ipairs(live.streams()) do
			if view.stage == "established" and view.partner and (not host or view.local_host == host) then
				local directions = counts[view.partner] or { ["in"] = {}; ["out"] = {} };
				counts[view.partner] = directions;
				local methods = directions[view.direction];
				methods[view.method] = (methods[view.method] or 0) + 1;
			end
		end
		return counts;
	end

	return live;
end

return new_live;
