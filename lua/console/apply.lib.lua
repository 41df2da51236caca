-- partners:commit: what a reload does, with an answer: what changes, whether it was applied, and why not.

local layout = module:require "layout";
local difference = module:require "difference";
local disk = module:require "console/disk";

local async = require "util.async";
local promise = require "util.promise";
local timer = require "util.timer";
local sha256 = require "util.hashes".sha256;

local SECONDS_MAX = 300;
local TOKEN_LENGTH = 16;

local function new_commit(context)
	local guard, native, latch, reload = context.guard, context.native, context.latch, context.reload;

	-- The loop has other work between two steps of a long list.
	local function pause(seconds)
		local wait, go_on = async.waiter();
		timer.add_task(seconds or 0, go_on);
		wait();
		if context.in_force.stopped then error("mod_s2s_partners is being unloaded", 0); end
	end

	-- Names one state of the files on disk, so that what has been looked at and what is applied are the same.
	local function token_of(stamps)
		return sha256(stamps, true):sub(1, TOKEN_LENGTH);
	end

	-- How many there are. `only_errors`: the warnings have been shown before.
	local function print_errors(print, state, only_errors)
		local errors = 0;
		for _, issue in ipairs(state.issues) do
			local is_error = issue.severity == "error";
			if is_error then errors = errors + 1; end
			if is_error or not only_errors then layout.print(print, is_error and "error: " or "warning: ", issue.message); end
		end
		return errors;
	end

	local function refused(errors)
		return ("%s; nothing has been applied, %s"):format(layout.count(errors, "error"),
			context.in_force.running and "the configuration before stays in force"
				or guard.observing == true and "nothing is enforced, and every stream with another server would be refused"
				or "every stream with another server is refused");
	end

	local function apply(print, outcome, done)
		-- Core reads its files once more, and everybody who asks it for options hears of it.
		local ok, problem = prosody.reload_config();
		if not ok then return done(nil, ("nothing has been applied: %s"):format(tostring(problem))); end
		reload.when_done(function (applied, judged, why)
			if why then return done(nil, "nothing has been applied: "..why); end
			if not applied then return done(nil, refused(print_errors(print, context.commit.state, true))); end
			local closed = judged and guard.observing ~= true and #judged.found or 0;
			done(("applied: %s; %s closed"):format(difference.summary(outcome), layout.count(closed, "live stream")));
		end);
	end

	local function commit(print, wanted, done)
		local shown = wanted ~= nil and wanted ~= "preview";
		local result, state, config, stamps = disk.try(native, latch.observes, pause);
		local errors = print_errors(print, state, shown);
		if not result then return done(nil, refused(errors)); end
		local token = token_of(stamps);
		-- It may also have changed while it was read.
		if shown and wanted ~= token or disk.fingerprint(config) ~= stamps then
			return done(nil, "the configuration on disk is not the one that was shown; nothing has been applied. Look at it again: "
				.."partners:commit(\"preview\")");
		end
		local outcome = difference.compare(guard.policies, result.policies, pause);
		local will_observe = latch.observes(config);
		outcome.mode = difference.change_of_mode(guard.observing == true, will_observe);
		if not shown then
			if #state.issues > 0 then print(""); end
			print(wanted and "What a commit would change" or "What changes");
			difference.print(print, outcome, difference.closing(native, latch, result, will_observe));
			print("");
		end
		if wanted == "preview" then
			return done(("nothing has been applied; partners:commit(\"%s\") applies exactly this"):format(token));
		end
		apply(print, outcome, done);
	end

	local function handler(self, wanted)
		if wanted ~= nil and wanted ~= "preview" and not (type(wanted) == "string" and #wanted == TOKEN_LENGTH and wanted:match("^%x+$")) then
			return nil, ("%q is nothing that can be committed; partners:commit() shows and applies, partners:commit(\"preview\") only shows")
				:format(layout.plain(wanted, 40));
		end
		local print = self.session.print;
		return promise.new(function (resolve, reject)
			local over, time_out = false, nil;
			local function done(text, problem)
				if over then return; end
				over = true;
				timer.stop(time_out);
				if text then resolve(text); else reject(problem); end
			end
			time_out = timer.add_task(SECONDS_MAX, function ()
				done(nil, ("no outcome after %d s; partners:list() says what is in force"):format(SECONDS_MAX));
			end);
			async.runner(function () commit(print, wanted, done); end, { error = function (_, err)
				done(nil, "nothing has been applied: "..tostring(err));
			end }):run(true);
		end);
	end

	return { commit = { desc = "Applies the configuration on disk, says what changes and whether it was applied; \"preview\" applies nothing";
		args = { { name = "preview"; type = "string" } }; handler = handler } };
end

return new_commit;
