-- test/scope.lua: what a test, or a describe block or spec file around it, owns and what it left. What it took through
-- etherlua.test (labs, wires, relays, servers) is closed at its end as promised; what it opened itself and left is a
-- leak: a list of names, after all of it was closed.
--
-- Tasks of the background kind are never leaks: they belong to roles and end with their relay.

local bit = require "bit"
local ffi = require "ffi"
local endpoint = require "etherlua.relay.endpoint"
local sched = require "etherlua.core.sched"

local M = {}

local CANCEL_TIME = 5 -- seconds for a task that was left to end

-- Where captures are kept under the names of their tests; nil: in TMPDIR, under names of their own.
---@type string?
M.folder = nil

local used = {} -- set of paths of captures in it

-- ---- places in the code -------------------------------------------------------------------------------------------

-- Files that are not the user's: etherlua's own modules (of this tree), busted and luassert.
local OWN = debug.getinfo(1, "S").source:match("^@(.*)test/scope%.lua$")

local function is_users(info)
  local source = info.source
  return info.what ~= "C" and source:sub(1, 1) == "@" and source:sub(2, #OWN + 1) ~= OWN
    and not source:find("/busted/", 1, true) and not source:find("/luassert/", 1, true)
end

-- The user's code that is the innermost on a stack.
---@param get_info fun(level: integer): table? debug.getinfo of that stack
---@return string? place "file:line"
local function innermost(get_info)
  local level = 1
  while true do
    local info = get_info(level)
    if not info then return nil end
    if is_users(info) then return ("%s:%d"):format(info.short_src, info.currentline) end
    level = level + 1
  end
end

-- Where the user's code in a coroutine waits.
---@param co thread
---@return string? place "file:line"
function M.place(co)
  return innermost(function(level) return debug.getinfo(co, level - 1, "Sl") end)
end

-- Where the user's code is that called the caller.
---@return string? place "file:line"
function M.place_here()
  return innermost(function(level) return debug.getinfo(level + 2, "Sl") end)
end

-- ---- scopes -------------------------------------------------------------------------------------------------------

local Scope = {}
Scope.__index = Scope

-- Takes what exists now for somebody else's.
function Scope:mark()
  local tasks, closables = sched.inventory()
  self.tasks, self.objects, self.closables = {}, {}, closables:mark()
  for _, task in pairs(tasks) do self.tasks[task] = true end
  for _, object in pairs(endpoint.objects) do self.objects[object.ep.id] = object end
end

---@param outer? table the scope around it
---@param name? string of the test or block
---@return table scope
function M.new(outer, name)
  local self = setmetatable({ owned = {}, captures = {}, outer = outer, name = name or "test" }, Scope)
  self:mark()
  return self
end

-- obj:close() is called at the scope's end, the last one's first.
---@return any obj
function Scope:own(obj)
  self.owned[#self.owned + 1] = obj
  return obj
end

-- Calls fn and owns what it opened.
---@param fn function
---@return any ... what fn returns
function Scope:owning(fn, ...)
  local _, closables = sched.inventory()
  local before, results = closables:mark(), { fn(...) }
  for _, obj in ipairs(closables:since(before)) do self:own(obj) end
  return unpack(results)
end

local NAME_MAX = 200 -- bytes, of 255 that the name of a file may have

-- What stands between letters, digits and the like is a dash.
local function file_name(text)
  return (text:gsub("[^%w_.-]+", "-"):gsub("^[-.]+", ""):gsub("-+$", ""):sub(1, NAME_MAX))
end

local function temporary_path()
  local unique = os.tmpname()
  os.remove(unique)
  return ("%s/etherlua%s.pcap"):format(os.getenv "TMPDIR" or "/tmp", unique:match("lua(_[^/]*)$"))
end

-- Named by the test, or the block or file around it, and by what is captured; by a number where that is not enough.
local function named_path(self, of)
  local stem, number = ("%s/%s.%s"):format(M.folder, file_name(self.name), file_name(of)), 1
  local path = stem .. ".pcap"
  while used[path] do
    number = number + 1
    path = ("%s.%d.pcap"):format(stem, number)
  end
  used[path] = true
  return path
end

-- A pcap file to capture to, in M.folder or else TMPDIR: it is removed at the end of the scope unless the test fails.
---@param of string what is captured, for the message
---@return string path
function Scope:capture(of)
  local pcap = M.folder and named_path(self, of) or temporary_path()
  self.captures[#self.captures + 1] = { of = of, path = pcap }
  return pcap
end

-- The captures that a failing test has to show: its own, and those of the blocks around it.
---@return string text a line for each
function Scope:capture_lines()
  local text = self.outer and self.outer:capture_lines() or ""
  for _, capture in ipairs(self.captures) do text = ("%s\ncapture of %s: %s"):format(text, capture.of, capture.path) end
  return text
end

function Scope:keep_captures()
  self.keep = true
  if self.outer then self.outer:keep_captures() end
end

-- ---- what was left ------------------------------------------------------------------------------------------------

local function name_of_task(task)
  local place = not task.call and M.place(task.co)
  return tostring(task) .. (place and (" (waits at %s)"):format(place) or "")
end

local function left_tasks(self)
  local left = {}
  for _, task in pairs(sched.inventory()) do
    if not self.tasks[task] and not task.background and not task.done and task ~= sched.current() then
      left[#left + 1] = task
    end
  end
  table.sort(left, function(a, b) return a.id < b.id end)
  return left
end

-- Relays; other things that ask to be closed at the end of a run promise nothing.
local function left_relays(self)
  local _, closables = sched.inventory()
  local left = {}
  for _, obj in ipairs(closables:since(self.closables)) do
    if obj.handle then left[#left + 1] = obj end
  end
  return left
end

-- One reader of broadcasts serves all hosts of a relay and lives as long: see host/broadcast.lua.
local function is_shared(object)
  local conn = ffi.istype("struct el_udp", object) and object:conn() or object
  return bit.band(conn.mac.byte[0], 1) == 1
end

local function left_endpoints(self)
  local left = {}
  for id, object in pairs(endpoint.objects) do
    if self.objects[id] ~= object and not is_shared(object) then left[#left + 1] = object end
  end
  return left
end

local function close_all(list)
  for i = #list, 1, -1 do list[i]:close() end
end

local function end_tasks(list)
  for _, task in ipairs(list) do task:cancel() end
  for _, task in ipairs(list) do task:join(CANCEL_TIME) end
end

-- What asked to be closed at the end of the run has it earlier.
local function close_closables(self)
  local _, closables = sched.inventory()
  local list = closables:since(self.closables)
  for i = #list, 1, -1 do
    closables:remove(list[i])
    list[i]:close()
  end
end

local function add_names(names, list, name)
  for _, one in ipairs(list) do names[#names + 1] = name(one) end
end

-- Closes everything that came since the mark. To be called in a task; it may block.
---@return string[] names of what should have been closed
function Scope:settle()
  local names = {}
  sched.sleep(0) -- tasks whose work is done may end
  local tasks = left_tasks(self)
  add_names(names, tasks, name_of_task)
  end_tasks(tasks)
  close_all(self.owned)
  self.owned = {}
  local relays = left_relays(self)
  add_names(names, relays, tostring)
  close_all(relays)
  local endpoints = left_endpoints(self)
  add_names(names, endpoints, tostring)
  close_all(endpoints)
  close_closables(self)
  return names
end

-- Removes the captures of a scope in which nothing failed.
function Scope:drop_captures()
  if self.keep then return end
  for _, capture in ipairs(self.captures) do
    os.remove(capture.path)
    used[capture.path] = nil
  end
end

return M
