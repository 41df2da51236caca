-- What a look at a stream prints: its stages as they are reached, each with the time since the one before. For partners:test, of either leg.

local layout = module:require "layout";
local tls_info = module:require "tls_info";

local now = require "util.time".now;

local progress = {};

-- `stages`: their names, in order.
function progress.new(print, stages)
	local run = { reached = {}; last = now(); started = now() };
	function run.stage(name, text, since)
		if run.over or run.reached[name] then return; end
		local time = now();
		run.reached[name] = true;
		layout.print(print, ("  %-12s %9s  "):format(name, layout.duration(time - (since or run.last))), text);
		run.last = time;
	end
	-- The first stage that was not reached.
	function run.failed_at()
		for _, name in ipairs(stages) do
			if not run.reached[name] and not (run.without and run.without[name]) then return name; end
		end
		return stages[#stages];
	end
	function run.print_failure(stage, text)
		layout.print(print, ("  %-12s %9s  "):format(stage, "failed"), text);
	end
	function run.time()
		return layout.duration(now() - run.started);
	end
	return run;
end

-- Of a stream, as native.stream_view describes it.
function progress.certificate_words(view)
	local report = view.report or {};
	local text = view.certificate;
	if report.cause and view.certificate ~= "valid" then text = text..": "..report.cause; end
	if report.not_after then text = text..", expires "..layout.expiry(report.not_after); end
	return text;
end

function progress.tls_words(conn)
	local info = tls_info(conn);
	return ("%s, %s"):format(info.protocol or "version not known", info.cipher or "cipher not known");
end

-- "connected to 192.0.2.7 port 5269"; and "192.0.2.7:5269", nil when it is not known
function progress.connected_words(conn, who)
	local ok, ip, port = pcall(function () return conn:ip(), conn:port(); end);
	local peer = ok and ip and port and (ip:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(ip, port) or nil;
	return ("connected to %s"):format(ok and ip and ("%s%s"):format(ip, port and " port "..port or "") or who), peer;
end

return progress;
