-- The text of a file that the administrator has named, up to so many bytes; nil and what is wrong with it, without its path. `too_large`: what
-- is said of a longer one.
return function (path, most, too_large)
	local file, err = io.open(path, "rb");
	if not file then return nil, (tostring(err):gsub("^.*: ", "")); end
	local text = file:read(most + 1);
	file:close();
	if not text then return nil, "is empty or cannot be read"; end
	if #text > most then return nil, too_large; end
	return text;
end;
