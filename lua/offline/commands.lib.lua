-- prosodyctl mod_s2s_partners COMMAND: what can be said without a running server. Exit status: 0 and 1 as each command says, 2 for
-- wrong usage and unreadable files.

local lfs = require "lfs";

local layout = module:require "layout";
local explain = module:require "explain";
local host_certificate = module:require "host_certificate";
local readiness = module:require "readiness";
local service_lookup = module:require "service_lookup";
local search = module:require "partner_search";

local configmanager = require "core.configmanager";
local async = require "util.async";
local promise = require "util.promise";

local USAGE = [[
Usage: prosodyctl mod_s2s_partners COMMAND

  check [--strict] [--resolver ADDRESS]
                                errors and warnings of the configuration, and our
                                own certificates; exit status 1 when there are
                                errors (--strict: or warnings). --resolver: also how
                                partners find our domains, asked of that resolver
                                (ADDRESS or ADDRESS@PORT)
  list [HOST or WORD]           the partners: of one host, or those with the word in
                                domains, description or type
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
  commit [--yes]                has the running server apply the configuration: shows
                                what changes and which live streams it closes, asks
                                (not with --yes), and says whether it was applied;
                                exit status 1 when it was not
  probe DOMAIN [--local HOST]   what the other server offers, seen from HOST (our
                                first host when left out), and the entry that fits;
                                exit status 1 when no combination fits
  suggest [HOST]                a list of partners as the stored rosters make it;
                                exit status 1 when one of them cannot be read
  inside WORD [HOST]            what the server inside of our relay hosts (or of one)
                                needs for the list as it is. WORD: unbound or dnsmasq
                                (a view of DNS for it alone), prosody, ejabberd or
                                openfire (its options), san (a request for the inner
                                certificate); exit status 1 when the output cannot do
                                all that the list needs
  contacts FILE... [--dry-run]  the rosters that the server inside has exported
                                (XEP-0227) become contacts of the relay hosts; the
                                server must not run meanwhile; exit status 1 when
                                something of a partner's had to be left out, 2 when a
                                file cannot be read: then nothing is written
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

local function new_offline(native, observes)
	-- prosodyctl fills in "*", which is not a host.
	prosody.hosts["*"] = nil;

	local function compile()
		local options = module:require "options";
		local trust = module:require "trust" (native);
		local commit = module:require "commit" (native, options, trust, observes);
		return commit.compile_all(), commit.state, commit;
	end

	local function say_observing()
		if observes() then print("OBSERVING: nothing is enforced"); end
	end

	local function sorted_hosts()
		local hosts = {};
		for host in pairs(prosody.hosts) do hosts[#hosts + 1] = host; end
		table.sort(hosts);
		return hosts;
	end

	-- The policies, or nil after having said on standard error why there are none.
	local function need_policies()
		local result, state = compile();
		if result then return result.policies; end
		local errors = layout.issues(complain, state.issues);
		complain(("The configuration has %s; with it, every stream with another server %s refused."):format(layout.count(errors, "error"),
			observes() and "would be" or "is"));
		return nil;
	end

	local commands = {};

	-- How partners find our hosts: prints it and gives the number of warnings. What answers is the resolver of service_lookup.ask.
	local function check_outside(resolver)
		local ports, addresses, direct_ports = readiness.configured();
		local own, warnings = {}, 0;
		local unfinished = async.wait_for(promise.new(function (resolve)
			service_lookup.each(sorted_hosts(), function (host, done, is_over)
				service_lookup.find(host, function (targets, fault)
					if is_over() then return; end
					table.move(readiness.judge_own(host, targets, fault, ports, addresses, direct_ports), 1, 2, #own + 1, own);
					done();
				end);
			end, resolve);
		end));
		table.sort(own, function (a, b) return a.text < b.text; end);
		print("How partners find this server, asked of "..resolver);
		if unfinished > 0 then
			own[#own + 1] = { grade = "warning"; text = ("%s not looked up in time"):format(layout.count(unfinished, "domain")) };
		end
		for _, found in ipairs(own) do
			if found.grade == "warning" then warnings = warnings + 1; end
			layout.print(print, ("  %-8s "):format(found.grade), found.text);
		end
		return warnings;
	end

	-- Takes "--resolver ADDRESS" or "--resolver=ADDRESS" out of the words: the address, or nil and what is wrong.
	local function take_resolver(arg)
		local resolver;
		for i = #arg, 1, -1 do
			local value = arg[i]:match("^%-%-resolver=(.*)$");
			if value or arg[i] == "--resolver" then
				if resolver then return nil, "--resolver is given twice"; end
				resolver = value or arg[i + 1];
				if not resolver then return nil, "--resolver has no value"; end
				if not value then table.remove(arg, i + 1); end
				table.remove(arg, i);
			end
		end
		return resolver;
	end

	function commands.check(arg)
		local resolver, fault = take_resolver(arg);
		if fault then return wrong_usage(fault); end
		local words, options = parse(arg, { ["--strict"] = true });
		if not words then return wrong_usage("unknown option "..options); end
		if #words > 0 then return wrong_usage("check takes no "..words[1]); end
		if resolver then
			local good, problem = service_lookup.ask(resolver);
			if not good then return wrong_usage("--resolver: "..problem); end
		end
		say_observing();
		local _, state = compile();
		local errors, warnings = layout.issues(print, state.issues);
		for _, host in ipairs(sorted_hosts()) do
			for _, found in ipairs(host_certificate.judge(native, host)) do
				if found.grade == "warning" then warnings = warnings + 1; end
				if found.grade ~= "ok" then layout.print(print, found.grade..": ", ("%s: %s"):format(host, found.text)); end
			end
		end
		if resolver then
			warnings = warnings + check_outside(resolver);
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
		if #words > 1 then return wrong_usage("list takes one host or one word"); end
		local only, match = words[1], nil;
		if only and not prosody.hosts[only] then
			local good, problem = search.check(only);
			if not good then return wrong_usage(("%s %s"):format(layout.plain(only, 80), problem)); end
			only, match = nil, search.matcher(native, only, function () end);
		end
		say_observing();
		local policies = need_policies();
		if not policies then return FAILED; end
		local seen, total = {}, 0;
		for _, host in ipairs(sorted_hosts()) do
			local policy = policies[host];
			if policy and (not only or host == only) then
				if not seen[policy] then
					local others = {};
					for _, other in ipairs(sorted_hosts()) do
						if policies[other] == policy and (not only or other == only) then others[#others + 1] = other; end
					end
					seen[policy] = true;
					local rows, notes = {}, {};
					for _, partner in ipairs(policy:partners()) do
						if not match or match(partner) then
							rows[#rows + 1] = { partner.name; partner.partner_type; layout.negotiation(partner); layout.methods(partner.methods) };
							local below = search.description(partner);
							if #partner.additional_domains > 0 then
								below[#below + 1] = { "  also "; table.concat(partner.additional_domains, ", ") };
							end
							notes[#rows] = below;
						end
					end
					total = total + #rows;
					if not match or #rows > 0 then
						layout.print(print, "Partners of ", table.concat(others, ", "));
						print("");
						if #rows > 0 then layout.table(print, columns, rows, notes); end
						print("Domains not listed: "..policy:unlisted());
						print("");
					end
				end
			end
		end
		if match and total == 0 then
			complain("Error: "..search.nothing(words[1]));
			return USAGE_ERROR;
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
		if not result then layout.issues(complain, state.issues); end
		local run = explain.new({
			native = native;
			is_local = function (host) return prosody.hosts[host]; end;
			policy = function (host) return result and result.policies[host]; end;
			has_accounts = function (host) return not configmanager.rawget(host, "component_module"); end;
			-- Nobody is asked here: the user exists, has not blocked or cancelled anybody, and the roster is as --listed says.
			fact = function (need, question)
				return need == "access" and (question.policy:external_access(question.own.user or "", question.other.host) and "allowed" or "denied")
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

	local function write(...) io.stdout:write(...); end
	local shared = { native = native; write = write; observes = observes; wrong_usage = wrong_usage; complain = complain; parse = parse;
		compile = compile; sorted_hosts = sorted_hosts; resolve = resolve; OK = OK; FAILED = FAILED; USAGE_ERROR = USAGE_ERROR };
	for _, group in ipairs({ "offline/changes"; "offline/roster_import"; "offline/discovery"; "offline/inside"; "offline/running" }) do
		for name, command in pairs((module:require(group))(shared)) do commands[name] = command; end
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
