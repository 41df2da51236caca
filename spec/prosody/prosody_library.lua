-- Makes the installed Prosody's own util.* and net.* known to require, by the names that Prosody itself uses: in 13 a file says
-- "prosody.util.json" for util/json.lua, which a loader of its own makes true.

local folder = "/usr/lib/prosody/";

package.path = package.path..";"..folder.."?.lua";
package.cpath = package.cpath..";"..folder.."?.so";
if package.searchpath("loader", folder.."?.lua") then -- not in 0.12
	require "loader";
end
