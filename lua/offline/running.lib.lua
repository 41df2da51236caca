-- prosodyctl mod_s2s_partners commit: the one command that asks the running server, over the socket of its shell.

local configmanager = require "core.configmanager";
local adminstream = require "util.adminstream";
local promise = require "util.promise";
local async = require "util.async";
local timer = require "util.timer";
local st = require "util.stanza";
local resolve_relative_path = require "util.paths".resolve_relative_path;

local layout = module:require "layout";

local SECONDS_MAX = 330; -- a bit more than the server's own limit

local function socket_path()
	local path = configmanager.get("*", "admin_socket");
	return resolve_relative_path(prosody.paths.data or ".", type(path) == "string" and path or "prosody.sock");
end

-- Has the server's shell run a command and prints what it prints. True and its last words, false and its error; nil and why there is no
-- answer. Called in a runner: it waits.
local function ask(command)
	local client = adminstream.client();
	local answer = async.wait_for(promise.new(function (resolve)
		client.events.add_handler("connected", function ()
			client.send(st.stanza("repl-input", { repl = "0" }):text(command));
			return true;
		end, 1);
		client.events.add_handler("received", function (stanza)
			local text = stanza:get_text() or "";
			if stanza.name == "repl-result" then
				resolve({ stanza.attr.type ~= "error", (text:gsub("^%u%l+: ", "", 1)) });
			elseif stanza.name == "repl-output" then
				print(text);
			end
			return true;
		end, 1);
		client.events.add_handler("disconnected", function ()
			resolve({ nil, "the server has closed the connection before it had an answer; partners:list() in its shell says what is in force" });
		end);
		timer.add_task(SECONDS_MAX, function () resolve({ nil, ("no answer within %d s"):format(SECONDS_MAX) }); end);
		local path = socket_path();
		local ok, err = adminstream.connection(path, client.listeners):connect();
		if not ok then
			resolve({ nil, ("the server cannot be asked at %s (%s): it has to be running, with \"admin_shell\" in modules_enabled, and this command "
				.."has to be run by Prosody's own user or by root"):format(path, tostring(err)) });
		end
	end));
	return answer[1], answer[2];
end

local function new_running(shared)
	local complain, wrong_usage, parse = shared.complain, shared.wrong_usage, shared.parse;
	local OK, FAILED = shared.OK, shared.FAILED;
	local commands = {};

	local function say(ok, text)
		-- The shell of a server without the module knows no such command.
		if ok == false and text:find("nil value", 1, true) then
			text = "the running server has not loaded mod_s2s_partners, or an older version of it; nothing has been applied";
		end
		if ok then print(text); else complain("Error: "..text); end
		return ok and OK or FAILED;
	end

	function commands.commit(arg)
		local words, options = parse(arg, { ["--yes"] = true });
		if not words then return wrong_usage("unknown option "..layout.plain(options, 80)); end
		if #words > 0 then return wrong_usage("commit takes no "..layout.plain(words[1], 80)); end
		if options["--yes"] then return say(ask("partners:commit()")); end
		local ok, text = ask("partners:commit(\"preview\")");
		local token = ok and text:match("partners:commit%(\"(%x+)\"%)");
		if not token then return say(ok or nil, text); end
		io.write("Apply this? [y/N] ");
		io.flush();
		local reply = io.read("l");
		if not reply or not reply:lower():match("^%s*ye?s?%s*$") then
			if not reply then print(""); end
			complain("Error: not confirmed; nothing has been applied");
			return FAILED;
		end
		return say(ask(("partners:commit(\"%s\")"):format(token)));
	end

	return commands;
end

return new_running;
