-- What a connection says of its TLS session: a table with protocol, cipher and the like, empty without one. Whether there is TLS at all is
-- decided in C (connection.c), which asks with every step; this is for people.

return function (conn)
	local info = conn and conn.ssl_info and conn:ssl_info();
	if not info and conn and conn.socket then -- COMPAT Prosody 0.12: the connection has no ssl_info
		local socket = conn:socket();
		info = socket and socket.info and socket:info();
	end
	return type(info) == "table" and info.protocol and info or {};
end;
