-- Reads the rosters of an export by XEP-0227, as ejabberd's and Prosody's are, file by file and user by user: nothing is kept of one but the
-- roster of the user that is being read. It comes from elsewhere: bounded in size, depth and number, without document types, and what it includes
-- has to be in its own folder.

local lfs = require "lfs";
local lxp = require "lxp";
local jid = require "util.jid";
local nodeprep = require "util.encodings".stringprep.nodeprep;

local layout = module:require "layout";

local CHUNK = 65536;
local BYTES_MAX = 1024 * 1024 * 1024; -- of all files
local TAG_MAX = 8 * 1024 * 1024; -- bytes that the parser may hold back
local DEPTH_MAX = 100;
local FILES_MAX = 200000; -- a file for all hosts, one a host, one a user
local USERS_MAX = 1000000;
local ITEMS_MAX = 10000; -- of one user; the rest is counted

local PIE, OLD_PIE = "urn:xmpp:pie:0", "http://www.xmpp.org/extensions/xep-0227.html#ns";
local ROSTER, INCLUDE = "jabber:iq:roster", "http://www.w3.org/2001/XInclude";

-- What may be in what. Everything else is passed over with all that is in it. What a file includes may begin with what could stand there, so that
-- files include others twice at most: those of hosts, and those of users.
local levels = {
	[""] = { ["server-data"] = "server"; host = "host"; user = "user" };
	server = { host = "host" };
	host = { user = "user" };
};

local portable = { ITEMS_MAX = ITEMS_MAX };

-- The path of what is included: below the folder of the file that includes it, by no link. Nil and why not.
local function included(folder, href)
	if href:find("^/") or href:find("[%c\\%%?#]") or href:find("^%a[%w+.-]*:") then return nil, "is no plain file name"; end
	local path = folder;
	for part in href:gmatch("[^/]+") do
		if part == ".." or part == "." then return nil, "leads out of the folder of the export"; end
		path = path.."/"..part;
		local mode = lfs.symlinkattributes(path, "mode");
		if mode == "link" then return nil, "is a link"; end
		if not mode then return nil, "cannot be read"; end
	end
	if lfs.attributes(path, "mode") ~= "file" then return nil, "is no file"; end
	return path;
end

--[[
Reads a file, and all that it includes. `visit(host, user, items, more)` is called once for each user that it has, prepared: items is a list of
{ jid, subscription, ask } as they are written, `more` how many there were beyond. Nil, the file and what is wrong with it as soon as something is;
what has been visited by then is not taken back, so that a caller that writes reads all of it before.
`total`: {} at the first file, and the same table for further ones.
]]
function portable.read(path, visit, total, context)
	total.files, total.bytes, total.users = total.files or 0, total.bytes or 0, total.users or 0;
	context = context or { level = "" };
	total.files = total.files + 1;
	if total.files > FILES_MAX then return nil, path, "is one file too many"; end
	local mode = lfs.attributes(path, "mode");
	if mode == "directory" then return nil, path, "is a directory; name the files in it"; end
	-- What is imported is read twice.
	if mode and mode ~= "file" then return nil, path, "is no file but a pipe or a device; write what it gives into one"; end
	local file, err = io.open(path, "rb");
	if not file then return nil, path, (tostring(err):gsub("^.*: ", "")); end

	local problem_file, problem;
	local parser;
	local function stop(why, of)
		problem_file, problem = problem_file or of or path, problem or why;
		if parser.stop then parser:stop(); end
	end

	-- `level`: of the innermost element that counts; `below`: how deep the parser is in others.
	local level, below, depth = context.level, 0, 0;
	local outer = {}; -- the levels around that one
	local host, user, items, more = context.host, nil, nil, 0;

	local function enter(name)
		outer[#outer + 1] = level;
		level = name;
	end

	local function include(attributes)
		local href = attributes.href;
		if (attributes.parse or "xml") ~= "xml" or attributes.xpointer then return stop("includes something by other means than a file of XML"); end
		if not href or href == "" then return stop("includes nothing that has a name"); end
		local inner, why = included(path:match("^(.*)/[^/]*$") or ".", href);
		if not inner then return stop(("includes %s, which %s"):format(layout.plain(("%q"):format(href), 100), why)); end
		local ok, bad_file, bad = portable.read(inner, visit, total, { level = level; host = host });
		if not ok then stop(bad, bad_file); end
	end

	local function start(_, full, attributes)
		if problem then return; end
		depth = depth + 1;
		if depth > DEPTH_MAX then return stop("is nested too deeply"); end
		if below > 0 then below = below + 1; return; end
		local namespace, name = full:match("^(.-)\1?([^\1]*)$");
		-- As the outermost element it could include itself, without end.
		if namespace == INCLUDE and depth > 1 then
			if level == "user" then return stop("includes parts of a user, which is not supported: export each user whole"); end
			if name == "include" and level ~= "" then include(attributes); end
			below = 1;
			return;
		end
		local inner = (namespace == PIE or namespace == OLD_PIE) and levels[level] and levels[level][name];
		if depth == 1 and not inner then
			return stop("is no export by XEP-0227: it begins with "..layout.plain(name, 60));
		elseif inner == "host" then
			host = jid.prep(attributes.jid or "");
			if not host or jid.node(host) or jid.resource(host) then return stop("has a host without a domain"); end
			enter(inner);
		elseif inner == "user" then
			if not host then return stop("has a user without a host around it"); end
			user = nodeprep(attributes.name or "");
			if not user or user == "" then
				return stop(("has a user whose name, %s, is none"):format(layout.plain(("%q"):format(tostring(attributes.name)), 80)));
			end
			total.users = total.users + 1;
			if total.users > USERS_MAX then return stop(("has more than %d users"):format(USERS_MAX)); end
			items, more = {}, 0;
			enter(inner);
		elseif inner then
			enter(inner);
		elseif level == "user" and namespace == ROSTER and name == "query" then
			enter("roster");
		else
			if level == "roster" and namespace == ROSTER and name == "item" then
				if #items < ITEMS_MAX then
					items[#items + 1] = { jid = attributes.jid; subscription = attributes.subscription; ask = attributes.ask };
				else
					more = more + 1;
				end
			end
			below = 1;
		end
	end

	local function finish()
		if problem then return; end
		depth = depth - 1;
		if below > 0 then below = below - 1; return; end
		if level == "user" then
			visit(host, user, items, more);
			user, items = nil, nil;
		elseif level == "host" then
			host = nil;
		end
		level = table.remove(outer);
	end

	parser = lxp.new({ StartElement = start; EndElement = finish;
		-- Entities are declared there, which can be made to grow without end, or to read other files.
		StartDoctypeDecl = function () stop("has a document type; an export has none"); end }, "\1");
	local fed, ok, why, line = 0, true, nil, nil;
	while ok and not problem do
		local chunk, unread = file:read(CHUNK);
		if unread then
			stop("cannot be read: "..tostring(unread));
			break;
		end
		total.bytes = total.bytes + #(chunk or "");
		if total.bytes > BYTES_MAX then
			stop(("makes it more than %d MiB in all"):format(BYTES_MAX // 1048576));
			break;
		end
		ok, why, line = parser:parse(chunk);
		fed = fed + #(chunk or "");
		if not chunk then break; end
		local _, _, at = parser:pos();
		if ok and not problem and fed - at > TAG_MAX then stop("has a single tag of megabytes"); end
	end
	file:close();
	if not problem and ok then pcall(parser.close, parser); end
	if problem then return nil, problem_file, problem; end
	if not ok then return nil, path, ("is not well-formed XML (line %s: %s)"):format(tostring(line), layout.plain(tostring(why), 100)); end
	return true;
end

return portable;
