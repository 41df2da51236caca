-- Text for people: tables that line up, and lines that fit. Plain text, no colour. The shell cannot tell whether what it is given ends on
-- a terminal or in a pipe; prosodyctl can, and what is read by another program is not wrapped.

local utf8_length = utf8.len;

local layout = {};

-- 80 columns, less the "| " that the shell puts in front.
layout.WIDTH = 78;

if prosody and prosody.process_type == "prosodyctl" and not require "util.pposix".isatty(io.stdout) then
	layout.WIDTH = math.huge;
end

local function length(text)
	return utf8_length(text) or #text;
end

-- The first `width` characters of a word, ended behind a mark that may end a line if there is one, and the rest.
local function cut(word, width)
	local stop = #word;
	if utf8_length(word) then
		stop = utf8.offset(word, width + 1) - 1;
	elseif stop > width then
		stop = width;
	end
	local head = word:sub(1, stop):match("^(.+[/.,@-])[^/.,@-]*$");
	if not head or #head * 3 < stop then head = word:sub(1, stop); end
	return head, word:sub(#head + 1);
end

-- Lines of at most `width` characters; words that are longer are cut.
function layout.wrap(text, width)
	local lines, line = {}, "";
	for word in tostring(text):gmatch("%S+") do
		if line ~= "" and length(line) + 1 + length(word) > width then
			lines[#lines + 1] = line;
			line = "";
		end
		while length(word) > width do
			local head;
			head, word = cut(word, width);
			lines[#lines + 1] = head;
		end
		line = line == "" and word or line.." "..word;
	end
	if line ~= "" or #lines == 0 then lines[#lines + 1] = line; end
	return lines;
end

-- Prints text behind `first`; what does not fit follows below, as far in as `first` is long.
function layout.print(print, first, text, width)
	local indent = (" "):rep(length(first));
	for i, line in ipairs(layout.wrap(text, math.max(20, (width or layout.WIDTH) - length(first)))) do
		print(((i == 1 and first or indent)..line):match("^(.-)%s*$"));
	end
end

-- The issues of a configuration, a paragraph each; how many errors and warnings they are.
function layout.issues(print, issues)
	local errors, warnings = 0, 0;
	for _, issue in ipairs(issues) do
		if issue.severity == "error" then errors = errors + 1; else warnings = warnings + 1; end
		layout.print(print, issue.severity == "error" and "error: " or "warning: ", issue.message);
	end
	return errors, warnings;
end

local GAP = "  ";

-- The widths of columns so that all of a line fits; the widest give way first, down to their `min`.
local function column_widths(columns, rows, total)
	local widths, sum = {}, -#GAP;
	for i, column in ipairs(columns) do
		widths[i] = length(column.title);
		for _, row in ipairs(rows) do
			widths[i] = math.max(widths[i], length(tostring(row[i] or "")));
		end
		sum = sum + widths[i] + #GAP;
	end
	while sum > total do
		local widest;
		for i, column in ipairs(columns) do
			if widths[i] > math.max(column.min or 8, length(column.title)) and (not widest or widths[i] > widths[widest]) then
				widest = i;
			end
		end
		if not widest then break; end
		widths[widest] = widths[widest] - 1;
		sum = sum - 1;
	end
	return widths;
end

local function pad(text, width, right)
	local space = (" "):rep(width - length(text));
	return right and space..text or text..space;
end

-- columns: { { title, min, right }... }; rows: lists of cells, and rows.notes[i] (a list of { first, text }) printed below row i.
function layout.table(print, columns, rows, notes)
	local widths = column_widths(columns, rows, layout.WIDTH);
	local function print_row(row)
		local cells, height = {}, 1;
		for i in ipairs(columns) do
			cells[i] = layout.wrap(row[i] or "", widths[i]);
			height = math.max(height, #cells[i]);
		end
		for number = 1, height do
			local parts = {};
			for i, column in ipairs(columns) do
				parts[i] = pad(cells[i][number] or "", widths[i], column.right);
			end
			print((table.concat(parts, GAP):match("^(.-)%s*$")));
		end
	end
	local titles, rules = {}, {};
	for i, column in ipairs(columns) do
		titles[i] = column.title;
		rules[i] = ("-"):rep(widths[i]);
	end
	print_row(titles);
	print(table.concat(rules, GAP));
	for i, row in ipairs(rows) do
		print_row(row);
		for _, note in ipairs(notes and notes[i] or {}) do
			layout.print(print, note[1], note[2]);
		end
	end
end

-- "1 partner", "2 partners"
function layout.count(number, noun, plural)
	return ("%d %s"):format(number, number == 1 and noun or plural or noun.."s");
end

-- Seconds as people time things: "0.4 ms", "83 ms", "2.31 s".
function layout.duration(seconds)
	if seconds < 0.01 then
		return ("%.1f ms"):format(seconds * 1000);
	elseif seconds < 1 then
		return ("%.0f ms"):format(seconds * 1000);
	end
	return ("%.2f s"):format(seconds);
end

function layout.date(time)
	return os.date("!%Y-%m-%d %H:%M UTC", time);
end

-- "2027-03-01 12:00 UTC, in 101 days"
function layout.expiry(time, now)
	local days = (time - (now or os.time())) / 86400;
	if days < 0 then
		return ("%s, %.0f days ago"):format(layout.date(time), -days);
	end
	return ("%s, in %.0f days"):format(layout.date(time), days);
end

-- Text from outside in one printable line.
function layout.plain(text, limit)
	text = tostring(text or ""):gsub("[%z\1-\31\127]+", " ");
	if not utf8_length(text) then
		text = text:gsub("[\128-\255]", "?");
	end
	if limit and length(text) > limit then
		text = utf8_length(text) and text:sub(1, utf8.offset(text, limit - 2) - 1).."..." or text;
	end
	return text;
end

local method_names = { sasl = "SASL"; tls_dialback = "TLS dialback"; tcp_dialback = "TCP dialback"; none = "none" };

function layout.method(token)
	return method_names[token] or tostring(token);
end

function layout.methods(tokens)
	local names = {};
	for i, token in ipairs(tokens) do names[i] = layout.method(token); end
	return #names > 0 and table.concat(names, ", ") or "none";
end

-- "required/required/no"
function layout.negotiation(partner)
	return ("%s/%s/%s"):format(partner.tls, partner.sasl, partner.dialback and "yes" or "no");
end

return layout;
