-- Reads what the cmdlets of Lync Server and Skype for Business export, as Export-Clixml and ConvertTo-Json write it: objects as
-- tables of their properties. It comes from elsewhere: held within limits of size, depth and number, and nothing in it is followed
-- anywhere.

local layout = module:require "layout";
local read_file = module:require "bounded_file";

local FILE_SIZE_MAX = 8 * 1024 * 1024;
local DEPTH_MAX = 32;
local NODES_MAX = 500000;
local OBJECTS_MAX = 200000; -- users
local LIST_MAX = 1000;
local TEXT_MAX = 1000; -- of one value

local exports = { LIST_MAX = LIST_MAX; TEXT_MAX = TEXT_MAX };

-- A property that is a text or a number, as text without space around it; nil when it is something else or empty.
function exports.as_text(value)
	if type(value) == "string" then
		value = value:match("^%s*(.-)%s*$");
		return value ~= "" and value or nil;
	elseif type(value) == "number" then
		return tostring(value);
	end
end

-- Any property in one line of a message.
function exports.show(value)
	if type(value) == "table" then return "a list or object"; end
	return layout.plain(value ~= nil and tostring(value) or "", 60);
end

-- The number and the name in an object that stands for one value of an enumeration, each nil when there is none or more than one.
function exports.number_and_name(object)
	local number, name, numbers, names = nil, nil, 0, 0;
	for _, value in pairs(object) do
		if type(value) == "number" then
			number, numbers = value, numbers + 1;
		elseif type(value) == "string" then
			if value:match("^%s*%d+%s*$") then
				number, numbers = tonumber(value), numbers + 1;
			else
				name, names = value, names + 1;
			end
		end
	end
	return numbers == 1 and number or nil, names == 1 and name or nil;
end

function exports.read_file(path)
	return read_file(path, FILE_SIZE_MAX, ("is larger than %d MiB; no export is"):format(FILE_SIZE_MAX // 1048576));
end

--- Encodings

local function utf16_to_utf8(text, format)
	if #text % 2 ~= 0 then return nil, "is cut off within a UTF-16 character"; end
	local parts, count, position = {}, 0, 1;
	local unpack = string.unpack;
	while position < #text do
		local unit;
		unit, position = unpack(format, text, position);
		if unit >= 0xd800 and unit <= 0xdbff and position < #text then
			local low, after = unpack(format, text, position);
			if low < 0xdc00 or low > 0xdfff then return nil, "is damaged UTF-16"; end
			unit, position = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00), after;
		elseif unit >= 0xd800 and unit <= 0xdfff then
			return nil, "is damaged UTF-16";
		end
		count = count + 1;
		parts[count] = utf8.char(unit);
	end
	return table.concat(parts);
end

-- PowerShell writes UTF-16 with a byte order mark, UTF-8 with or without.
local function to_utf8(text)
	if text:sub(1, 3) == "\239\187\191" then
		text = text:sub(4);
	elseif text:sub(1, 2) == "\255\254" then
		return utf16_to_utf8(text:sub(3), "<I2");
	elseif text:sub(1, 2) == "\254\255" then
		return utf16_to_utf8(text:sub(3), ">I2");
	elseif text:match("^[<%[{%s]%z") then
		return utf16_to_utf8(text, "<I2");
	elseif text:match("^%z[<%[{%s]") then
		return utf16_to_utf8(text, ">I2");
	end
	if not utf8.len(text) then return nil, "is neither UTF-8 nor UTF-16"; end
	return text;
end

--- Export-Clixml: the elements of PowerShell's serialisation ([MS-PSRP] 2.2.5)

-- Strings hide what XML cannot hold: "_x000A_".
local function unhide(text)
	return (text:gsub("_x(%x%x%x%x)_", function (digits)
		local code = tonumber(digits, 16);
		return (code < 0xd800 or code > 0xdfff) and utf8.char(code) or "?";
	end));
end

local function parse_tree(text)
	local lxp = require "lxp";
	local root = { name = ""; children = {} };
	local stack, nodes = { root }, 0;
	local problem;
	local parser;
	local function stop(why)
		problem = problem or why;
		if parser.stop then parser:stop(); end
	end
	parser = lxp.new({
		StartElement = function (_, name, attributes)
			if problem then return; end
			nodes = nodes + 1;
			if #stack > DEPTH_MAX then return stop("is nested too deeply"); end
			if nodes > NODES_MAX then return stop("has too many elements"); end
			local element = { name = name:match("[^|]*$"); key = attributes.N; id = attributes.RefId; children = {}; text = "" };
			table.insert(stack[#stack].children, element);
			stack[#stack + 1] = element;
		end;
		EndElement = function () if not problem then stack[#stack] = nil; end end;
		CharacterData = function (_, data)
			local element = stack[#stack];
			if problem or #stack == 1 then return; end
			if #element.text <= TEXT_MAX * 8 then element.text = element.text..data; end
		end;
		-- Entities are declared there: nobody exports any, and they can be made to grow without end.
		StartDoctypeDecl = function () stop("has a document type; an export has none"); end;
	}, "|");
	local ok, err, line = parser:parse((text:gsub("^%s*<%?xml.-%?>", "", 1)));
	if ok and not problem then ok, err, line = parser:parse(); end
	if problem then return nil, problem; end
	if not ok then return nil, ("is not well-formed XML (line %s: %s)"):format(tostring(line), tostring(err)); end
	pcall(parser.close, parser);
	return root;
end

local scalar = { S = true; SS = true; ToString = true; URI = true; G = true; Version = true; C = true };
local number = { I32 = true; U32 = true; I64 = true; U64 = true; I16 = true; U16 = true; By = true; SB = true; Db = true };
local list = { LST = true; IE = true; STK = true; QUE = true };

local function child_of(element, wanted)
	for _, child in ipairs(element.children) do
		if wanted == child.name or type(wanted) == "table" and wanted[child.name] then return child; end
	end
end

-- The value of a property: text, number, boolean, list of values, or nil. A few references among lists can stand for more values
-- than there is memory: `budget.left` is how many may still be read of the whole file.
local function read_value(element, by_id, depth, budget)
	budget.left = budget.left - 1;
	if depth > DEPTH_MAX or budget.left < 0 then return nil; end
	if scalar[element.name] then
		return unhide(element.text);
	elseif number[element.name] then
		return tonumber(element.text);
	elseif element.name == "B" then
		return element.text == "true";
	elseif element.name == "Ref" then
		local target = by_id[element.id];
		return target and target ~= element and read_value(target, by_id, depth + 1, budget) or nil;
	elseif element.name == "Obj" then
		local items = child_of(element, list);
		if items then
			local values = {};
			for i = 1, math.min(#items.children, LIST_MAX + 1) do
				if budget.left < 0 then break; end
				values[#values + 1] = read_value(items.children[i], by_id, depth + 1, budget);
			end
			return values;
		end
		-- An enumeration has its name and its number; the name says it.
		local words = child_of(element, "ToString");
		if words and words.text ~= "" then return unhide(words.text); end
		-- Over a remote session the name may be only a property of it.
		for _, holder in ipairs(element.children) do
			for _, child in ipairs((holder.name == "Props" or holder.name == "MS") and holder.children or {}) do
				if child.key == "Value" and scalar[child.name] and child.text ~= "" then return unhide(child.text); end
			end
		end
		local value = child_of(element, number);
		return value and tonumber(value.text) or nil;
	end
	return nil;
end

local function read_clixml(text)
	local root, problem = parse_tree(text);
	if not root then return nil, problem; end
	if not root.children[1] or root.children[1].name ~= "Objs" then
		return nil, "is XML, but not what Export-Clixml writes (no <Objs>)";
	end
	local by_id, found, budget = {}, {}, { left = 2 * NODES_MAX };
	local function index(element)
		if element.id and element.name == "Obj" then by_id[element.id] = element; end
		for _, child in ipairs(element.children) do index(child); end
	end
	index(root);
	local function search(element)
		local properties, any = {}, false;
		for _, holder in ipairs(element.children) do
			if holder.name == "Props" or holder.name == "MS" then
				for _, child in ipairs(holder.children) do
					if child.key then
						properties[unhide(child.key)] = read_value(child, by_id, 0, budget);
						any = true;
					end
				end
			end
		end
		if any and element.name == "Obj" and not child_of(element, list) then
			found[#found + 1] = properties;
			return;
		end
		for _, child in ipairs(element.children) do search(child); end
	end
	search(root);
	if budget.left < 0 then return nil, "has too many values (by references to each other)"; end
	return found;
end

--- ConvertTo-Json

-- The decoder calls itself for each level.
local function json_depth(text)
	local depth, deepest, position = 0, 0, 1;
	while true do
		local at, _, mark = text:find('(["%[%]{}])', position);
		if not at then return deepest; end
		position = at + 1;
		if mark == '"' then
			repeat
				local stop, _, c = text:find('(["\\])', position);
				if not stop then return deepest; end
				position = stop + (c == "\\" and 2 or 1);
			until c == '"';
		elseif mark == "[" or mark == "{" then
			depth = depth + 1;
			if depth > deepest then deepest = depth; end
			if deepest > DEPTH_MAX then return deepest; end
		else
			depth = depth - 1;
		end
	end
end

local function read_json(text)
	if json_depth(text) > DEPTH_MAX then return nil, "is nested too deeply"; end
	local json = require "util.json";
	local ok, value, problem = pcall(json.decode, text);
	if not ok or value == nil then
		return nil, ("is not JSON (%s)"):format(layout.plain(ok and problem or value, 80));
	end
	if type(value) ~= "table" then return nil, "is JSON, but neither an object nor a list of them"; end
	-- Windows PowerShell wraps a list that came out of a variable.
	if type(value.value) == "table" and value.Count then value = value.value; end
	if next(value) ~= nil and #value == 0 then value = { value }; end
	local found = {};
	for _, item in ipairs(value) do
		if type(item) ~= "table" or #item > 0 then return nil, "is JSON, but not a list of objects"; end
		local properties = {};
		for key, content in pairs(item) do
			if type(content) == "table" and type(content.value) == "table" then content = content.value; end
			if content ~= json.null then properties[tostring(key)] = content; end
		end
		found[#found + 1] = properties;
	end
	return found;
end

-- Whether the text is of one of the two formats, in any encoding that PowerShell writes: the text as UTF-8 and its first mark, or nil
-- and what is wrong with it.
function exports.decode(text)
	local problem;
	text, problem = to_utf8(text);
	if not text then return nil, problem; end
	return text, text:match("^%s*(.)");
end

-- The objects of an export as tables of properties; nil and what is wrong with it.
function exports.parse(text)
	local first, found, problem;
	text, first = exports.decode(text);
	if not text then return nil, first; end
	if first == "<" then
		found, problem = read_clixml(text);
	elseif first == "[" or first == "{" then
		found, problem = read_json(text);
	else
		return nil, "is neither what Export-Clixml nor what ConvertTo-Json writes";
	end
	if not found then return nil, problem; end
	if #found > OBJECTS_MAX then return nil, ("has more than %d objects"):format(OBJECTS_MAX); end
	return found;
end

return exports;
