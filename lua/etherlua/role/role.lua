-- role/role.lua: the shape that every role has. A role is a state machine that speaks a protocol, as a task:
--
--   local scan = arp_scan.new(relay, { targets = ip_range.new "10.0.0.0/24", vlans = vlan_range.new(), mac = MAC })
--   local done, reason = scan:run()
--   print(scan:summary().answered)
--   scan:close()
--
--   new(on, opts)   on: the relay, EtherConn or host that it works on, which stays the caller's. Raises an error for
--                   what the caller did wrong. Returns nil and a reason where the world has not what it needs.
--   check(opts)     where a program wants it: raises as new(), before there is anything to be on.
--   :open()         where there is much to open: opens it, giving way to others. run() does so by itself.
--   :run(tell)      blocks its task until all is done. A role has this one, or
--   :serve(tell)    blocks its task until it is closed. Of both, tell, if it is given, is called with what happens.
--   Either returns  true when all is done, or nil and a reason: "closed" by close(), or what the relay ended with.
--   :close()        frees what it opened and ends run() or serve(). It may be called twice.
--   :summary()      what came of it so far, also after close(): a table of numbers, texts, booleans and such tables.
--   :totals()       where several may do a part each, such as the ranks of a run: what of a summary adds up.
--
-- Tasks that work for a role are begun by help() below, so that an error in one of them ends run() or serve().
--
-- Options are known by core/options.lua, times are in seconds, and the same thing has one name everywhere: `timeout`
-- for an answer, `interval` from one question to the next, `tries` of a question in all, `count` of what is done. Other
-- methods are a role's own. Nobody outside of a role reads or writes its fields.

local crew = require "etherlua.core.crew"
local misuse = require "etherlua.core.misuse"
local sched = require "etherlua.core.sched"

local M = {}

-- What a role can be on, by methods that nothing else has together.
local KINDS = {
  relay = { words = "a relay", "default_conn", "conn" },
  conn = { words = "an EtherConn", "recv_frame", "udp" },
  host = { words = "a host", "watch_icmp", "watch_echo" },
  endpoints = { words = "what traffic.endpoints returns", "conn", "drops" },
}

local function has_method(on, name)
  local ok, method = pcall(function() return on[name] end)
  return ok and type(method) == "function"
end

-- Raises an error unless a role is given what it works on.
---@param owner string the role, for the message: "an ARP scan"
---@param on any
---@param kind "relay"|"conn"|"host"|"endpoints"
function M.check(owner, on, kind)
  local wanted = KINDS[kind]
  for _, name in ipairs(wanted) do
    if not has_method(on, name) then
      misuse.raise("bad place %s of %s: %s is needed", tostring(on), owner, wanted.words)
    end
  end
end

-- Options of a role that asks one address, which may be given in front of them.
---@param given string|table|nil the address, or the options with it as `target`
---@param more? table options, behind an address
---@return table opts
function M.with_target(given, more)
  if type(given) ~= "string" then return given end
  local opts = { target = given }
  for name, value in pairs(more or {}) do opts[name] = value end
  return opts
end

-- A list as the caller may change it.
---@param list any[]
---@return any[]
function M.copy(list)
  local copy = {}
  for i, one in ipairs(list) do copy[i] = one end
  return copy
end

-- ---- what blocks --------------------------------------------------------------------------------------------------

local function crew_of(self)
  self.crew = self.crew or crew.new()
  return self.crew
end

-- A background task that works for the role. An error in it ends run(), or serve(), and is raised there; by check_help
-- elsewhere.
---@param self table the role
---@param fn function
---@param ... any
---@return etherlua.task
function M.help(self, fn, ...)
  return crew_of(self):spawn(fn, ...)
end

-- Raises the error that a helper of the role has died of, if one has: for what waits outside of run().
---@param self table the role
function M.check_help(self)
  crew_of(self):check()
end

local function outcome(self, ok, ...)
  if ok then return ... end
  if self.closed then return nil, "closed" end -- what close() took away is no error
  error((...), 0)
end

local function join(self, task)
  crew_of(self):join(task)
end

-- The body of run(): calls fn with the role and the rest. It is a task of its own, so that close() ends it whatever it
-- waits for; so does an error in one of its helpers. Returns what fn returns, or nil and "closed".
---@param self table the role
---@param fn function
---@param ... any
---@return true|nil
---@return string|nil reason
function M.run(self, fn, ...)
  if self.closed then return nil, "closed" end
  local results
  local task = sched.spawn_background(function(...) results = { pcall(fn, ...) } end, self, ...)
  self.runner = task
  local joined, failure = pcall(join, self, task)
  self.runner = nil
  if not joined then
    task:cancel()
    if failure == sched.CANCELLED then error(failure, 0) end
    return outcome(self, false, failure)
  end
  return outcome(self, unpack(results or { false, sched.CANCELLED }, 1, 3))
end

-- The beginning of close(). What run() does ends when the caller next waits.
---@param self table the role
---@return boolean first false: it was closed before, and there is nothing to be done
function M.close(self)
  if self.closed then return false end
  self.closed = true
  if self.runner then self.runner:cancel() end
  return true
end

return M
