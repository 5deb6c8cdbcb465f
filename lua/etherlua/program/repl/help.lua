-- program/repl/help.lua: what help() tells: an overview, and for a function the comment above it in the source.

local effi = require "etherlua.core.ffi"

local M = {}

local OVERVIEW = [[
Each line is Lua and runs as a task: it may block, Ctrl-C cancels it. An expression's value is printed, and kept as _.
Tab completes, Ctrl-R searches the history, Ctrl-D ends.

  relay, conn, udp         the relay that -i or --lab names, and endpoints on it: a host of your own
  relay:conn{ mac = "02:00:00:00:00:01", vlans = "100.200" }       another host
  conn:udp("10.0.0.5:5000")                                        a UDP endpoint of a host
  udp:send("hello", "10.0.0.1:7")   udp:recv(1)                    a datagram out, and one in within a second
  ether                    the API: ether.open, ether.spawn, ether.sleep, ether.select, ...
  ether.sr1(conn, p.arp { tpa = "10.0.0.1" })                      a packet out, and its answer
  ether.sr(conn, { ... }, { src = "10.0.0.5" })                    many; a list of answers, and of those without
  conn:answer { match = { arp = { op = 1 } }, reply = p.arp {} }   answers in the background
  p.ether {} / p.ip4 { dst = "10.0.0.1" } / p.udp { dport = 7 } / "data"       a packet is layers
  dhcp4_client.lease(conn) roles: dhcp4_client, dhcp4_server, gateway, neighbour
  arp, dhcp4, ethernet, icmp, icmp6, ipv4, ipv6, proto.udp         protocols: parse, build, describe

  help(x)                  what a function does, what is in a table: help(conn.send), help(ether)
  tasks()                  the tasks, and what each of them waits for; tasks(3) tells where in its code
  traceback()              the calls that led to the last error
  stats()                  counters of relays and endpoints
  sniff()                  every frame, decoded, until Ctrl-C; sniff(relay, "udp port 67")
  decode(x), hex(x)        a frame layer by layer; bytes]]

-- ---- comments -----------------------------------------------------------------------------------------------------

local function lines_of(path)
  local lines, file = {}, io.open(path)
  for line in file and file:lines() or function() end do lines[#lines + 1] = line end
  if file then file:close() end
  return lines
end

-- The comment above a function and its first line; nil when there is no source.
local function comment_of(fn)
  local info = debug.getinfo(fn, "S")
  local path = info.source:match "^@(.*)"
  local lines = path and lines_of(path) or {}
  local last = info.linedefined
  if info.what == "C" or not lines[last] then return nil end
  local first = last
  while first > 1 and lines[first - 1]:match "^%s*%-%-" do first = first - 1 end
  local comment = {}
  for i = first, last - 1 do comment[#comment + 1] = (lines[i]:gsub("^%s*%-%-%-?%s?", "")) end
  return comment, (lines[last]:gsub("^%s*", ""))
end

local function function_help(fn)
  local comment, head = comment_of(fn)
  if not comment then return "a function without a description" end
  local parameters = head:match "%b()" or "()"
  local name = head:match "([%w_%.:]+)%s*%(" or head:match "([%w_%.]+)%s*="
  name = name == "function" and head:match "([%w_%.]+)%s*=" or name
  return ("%s%s\n  %s"):format((name or "function"):gsub("^.*[.:]", ""), parameters, table.concat(comment, "\n  "))
end

-- ---- tables and objects -------------------------------------------------------------------------------------------

local function functions_of(x, found)
  local metatable = select(2, effi.struct_of(x)) or type(x) == "table" and getmetatable(x)
  local index = type(metatable) == "table" and rawget(metatable, "__index")
  if type(index) == "table" and index ~= x then functions_of(index, found) end
  for name, value in pairs(type(x) == "table" and x or {}) do
    if type(name) == "string" and type(value) == "function" then found[name] = value end
  end
  return found
end

-- Its functions with the first line of what is said about them.
local function table_help(x)
  local lines = {}
  for name, fn in pairs(functions_of(x, {})) do
    local comment = comment_of(fn) or {}
    local first = comment[1] and not comment[1]:match "^@" and comment[1] or ""
    lines[#lines + 1] = ("  %-18s %s"):format(name, first)
  end
  table.sort(lines)
  return #lines > 0 and table.concat(lines, "\n") or "no functions in it"
end

---@param x any nil: everything
---@return string
function M.text(x)
  if x == nil then return OVERVIEW end
  if type(x) == "function" then return function_help(x) end
  return table_help(x)
end

return M
