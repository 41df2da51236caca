-- What must hold for any file that is given to `contacts`: nothing is opened but below its folder, what is wrong is one line, every user is prepared,
-- and what it has of a file without includes is what Prosody's own reader of XML finds there.

package.path = "spec/prosody/?.lua;"..package.path;
require "prosody_library";
local xml = require "util.xml";
local jid = require "util.jid";
local nodeprep = require "util.encodings".stringprep.nodeprep;

local FOLDER = "/export";
local PIE, OLD_PIE = "urn:xmpp:pie:0", "http://www.xmpp.org/extensions/xep-0227.html#ns";

local files, opened = {}, 0;

local function open(path)
	assert(path:sub(1, #FOLDER + 1) == FOLDER.."/" and not path:find("/..", 1, true), "opened "..path);
	assert(path ~= FOLDER.."/link", "opened a link");
	opened = opened + 1;
	local rest = files[path];
	if not rest then return nil, path..": No such file or directory"; end
	return {
		read = function (_, most)
			-- In two pieces, wherever that cuts.
			local text = rest:sub(1, math.min(most, math.max(1, #rest // 2)));
			rest = rest:sub(#text + 1);
			return text ~= "" and text or nil;
		end;
		close = function () return true; end;
	};
end

-- There are things outside that could be opened.
local function attributes(path, what)
	assert(what == "mode");
	if path:find("/%.%.?$") or path == FOLDER.."/sub" then return "directory"; end
	return (files[path] or path == FOLDER.."/link" or path:find("/secret$")) and "file" or nil;
end

local function symlink_attributes(path, what)
	return path == FOLDER.."/link" and "link" or attributes(path, what);
end

local world = setmetatable({
	io = { open = open };
	require = function (name)
		if name == "lfs" then return { attributes = attributes; symlinkattributes = symlink_attributes }; end
		return require(name);
	end;
	utf8 = utf8;
}, { __index = _G });

local function library(name)
	local env = setmetatable({ module = { require = function (_, other) return library(other); end } }, { __index = world });
	return assert(loadfile("lua/"..name..".lib.lua", "t", env))();
end

local portable = library "import/portable";

local function is_pie(element, name)
	return element.name == name and (element.attr.xmlns == PIE or element.attr.xmlns == OLD_PIE);
end

-- The rosters as a tree has them: { { host, user, { { jid, subscription, ask }... } }... }
local function from_tree(root)
	local users = {};
	local function add_users(host)
		for _, user in ipairs(host.tags) do
			if is_pie(user, "user") then
				local items = {};
				for _, roster in ipairs(user.tags) do
					if roster.name == "query" and roster.attr.xmlns == "jabber:iq:roster" then
						for _, item in ipairs(roster.tags) do
							if item.name == "item" and item.attr.xmlns == "jabber:iq:roster" then
								items[#items + 1] = { jid = item.attr.jid; subscription = item.attr.subscription; ask = item.attr.ask };
							end
						end
					end
				end
				users[#users + 1] = { jid.prep(host.attr.jid), nodeprep(user.attr.name), items };
			end
		end
	end
	if is_pie(root, "host") then
		add_users(root);
	else
		for _, host in ipairs(root.tags) do
			if is_pie(host, "host") then add_users(host); end
		end
	end
	return users;
end

return function (text)
	files = { [FOLDER.."/main.xml"] = text; [FOLDER.."/host.xml"] = "<host xmlns='"..PIE.."' jid='contoso.test'><user name='carol'/></host>";
		[FOLDER.."/sub/user.xml"] = "<user xmlns='"..PIE.."' name='dora'/>" };
	opened = 0;
	local users, total = {}, {};
	local ok, file, problem = portable.read(FOLDER.."/main.xml", function (host, user, items, more)
		assert(host == jid.prep(host) and not host:find("[@/]"), "not a host");
		assert(user == nodeprep(user) and user ~= "", "not a user");
		assert(#items <= portable.ITEMS_MAX and (more == 0 or #items == portable.ITEMS_MAX), "too many items");
		users[#users + 1] = { host, user, items };
	end, total);
	assert(total.users >= #users and total.files == opened, "counted wrongly");
	if not ok then
		assert(type(file) == "string" and type(problem) == "string" and problem ~= "" and not problem:find("%c") and #problem < 500, "no one line of text");
		return;
	end
	if opened > 1 then return; end
	local tree = xml.parse(text, { allow_comments = true; allow_processing_instructions = true });
	assert(tree, "Prosody's reader refuses it");
	local expected = from_tree(tree);
	assert(#expected == #users, "not the same users");
	for i, one in ipairs(expected) do
		local other = users[i];
		assert(one[1] == other[1] and one[2] == other[2] and (#one[3] == #other[3] or #other[3] == portable.ITEMS_MAX), "not the same user");
		for k, item in ipairs(other[3]) do
			for _, key in ipairs({ "jid"; "subscription"; "ask" }) do assert(item[key] == one[3][k][key], "not the same item"); end
		end
	end
end
