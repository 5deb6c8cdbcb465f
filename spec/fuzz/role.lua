-- role.lua: the target for all that speaks protocols as tasks: every role, hosts, RUDPConns that resolve, questions and
-- responders. An execution is an episode (spec/fuzz/episode.lua), which its seed decides altogether, in virtual time.
-- Roles are found by their files. An input is a line "SEED NAME".
--
-- The process that is started starts itself again, with the clock of spec/support/clock.c.

package.path = "lua/?.lua;lua/?/init.lua;spec/?.lua;" .. package.path

require "fuzz.lines" -- first
local clock = require "support.clock"

if not clock.make_virtual() then
  local folder = arg[2] and arg[1] or "build/fuzz"
  os.execute(("mkdir -p '%s'"):format(folder))
  os.exit(clock.execute(folder, ("luajit spec/fuzz/role.lua '%s'"):format(table.concat(arg, "' '"))) == 0 and 0 or 1)
end

local captures = require "fuzz.captures"
local episode = require "fuzz.episode"
local target = require "fuzz.target"

local LOOK_EVERY = 32 -- episodes between two looks at what is left open
local LONGEST = 1514  -- octets of a frame

local M = { name = "role" }
local played, names, only = 0, {}, os.getenv "ROLE"

-- Frames of captures that fit a link.
function M.prepare(build)
  for first, text in captures.frames(build) do
    if first == "ethernet" and #text <= LONGEST then episode.add_seed(text) end
  end
end

function M.once(_, seed)
  M.note:seek "set"
  M.note:write(("%d %s\n"):format(seed, only or "?"))
  local reason, name = episode.play(seed, only)
  played, names[name] = played + 1, (names[name] or 0) + 1
  if not reason and played % LOOK_EVERY == 0 then reason = episode.left() end
  if reason then return reason, ("%d %s\n"):format(seed, name) end
end

function M.finish()
  local list = {}
  for name, count in pairs(names) do list[#list + 1] = ("%s %d"):format(name, count) end
  table.sort(list)
  print("episodes: " .. table.concat(list, ", "))
end

function M.again(input, build)
  M.prepare(build)
  local seed, name = input:match "^(%d+) (.-)\n"
  return episode.play(tonumber(seed), name ~= "?" and name or nil) or episode.left()
end

target.main(M, arg)
