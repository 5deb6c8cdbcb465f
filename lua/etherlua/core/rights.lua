-- core/rights.lua: the user that the process becomes, for good, when what needs rights is open. The program says which
-- one, and when; here is what others have to know of it.

local ffi = require "ffi"
local effi = require "etherlua.core.ffi"
local misuse = require "etherlua.core.misuse"

local C = effi.C

local M = {}

local user    -- that is to be; nil: the process stays what it is
local dropped = false
local maps = false -- BPF maps are changed later

local err = ffi.new("char[?]", C.EL_ERR_MAX)

local function check(code)
  if code ~= 0 then misuse.raise("%s", ffi.string(err)) end
end

-- drop() will become this user. Raises an error where that is not possible.
---@param name? string nil: nothing changes
function M.plan(name)
  if not name or name == user then return end
  if dropped then misuse.raise("the process is user %s for good", user) end
  check(C.el_user_check(name, err))
  user = name
end

-- The user that was planned, before and after drop().
---@return string|nil name
function M.user()
  return user
end

-- Somebody will change BPF maps, without more rights than any user has.
function M.need_maps()
  maps = true
end

-- Becomes the user that was planned, once. Raises an error when that fails: then nothing should go on.
function M.drop()
  if dropped or not user then return end
  dropped = true
  check(C.el_user_become(user, err))
  if maps and C.el_user_may_change_maps() == 0 then
    misuse.raise("as user %s an xdp relay can open no endpoints: before Linux 6.5 BPF maps are for root; an " ..
      "afpacket relay is allowed, or no --user", user)
  end
end

-- What is added to the words about something that was refused.
---@return string words "" when rights were not given up
function M.note()
  return dropped and (" (rights were given up for --user %s: relays are opened before)"):format(user) or ""
end

return M
