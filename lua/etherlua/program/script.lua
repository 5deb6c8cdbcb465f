-- program/script.lua: what the scripts that people run have in common: the options of every script, the relay that they
-- name, one-line errors with the right exit status, and output for people or machines. A script returns its exit
-- status.

local argparse = require "argparse"
local chosen = require "etherlua.relay.chosen"
local effi = require "etherlua.core.ffi"
local errno = require "etherlua.core.errno"
local fragments = require "etherlua.program.fragments"
local group = require "etherlua.net.group"
local json = require "etherlua.program.json"
local lab = require "etherlua.lab.lab"
local misuse = require "etherlua.core.misuse"
local outside = require "etherlua.core.outside"
local proto = require "etherlua.proto"
local ranks = require "etherlua.ranks"
local relay = require "etherlua.relay.relay"
local rights = require "etherlua.core.rights"
local sched = require "etherlua.core.sched"

local C = effi.C

local M = {}

M.DONE, M.FAILED, M.USAGE, M.REFUSED = 0, 1, 2, 3

-- The exit status that the script has chosen, for an end by Ctrl-C too; nil: what it returns, or M.DONE.
---@type integer|nil
M.status = nil

-- Whether the script was told to print JSON.
M.is_json = false

local defaults = {}

-- For the program: what it was given in front of the script's name. They are defaults for the script's own options, and
-- say which relay ether.relay opens.
---@param given table by name: relay, lab, capture, json
function M.use_defaults(given)
  defaults = given
  chosen.choose(function(opts) return (M.relay(defaults, opts)) end)
end

-- ---- ends ---------------------------------------------------------------------------------------------------------

local Exit = {}
Exit.__index = Exit
Exit.__tostring = function(exit) return exit.message or "" end

-- Ends the script from wherever it is called. With a message it is printed as one line on standard error.
---@param status integer
---@param message? string
function M.exit(status, message)
  error(setmetatable({ exit_status = status, message = message }, Exit), 0)
end

-- Calls fn; an error that it raises is the user's mistake in an option, not the script's.
---@param fn function
---@param ... any that it is called with
---@return any value what fn returns
---@return any second
function M.check(fn, ...)
  local ok, value, second = pcall(fn, ...)
  if ok then return value, second end
  if type(value) == "table" then error(value, 0) end
  M.exit(M.USAGE, misuse.words(value))
end

-- ---- options ------------------------------------------------------------------------------------------------------

-- Name of each common option -> whether it takes a value.
M.COMMON = { ["-i"] = true, ["--relay"] = true, ["--netns"] = true, ["--user"] = true, ["--capture"] = true,
  ["--lab"] = false, ["--json"] = false }

-- The options that say which relay is meant.
---@param parser table of lua-argparse
function M.add_relay(parser)
  parser:option("-i --relay", "The relay: KIND:INTERFACE such as afpacket:eth1, or just eth1."):argname("SPEC")
  parser:option("--netns", "Enter this network namespace first: a name, a path or a process id."):argname("NAME")
  parser:option("--user", "Become this user, without rights, when the relay is open."):argname("NAME")
  parser:flag("--lab", "Make a network of its own with an emulated access network behind it, and work there.")
  parser:option("--capture", "Write every frame in and out to this pcap file."):argname("FILE")
end

-- Adds the options that every script has.
---@param parser table of lua-argparse
function M.add_common(parser)
  M.add_relay(parser)
  parser:flag("--json", "Print one JSON object a line.")
end

local function say_and_exit(text)
  io.stdout:write(text)
  M.exit(M.DONE)
end

-- A parser for options, which ends the script the way M.exit does.
---@param name string
---@param description string
---@return table parser of lua-argparse
function M.bare_parser(name, description)
  local parser = argparse(name, description):add_help(false):help_max_width(100)
  parser:flag("-h --help", "Show this help and end."):action(function() say_and_exit(parser:get_help() .. "\n") end)
  function parser.error(_, message)
    M.exit(M.USAGE, ("%s (%s --help tells more)"):format(message:gsub("\n.*", ""), name))
  end
  return parser
end

-- A parser that has the common options already.
---@param name string of the script
---@param description string one sentence
---@return table parser of lua-argparse
function M.parser(name, description)
  local parser = M.bare_parser(name, description)
  M.add_common(parser)
  return parser
end

-- For parser:option():convert(): a number from low to high.
---@param low number
---@param high number
---@param whole? boolean
---@return function
function M.number(low, high, whole)
  return function(text)
    local value = tonumber(text)
    if not value or value < low or value > high or value ~= value or whole and value % 1 ~= 0 then
      return nil, ("bad value %q: %s%s to %s is allowed"):format(text, whole and "a whole number from " or "", low,
        high == math.huge and "anything" or high)
    end
    return value
  end
end

-- For parser:option():convert(): a text that fn accepts, kept as it is.
---@param fn function raises an error that says what is wrong with its argument
---@return function
function M.accepted_by(fn)
  return function(text)
    local ok, reason = pcall(fn, text)
    if not ok then return nil, misuse.words(reason) end
    return text
  end
end

-- For accepted_by(): refuses what cannot be a host's own MAC address.
---@param text string
function M.host_mac(text)
  if group.is_group_mac(text) then misuse.raise("bad MAC address %q: a host's is no group address", text) end
end

-- EACCES: it is that of another user's process.
local NETNS_ADVICE = { [-errno.EPERM] = " (run as root, or give the program CAP_SYS_ADMIN too)",
  [-errno.EACCES] = " (run as root)" }

-- Puts the thread into the network namespace that --netns names.
---@param name? string
function M.enter_netns(name)
  if not name then return end
  local fd = C.el_netns_open(name)
  local code = fd >= 0 and C.el_netns_enter(fd) or fd
  if fd >= 0 then C.el_fd_close(fd) end
  if code < 0 then
    local advice = NETNS_ADVICE[code] or ""
    M.exit(M.USAGE, ("cannot enter network namespace %q: %s%s"):format(name, errno.reason(code), advice))
  end
end

-- Reads the script's arguments.
---@param parser table from M.parser
---@param args string[]
---@return table options by name
function M.parse(parser, args)
  local opts = parser:parse(args)
  M.enter_netns(opts.netns)
  M.check(rights.plan, opts.user)
  for name, value in pairs(defaults) do
    if opts[name] == nil then opts[name] = value end
  end
  M.is_json = opts.json or false
  return opts
end

-- ---- the relay ----------------------------------------------------------------------------------------------------

-- A lab of the script's own, which is closed when the run ends.
---@param opts? etherlua.lab_opts
---@return etherlua.lab
function M.new_lab(opts)
  if rights.user() then M.exit(M.USAGE, "--lab and --user given: one of them is allowed, for labs need rights") end
  local permitted, reason = lab.root()
  if not permitted then M.exit(M.FAILED, reason) end
  local net = M.check(lab.new, opts)
  sched.close_at_end(net)
  return net
end

-- What -i says beside --lab: the kind of relay.
---@param opts table from M.parse
---@return string? kind
function M.lab_kind(opts)
  local kind = opts.relay and opts.relay:gsub(":?eth0$", "") or ""
  if kind:find(":", 1, true) then
    M.exit(M.USAGE, ("bad relay %q: with --lab a KIND is needed, for the lab's own eth0"):format(opts.relay))
  end
  return kind ~= "" and kind or nil
end

local function open_in_lab(opts, given)
  local net = M.new_lab()
  M.check(net.serve, net, opts.lab_network)
  return fragments.tell_at_end(M.check(net.relay, net, M.lab_kind(opts), given)), net
end

-- The relay that the options name. The process becomes the user of --user when it is open.
---@param opts table from M.parse; lab_network: options of the access network behind --lab, as dhcp4_server.new
---@param given? etherlua.relay_opts
---@param more? boolean another one is opened behind it: rights are kept until then
---@return etherlua.relay
---@return etherlua.lab|nil
function M.relay(opts, given, more)
  given = given or {}
  given.capture = given.capture or ranks.own_path(opts.capture)
  if opts.lab then return open_in_lab(opts, given) end
  if not opts.relay then
    M.exit(M.USAGE, "no relay: give -i SPEC, such as -i afpacket:eth1, or --lab for a network of its own")
  end
  local ok, value = pcall(relay.open, opts.relay, given)
  if ok then
    if not more then M.check(rights.drop) end
    return fragments.tell_at_end(value)
  end
  local words = misuse.words(value)
  M.exit(words:find("privilege", 1, true) and M.FAILED or M.USAGE, words)
end

-- A frame that passed as a line: when, in seconds since `started`, which way, and decoded.
---@param frame ffi.cdata*
---@param started number
---@return string
function M.frame_text(frame, started)
  return ("%10.6f %s %s"):format(frame.timestamp - started, frame.outgoing and ">" or "<",
    proto.describe(tostring(frame)))
end

-- Prints every frame that passes, decoded, until the relay is closed. Uses the relay's default endpoint.
---@param on etherlua.relay
---@param out file*
function M.trace(on, out)
  local mirror, started = on:default_conn { mirror = true }, sched.now()
  sched.spawn_background(function()
    while true do
      local frame = mirror:recv_frame()
      if not frame then return end
      out:write(M.frame_text(frame, started), "\n")
    end
  end)
end

-- ---- output -------------------------------------------------------------------------------------------------------

local function encode(value)
  if type(value) == "number" and value % 1 ~= 0 then return ("%.6g"):format(value) end
  return json.encode(value)
end

-- One JSON object on a line of its own, names in the order given. A byte that is no UTF-8 is \xNN in it.
---@param names string[]
---@param values table by name; a name without a value is null
---@return string
function M.json_line(names, values)
  local parts = {}
  for i, name in ipairs(names) do parts[i] = ("%s:%s"):format(json.encode(name), encode(values[name])) end
  return "{" .. table.concat(parts, ",") .. "}\n"
end

-- Prints such a line.
---@param names string[]
---@param values table
function M.print_json(names, values)
  io.stdout:write(M.json_line(names, values))
end

-- Tells of messages that were not understood: `misread` of a summary.
---@param counts table<string, integer> by the reason
function M.print_misread(counts)
  for reason, count in pairs(counts) do print(("  %d not understood: %s"):format(count, outside.shown(reason))) end
end

-- The names of a summary, and "misread" where there is any.
---@param names string[]
---@param summary { misread: table<string, integer> }
---@return string[]
function M.with_misread(names, summary)
  if not next(summary.misread) then return names end
  local all = { unpack(names) }
  all[#all + 1] = "misread"
  return all
end

-- Writes to standard output. Ends the script when that fails; the program says why, unless the reader is gone.
---@param text string
function M.write(text)
  local ok, _, code = io.stdout:write(text)
  if not ok then M.exit(code == errno.EPIPE and M.DONE or M.FAILED) end
end

---@param vlans string text of a VLAN stack
---@return string such as "VLAN 100.200", "untagged"
function M.vlan_name(vlans)
  return vlans == "" and "untagged" or "VLAN " .. vlans
end

-- What stands behind a MAC address.
---@param vlans string text of a VLAN stack
---@return string such as " vlan 100.200", ""
function M.tag_text(vlans)
  return vlans ~= "" and " vlan " .. vlans or ""
end

local TIMES = { "min", "mean", "p50", "p90", "p99", "p99_9", "max" }
local WITH_COUNT = { "count", unpack(TIMES) }

-- What a histogram says, for print_json and times_text.
---@param given etherlua.histogram|etherlua.summary
---@return etherlua.summary in milliseconds, to the microsecond
function M.milliseconds(given)
  local times = given.summary and given:summary() or given
  local out = { count = times.count }
  for _, name in ipairs(TIMES) do out[name] = times[name] and math.floor(times[name] * 1e6 + 0.5) / 1000 end
  return json.ordered(WITH_COUNT, out)
end

---@param times etherlua.summary from milliseconds(), of at least one time
---@return string such as "min 0.102  mean 0.220  p50 0.210  p90 0.310  p99 0.400  p99.9 0.411  max 0.411"
function M.times_text(times)
  local words = {}
  for i, name in ipairs(TIMES) do words[i] = ("%s %.3f"):format(name:gsub("_", "."), times[name]) end
  return table.concat(words, "  ")
end

local terminal

-- os.execute ignores Ctrl-C meanwhile, so it is for a script that the program does not run.
local function is_terminal(fd)
  local has, console = pcall(require, "etherlua.console")
  if has then return console.is_terminal(fd) end
  return os.execute("test -t " .. fd) == 0
end

-- Whether standard error is a terminal.
function M.on_terminal()
  if terminal == nil then terminal = is_terminal(2) end
  return terminal
end

local PROGRESS_AFTER, PROGRESS_EVERY = 2, 0.5 -- seconds

local stop_progress

-- A line on the terminal that says how far it is, from two seconds on, until end_progress() or the end of the run.
---@param line function returns the text
function M.progress(line)
  if not M.on_terminal() or ranks.rank > 0 then return end
  local shown = false
  local function wipe()
    if shown then io.stderr:write("\r\27[K") end
    shown = false
  end
  local task = sched.spawn_background(function()
    sched.defer(wipe)
    sched.sleep(PROGRESS_AFTER)
    while true do
      io.stderr:write("\r\27[K", line())
      shown = true
      sched.sleep(PROGRESS_EVERY)
    end
  end)
  function stop_progress()
    task:cancel()
    wipe()
  end
end

-- Takes the line of progress() away, so that what is printed next does not stand behind it.
function M.end_progress()
  if stop_progress then stop_progress() end
end

return M
