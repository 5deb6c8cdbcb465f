-- relay/chosen.lua: the relay that was chosen where the program was started, by -i SPEC or --lab. The program says here
-- how it is opened, so that scripts and tests need not know the command line.

local misuse = require "etherlua.core.misuse"

local M = {}

local open_chosen

-- For the program: this opens it.
---@param open fun(opts?: etherlua.relay_opts): etherlua.relay
function M.choose(open)
  open_chosen = open
end

-- The relay that the command line names, with -i SPEC or --lab.
---@param opts? etherlua.relay_opts as those of ether.open
---@return etherlua.relay
function M.open(opts)
  if not open_chosen then
    misuse.raise("no relay was chosen: start with etherlua run -i SPEC or --lab, or use ether.open")
  end
  return open_chosen(opts)
end

return M
