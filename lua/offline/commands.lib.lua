-- prosodyctl mod_s2s_partners COMMAND: what can be said without a running server. Exit status: 0 and 1 as each command says, 2 for
-- wrong usage and unreadable files.

local lfs = require "lfs";

local layout = module:require "layout";
local explain = module:require "explain";
local readiness = module:require "readiness";

local configmanager = require "core.configmanager";

local USAGE = [[
Usage: prosodyctl mod_s2s_partners COMMAND

  check [--strict]              errors and warnings of the configuration, and our
                                own certificates; exit status 1 when there are
                                errors (--strict: or warnings)
  list [HOST]                   the partners
  matrix                        the 18 combinations of tls, sasl and dialback
  explain FROM TO [KIND] [--listed]
                                why a stanza or stream is allowed (exit status 0)
                                or refused (1); there are no rosters here:
                                --listed says that the contact is in the roster
  import FILE...                what other servers had, as configuration for Prosody:
                                exports of Lync and Skype for Business (partners,
                                gateway, policies, users), s2s_whitelist of Prosody,
                                s2s_access of ejabberd, ofRemoteServerConf of
                                Openfire as CSV; each known by its content; exit
                                status 1 when something is impossible, 2 when a file
                                is none of these
  add DOMAIN --type TYPE [--KEY VALUE...] [--dry-run]
                                writes the entry of a partner into a file of its own,
                                DOMAIN.cfg.lua in the folder of the first pattern of
                                s2s_partners_files
  set DOMAIN --KEY VALUE... [--dry-run] [--force]
                                changes an entry written by add; an empty VALUE takes
                                the key out
  remove DOMAIN [--dry-run] [--force]
                                removes one
                                exit status of the three: 1 when the configuration
                                would not be accepted: then nothing is saved
  probe DOMAIN [--local HOST]   what the other server offers, seen from HOST (our
                                first host when left out), and the entry that fits;
                                exit status 1 when no combination fits
  suggest [HOST]                a list of partners as the stored rosters make it;
                                exit status 1 when one of them cannot be read
  pin FILE                      the values for pinned_keys of the certificates in a
                                file (PEM or DER)
  version                       of the module

KEY is a key of a partner, with dashes: --tls required --additional-domains a,b

KIND is one of ]]..explain.kinds:gsub(", iq%-get", ",\n  iq-get")..[[ (message when left out).
]];

local OK, FAILED, USAGE_ERROR = 0, 1, 2;

local function complain(text)
	io.stderr:write(text, "\n");
end

local function wrong_usage(problem)
	complain("Error: "..problem);
	complain("");
	io.stderr:write(USAGE);
	return USAGE_ERROR;
end

-- Options out of `arg`: positional words, set of options; nil and the one that is not known.
local function parse(arg, known)
	local words, options, only_words = {}, {}, false;
	for _, word in ipairs(arg) do
		if word == "--" and not only_words then
			only_words = true;
		elseif word:sub(1, 2) == "--" and not only_words then
			if not known[word] then return nil, word; end
			options[word] = true;
		else
			words[#words + 1] = word;
		end
	end
	return words, options;
end

-- As `parse`, of a command that changes an entry: the domain, what is switched on, and { key, text }... of the rest. A flag's value is the next
-- word, or stands behind "=".
local function parse_entry(arg, known)
	local domain, switches, flags = nil, {}, {};
	local position = 1;
	while position <= #arg do
		local word = arg[position];
		position = position + 1;
		local name, value = word:match("^%-%-([^=]+)=?(.*)$");
		if not name then
			if domain then return nil, ("one domain at a time, and not %q as well"):format(layout.plain(word, 80)); end
			domain = word;
		elseif known[word] then
			switches[word] = true;
		elseif known.keys then
			if not word:find("=", 1, true) then
				value = arg[position];
				position = position + 1;
				if not value then return nil, ("--%s has no value"):format(layout.plain(name, 60)); end
			end
			flags[#flags + 1] = { key = name:gsub("-", "_"); text = value };
		else
			return nil, "unknown option "..layout.plain(word, 80);
		end
	end
	if not domain then return nil, "a domain is missing"; end
	return domain, switches, flags;
end

local function new_offline(native)
	-- prosodyctl fills in a host "*" that is none.
	prosody.hosts["*"] = nil;

	local function compile()
		local options = module:require "options";
		local trust = module:require "trust" (native);
		local commit = module:require "commit" (native, options, trust);
		return commit.compile_all(), commit.state;
	end

	local function sorted_hosts()
		local hosts = {};
		for host in pairs(prosody.hosts) do hosts[#hosts + 1] = host; end
		table.sort(hosts);
		return hosts;
	end

	local function print_issues(state, write)
		local errors, warnings = 0, 0;
		for _, issue in ipairs(state.issues) do
			if issue.severity == "error" then errors = errors + 1; else warnings = warnings + 1; end
			layout.print(write, issue.severity == "error" and "error: " or "warning: ", issue.message);
		end
		return errors, warnings;
	end

	-- The policies, or nil after having said on standard error why there are none.
	local function need_policies()
		local result, state = compile();
		if result then return result.policies; end
		local errors = print_issues(state, complain);
		complain(("The configuration has %s; with it, every stream with another server is refused."):format(layout.count(errors, "error")));
		return nil;
	end

	local commands = {};

	function commands.check(arg)
		local words, options = parse(arg, { ["--strict"] = true });
		if not words then return wrong_usage("unknown option "..options); end
		if #words > 0 then return wrong_usage("check takes no "..words[1]); end
		local _, state = compile();
		local errors, warnings = print_issues(state, print);
		for _, host in ipairs(sorted_hosts()) do
			for _, found in ipairs(readiness.certificate(native, host)) do
				if found.grade == "warning" then
					warnings = warnings + 1;
					layout.print(print, "warning: ", ("%s: %s"):format(host, found.text));
				end
			end
		end
		print(("%s, %s, %s"):format(layout.count(state.partner_count, "partner"), layout.count(errors, "error"),
			layout.count(warnings, "warning")));
		return (errors > 0 or options["--strict"] and warnings > 0) and FAILED or OK;
	end

	local columns = {
		{ title = "Partner"; min = 20 }; { title = "Type"; min = 17 }; { title = "tls/sasl/dialback"; min = 17 };
		{ title = "Methods"; min = 13 };
	};

	function commands.list(arg)
		local words, options = parse(arg, {});
		if not words then return wrong_usage("unknown option "..options); end
		if #words > 1 then return wrong_usage("list takes one host"); end
		local only = words[1];
		if only and not prosody.hosts[only] then
			return wrong_usage(("%s is not a host of this server"):format(layout.plain(only, 80)));
		end
		local policies = need_policies();
		if not policies then return FAILED; end
		local seen = {};
		for _, host in ipairs(sorted_hosts()) do
			local policy = policies[host];
			if policy and (not only or host == only) then
				if not seen[policy] then
					local others = {};
					for _, other in ipairs(sorted_hosts()) do
						if policies[other] == policy and (not only or other == only) then others[#others + 1] = other; end
					end
					seen[policy] = true;
					layout.print(print, "Partners of ", table.concat(others, ", "));
					print("");
					local rows, notes = {}, {};
					for i, partner in ipairs(policy:partners()) do
						rows[i] = { partner.name; partner.partner_type; layout.negotiation(partner); layout.methods(partner.methods) };
						notes[i] = #partner.additional_domains > 0 and { { "  also "; table.concat(partner.additional_domains, ", ") } } or {};
					end
					if #rows > 0 then layout.table(print, columns, rows, notes); end
					print("Domains not listed: "..policy:unlisted());
					print("");
				end
			end
		end
		return OK;
	end

	function commands.matrix(arg)
		if #arg > 0 then return wrong_usage("matrix takes no "..arg[1]); end
		local rows = {};
		for i, row in ipairs(native.negotiation_rows()) do
			rows[i] = { row.tls; row.sasl; row.dialback and "true" or "false"; layout.methods(row.methods);
				row.verdict..(row.text ~= "" and ": "..row.text or "") };
		end
		layout.table(print, { { title = "tls"; min = 13 }; { title = "sasl"; min = 13 }; { title = "dialback" };
			{ title = "Methods"; min = 13 }; { title = "At commit"; min = 20 } }, rows);
		return OK;
	end

	function commands.explain(arg)
		local words, options = parse(arg, { ["--listed"] = true });
		if not words then return wrong_usage("unknown option "..options); end
		if #words < 2 or #words > 3 then return wrong_usage("explain takes FROM, TO and perhaps a KIND"); end
		local result, state = compile();
		if not result then print_issues(state, complain); end
		local run = explain.new({
			native = native;
			is_local = function (host) return prosody.hosts[host]; end;
			policy = function (host) return result and result.policies[host]; end;
			has_accounts = function (host) return not configmanager.rawget(host, "component_module"); end;
			-- Nobody is asked here: the user exists, has not blocked or cancelled anybody, and the roster is as --listed says.
			fact = function (need, question)
				return need == "access" and (question.policy:external_access(question.own.user or "") and "allowed" or "denied")
					or need == "account" and "exists"
					or need == "listed" and (options["--listed"] and "yes" or "no")
					or need == "standing" and "none"
					or need == "contacts" and "few"
					or need == "waiting" and "room"
					or "no";
			end;
		});
		local verdict, problem = run(print, words[1], words[2], words[3]);
		if not verdict then return wrong_usage(problem); end
		return verdict == "allow" and OK or FAILED;
	end

	-- prosodyctl may have gone to the data folder; what is named was named from where it was called.
	local function resolve(path)
		if path:sub(1, 1) == "/" or lfs.attributes(path, "mode") then return path; end
		local from = os.getenv("PWD");
		return from and from.."/"..path or path;
	end

	function commands.import(arg)
		local words, options = parse(arg, {});
		if not words then return wrong_usage("unknown option "..options); end
		if #words == 0 then return wrong_usage("import takes one or more files"); end
		local sources = module:require "import/sources";
		local files = {};
		for i, path in ipairs(words) do
			local text, problem = sources.read_file(resolve(path));
			if not text then
				complain(("Error: %s: %s"):format(layout.plain(path, 200), problem));
				return USAGE_ERROR;
			end
			files[i] = { name = path; text = text };
		end
		local config, impossible, problem = sources.convert(native, files);
		if not config then
			complain(("Error: %s: %s; nothing has been imported"):format(layout.plain(impossible, 200), problem));
			return USAGE_ERROR;
		end
		io.stdout:write(config);
		return impossible > 0 and FAILED or OK;
	end

	local change_options = { ["--dry-run"] = true; ["--force"] = true; keys = true };

	-- What a change of an entry begins with: the domain, switches, values, and where its file is; or an exit status.
	local function begin_change(arg, known)
		local entries = module:require "offline/entries";
		local domain, switches, flags = parse_entry(arg, known);
		if not domain then return nil, wrong_usage(switches); end
		local name, fault = native.canonical_domain(domain);
		if not name then return nil, wrong_usage(("%q %s"):format(layout.plain(domain, 80), fault)); end
		local values, unset = entries.read_flags(flags);
		if not values then return nil, wrong_usage(unset); end
		local place, problem = entries.place(name);
		if not place then
			complain("Error: "..problem.."; nothing has been saved");
			return nil, FAILED;
		end
		return { entries = entries; domain = name; switches = switches; values = values; unset = unset; place = place; count = #flags };
	end

	local function refuse(change, problem)
		complain(("Error: %s: %s; nothing has been saved"):format(change.place.name, problem));
		return FAILED;
	end

	-- Checks the configuration with this text in place of the file (nil: without the file), says what is wrong, and saves.
	local function finish_change(change, text, entry)
		local result, state = change.entries.check(native, change.place, text);
		local errors = print_issues({ issues = state.issues }, result and print or complain);
		if not result then
			return refuse(change, ("the configuration would have %s"):format(layout.count(errors, "error")));
		end
		-- What has been checked is what would be saved: the entry is found, in this file.
		local partner;
		for _, policy in pairs(result.policies) do
			local found = policy:find(change.domain);
			if found and found.place:sub(1, #change.place.name) == change.place.name then partner = found; end
		end
		if (partner ~= nil) ~= (text ~= nil) then
			return refuse(change, "no host would use it: each that has the list has its own s2s_partners_files, or the file is none of the patterns'");
		end
		if change.switches["--dry-run"] then
			print(("%s would be %s:"):format(change.place.path, text and "written" or "removed"));
			if text then io.stdout:write(text); end
			return OK;
		end
		local ok, problem;
		if text then
			ok, problem = change.entries.save(native, change.place, text);
		else
			ok, problem = change.entries.delete(native, change.place);
		end
		if not ok then
			return refuse(change, ("%s; it has to be possible to write into %s (prosodyctl runs as Prosody's own user; prosodyctl --root does not)")
				:format(problem, change.place.folder));
		end
		if text then
			layout.print(print, "", ("Saved %s: %s, %s, %s: %s."):format(change.place.path, entry.domain, partner.partner_type, layout.negotiation(partner),
				layout.methods(partner.methods)));
		else
			layout.print(print, "", ("Removed %s."):format(change.place.path));
		end
		layout.print(print, "", "A running server applies it with prosodyctl reload.");
		return OK;
	end

	function commands.add(arg)
		local change, status = begin_change(arg, { ["--dry-run"] = true; keys = true });
		if not change then return status; end
		if not change.values.partner_type then
			return wrong_usage("add needs --type federated, public_verified or public_unverified");
		end
		if lfs.symlinkattributes(change.place.path, "mode") then
			return refuse(change, "is there already; change it with set");
		end
		local entry = change.values;
		entry.domain = change.domain;
		return finish_change(change, change.entries.write(entry), entry);
	end

	function commands.set(arg)
		local change, status = begin_change(arg, change_options);
		if not change then return status; end
		if change.count == 0 then return wrong_usage("set needs at least one --KEY VALUE"); end
		local text, problem = change.entries.open(change.place, change.switches["--force"]);
		if not text then return refuse(change, problem); end
		local entry;
		entry, problem = change.entries.read(text);
		if not entry then return refuse(change, problem); end
		if native.canonical_domain(entry.domain) ~= change.domain then return refuse(change, "is not about "..change.domain); end
		for key, value in pairs(change.values) do entry[key] = value; end
		for key in pairs(change.unset) do entry[key] = nil; end
		return finish_change(change, change.entries.write(entry), entry);
	end

	function commands.remove(arg)
		local change, status = begin_change(arg, { ["--dry-run"] = true; ["--force"] = true });
		if not change then return status; end
		local text, problem = change.entries.open(change.place, change.switches["--force"]);
		if not text then return refuse(change, problem); end
		return finish_change(change, nil);
	end

	-- The first of our hosts that is no component.
	local function first_host()
		for _, host in ipairs(sorted_hosts()) do
			if not configmanager.rawget(host, "component_module") then return host; end
		end
		return sorted_hosts()[1];
	end

	function commands.probe(arg)
		local words, host = {}, nil;
		local position = 1;
		while position <= #arg do
			local word = arg[position];
			position = position + 1;
			if word == "--local" then
				host = arg[position];
				position = position + 1;
				if not host then return wrong_usage("--local has no value"); end
			elseif word:match("^%-%-local=") then
				host = word:sub(#"--local=" + 1);
			elseif word:sub(1, 2) == "--" then
				return wrong_usage("unknown option "..layout.plain(word, 80));
			else
				words[#words + 1] = word;
			end
		end
		if #words ~= 1 then return wrong_usage("probe takes one domain"); end
		local domain, fault = native.canonical_domain(words[1]);
		if not domain then return wrong_usage(("%q %s"):format(layout.plain(words[1], 80), fault)); end
		if host and not prosody.hosts[host] then
			return wrong_usage(("--local: %s is not a host of this server; they are %s"):format(layout.plain(host, 80),
				layout.plain(table.concat(sorted_hosts(), ", "), 400)));
		end
		host = host or first_host();
		if not host then return wrong_usage("this server has no host to probe from"); end
		if prosody.hosts[domain] then return wrong_usage(domain.." is a host of this server: there is nothing to probe"); end
		local result = compile();
		if not result then complain("The configuration has errors (see check), so what it may say of "..domain.." is not used."); end
		local entry = result and result.policies[host] and result.policies[host]:find(domain);
		if entry and entry.match == "default" then entry = nil; end
		local fits, problem = module:require "offline/probe".probe(native, print, domain, host, entry);
		if fits == nil then
			complain(("Error: the certificate and authorities of %s cannot be used: %s"):format(host, problem));
			return FAILED;
		end
		return fits and OK or FAILED;
	end

	function commands.suggest(arg)
		local words, options = parse(arg, {});
		if not words then return wrong_usage("unknown option "..options); end
		if #words > 1 then return wrong_usage("suggest takes one host"); end
		local only = words[1];
		if only and not prosody.hosts[only] then
			return wrong_usage(("%s is not a host of this server"):format(layout.plain(only, 80)));
		end
		local result = compile();
		local suggestion = module:require "suggestion".new({
			native = native;
			is_local = function (domain) return prosody.hosts[domain] ~= nil; end;
			listed = function (domain)
				for _, policy in pairs(result and result.policies or {}) do
					local partner = policy:find(domain);
					if partner and partner.match ~= "default" then return partner.place; end
				end
			end;
		});
		if not result then
			suggestion.add_problem("the configuration has errors (see check), so who is listed already is not known");
		end
		local rosters = module:require "rosters";
		for _, host in ipairs(sorted_hosts()) do
			if (not only or host == only) and not configmanager.rawget(host, "component_module") then
				rosters.prepare(host);
				local stored, problem = rosters.open(host);
				if not stored then
					complain(("Error: %s: %s"):format(host, problem));
					suggestion.add_problem(host..": "..problem);
				end
				for _, user in ipairs(stored and stored.names or {}) do
					local contacts, fault = stored.contacts(user);
					if contacts then
						suggestion.add_user(contacts, stored.rooms(user));
					else
						suggestion.add_problem(("the roster of %s@%s cannot be read: %s"):format(user, host, fault));
					end
				end
			end
		end
		suggestion.print(print);
		return suggestion.complete() and OK or FAILED;
	end

	function commands.pin(arg)
		local words, options = parse(arg, {});
		if not words then return wrong_usage("unknown option "..options); end
		if #words ~= 1 then return wrong_usage("pin takes one file"); end
		local pin = module:require "offline/pin";
		local text, problem = pin.read_file(resolve(words[1]));
		local found;
		if text then found, problem = pin.find(native, text); end
		if not found then
			complain(("Error: %s: %s"):format(layout.plain(words[1], 200), problem));
			return USAGE_ERROR;
		end
		for _, certificate in ipairs(found) do
			-- To be copied, and to be cut out by a script: first in its line, and in one piece.
			print(certificate.pin);
			layout.print(print, "  ", ("%s, issued by %s%s"):format(certificate.subject or "no subject", certificate.issuer or "nobody",
				certificate.not_after and ", expires "..layout.expiry(certificate.not_after) or ""));
		end
		return OK;
	end

	function commands.version(arg)
		if #arg > 0 then return wrong_usage("version takes no "..arg[1]); end
		print("mod_s2s_partners "..native.version);
		return OK;
	end

	return function (arg)
		local name = table.remove(arg, 1);
		if name == "--help" or name == "help" then
			io.stdout:write(USAGE);
			return OK;
		elseif not name then
			return wrong_usage("a command is missing");
		elseif not commands[name] then
			return wrong_usage(("%q is no command"):format(layout.plain(name, 40)));
		end
		return commands[name](arg);
	end;
end

return new_offline;
