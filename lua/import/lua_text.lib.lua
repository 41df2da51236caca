-- Writes values as text of a configuration, which is Lua. What was read from elsewhere is written by these functions, or in one line of a comment.

local lua_text = {};

-- A text as Lua reads it back, in one line.
function lua_text.quote(text)
	return '"'..text:gsub('[%c"\\]', function (c)
		return c == '"' and '\\"' or c == "\\" and "\\\\" or ("\\%03d"):format(c:byte());
	end)..'"';
end

-- A list of texts.
function lua_text.list(texts)
	local quoted = {};
	for i, text in ipairs(texts) do quoted[i] = lua_text.quote(text); end
	return "{ "..table.concat(quoted, ", ").." }";
end

return lua_text;
