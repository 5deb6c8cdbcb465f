-- program/repl/repl.lua: the command `etherlua repl`: a prompt at which each line runs as a task. This file reads
-- lines, runs them and says what went wrong. Lines come from repl/input.lua, values are worded by repl/show.lua, names
-- completed by repl/complete.lua; what the prompt adds to the language is in repl/commands.lua.

local channel = require "etherlua.core.channel"
local commands = require "etherlua.program.repl.commands"
local complete = require "etherlua.program.repl.complete"
local ether = require "etherlua"
local failures = require "etherlua.core.failure"
local files = require "etherlua.core.files"
local input = require "etherlua.program.repl.input"
local misuse = require "etherlua.core.misuse"
local outside = require "etherlua.core.outside"
local packet = require "etherlua.proto.packet"
local proto = require "etherlua.proto"
local random = require "etherlua.net.random"
local rights = require "etherlua.core.rights"
local runaway = require "etherlua.core.runaway"
local sched = require "etherlua.core.sched"
local script = require "etherlua.program.script"
local show = require "etherlua.program.repl.show"
local vlan_stack = require "etherlua.net.vlan_stack"

local M = {}

local PROMPT, MORE = "> ", ">> "
local LAB_VLAN, PORT = "100", 5000

-- ---- what lines see -----------------------------------------------------------------------------------------------

-- Modules in a folder of ours, such as "proto", by name: of a portable program those inside, else those of the tree.
local function modules_in(parent)
  local names = {}
  for path in pairs(package.preload) do
    local name = path:match("^etherlua%." .. parent .. "%.([%w_]+)$")
    if name then names[name] = path end
  end
  local here = debug.getinfo(1, "S").source:match "^@(.*)program/repl/repl%.lua$"
  local listing = here and io.popen(("ls %s 2>/dev/null"):format(files.quote(here .. parent)))
  for file in listing and listing:lines() or function() end do
    local name = file:match "^([%w_]+)%.lua$"
    if name and name ~= "init" then names[name] = ("etherlua.%s.%s"):format(parent, name) end
  end
  if listing then listing:close() end
  return names
end

-- Protocols and roles by name, loaded when first used. The name udp is the endpoint's.
local function module_names()
  local modules = modules_in "role"
  for name, path in pairs(modules_in "proto") do modules[name] = path end
  modules.udp = nil
  return modules
end

-- The layers of packets are made when they are first named; here all of them are.
local function load_layers()
  local function name_it(name) return packet[name] end
  name_it "vlan"
  for _, name in ipairs(proto.names()) do
    name_it(name)
    name_it(proto.short_of(name))
  end
end

local function new_environment(modules)
  local environment = { ether = ether, proto = proto, p = packet }
  environment._G = environment
  return setmetatable(environment, {
    __index = function(_, name)
      if modules[name] then return require(modules[name]) end
      return _G[name]
    end,
  })
end

-- ---- a session ----------------------------------------------------------------------------------------------------

local Session = {}
Session.__index = Session

-- Whether one of our modules raised it on purpose: then the message says all, and our calls behind it nothing.
local function is_told(task)
  if task.call then return false end
  local raised, by = debug.getinfo(task.co, 0, "f"), debug.getinfo(task.co, 1, "S")
  return raised ~= nil and raised.func == error and by ~= nil and misuse.is_own(by.source)
end

-- The beginning of a line of the message; the rest are the calls that led to it, but for ours.
local function trim(traceback, message)
  local calls, lua = {}, 0
  for line in (traceback:sub(#message + 1):match "^\nstack traceback:\n(.*)$" or ""):gmatch "[^\n]+" do
    if line:find("etherlua/program/repl/repl.lua:", 1, true) then break end
    calls[#calls + 1] = line:gsub("in function 'chunk'$", "in the line")
    if not line:find("[C]:", 1, true) then lua = lua + 1 end
  end
  return lua > 1 and "\n" .. table.concat(calls, "\n") or ""
end

-- An error that no task caught. One that just ends a script with success says nothing.
function Session:task_failed(task, failure, traceback)
  local message = show.message(failure)
  local exit_status = failures.exit_status(failure)
  if exit_status then
    if exit_status ~= script.DONE then self.failed = true end
    if not failure.message then return end
    traceback = ""
  else
    self.failed = true
  end
  local name = task == self.line and "" or tostring(task) .. ": "
  local calls = trim(traceback, failures.text(failure))
  self.last.calls = calls ~= "" and name .. message .. calls or nil
  io.stderr:write(show.paint("error", outside.lines(name .. message)),
    is_told(task) and "" or outside.lines(calls), "\n")
end

-- Ctrl-C: gives up the line that is typed or the one that runs; at the second time the prompt comes back although the
-- line is still at its deferred functions.
function Session:interrupted()
  if self.dealt_with then
    self.dealt_with = false
    return
  end
  if not self.line then return self.input:interrupt() end
  if self.line_cancelled then return self.left:close() end
  io.stdout:write("\n")
  self.line_cancelled = true
  self.line:cancel()
end

-- Ctrl-C has ended the task that runs, which never waited: the line, or another one, and then the line goes on.
function Session:ended_runaway(place)
  local task = sched.current()
  self.dealt_with = true
  io.stderr:write("\n", show.paint("error", ("%sinterrupted at %s"):format(task == self.line and "" or tostring(task) ..
    ": ", outside.shown(place))), "\n")
end

function Session:signal_options()
  if not self.terminal then return { hidden = self.hidden } end
  return { hidden = self.hidden, patient = true, told = function(place) self:ended_runaway(place) end }
end

function Session:print_results(count, ...)
  local text = show.values(count, { ... })
  if not text then return end
  self.environment._ = (...)
  print(text)
end

-- Runs it as a task and waits for its end.
function Session:execute(chunk)
  local function results(...) self:print_results(select("#", ...), ...) end
  self.left, self.line_cancelled = channel.new(), false
  self.line = ether.spawn(function()
    self.hidden[sched.current()] = true
    results(chunk(results))
  end)
  ether.select { self.line, self.left }
  if not self.line.done then print(("%s goes on at its deferred functions"):format(tostring(self.line))) end
  self.line = nil
end

-- ---- lines --------------------------------------------------------------------------------------------------------

-- An expression's value is wanted, so that is tried first. It is handed to the function that the chunk is called with:
-- a `return` would be a tail call, and hide the line in what is said about errors.
---@return function|nil chunk
---@return string? reason
---@return boolean? unfinished
local function compile(text, name)
  text = text:gsub("^(%s*)=", "%1")
  if loadstring("return " .. text, name) then return loadstring("(...)(" .. text .. "\n)", name) end
  local chunk, reason = loadstring(text, name)
  return chunk, reason, reason and reason:find "<eof>'?$" ~= nil
end

-- Reads lines until they are a whole chunk. Returns nil and why there is none: "end", "interrupted", "broken".
function Session:read_chunk()
  local text, lead = nil, ("\n"):rep(self.terminal and 0 or self.lines)
  while true do
    local line, ended = self.input:read(text and MORE or PROMPT)
    if not line and not (text and ended == "end") then return nil, ended end
    if line and line:find "%S" then self.input:remember(line) end
    self.lines = self.lines + 1
    text = line and (text and text .. "\n" .. line or line) or text
    local chunk, reason, unfinished = compile(lead .. text, self.name)
    if chunk then return chunk end
    if not unfinished or not line then
      self.failed = true
      io.stderr:write(show.paint("error", outside.lines(reason)), "\n")
      return nil, "broken"
    end
  end
end

function Session:loop()
  while true do
    local chunk, reason = self:read_chunk()
    if reason == "end" then return end
    if chunk then self:execute(setfenv(chunk, self.environment)) end
  end
end

-- ---- the beginning and the end ------------------------------------------------------------------------------------

-- The relay that the options name, and a host on it.
local function make_host(environment, opts)
  local relay = script.relay(opts, { filter = "" })
  local vlans = opts.vlan or opts.lab and LAB_VLAN or nil
  environment.relay = relay
  environment.conn = relay:conn {
    mac = opts.mac or ether.mac_add("02:00:00:00:00:00", random.u32()), vlans = vlans,
  }
  environment.udp = environment.conn:udp("0.0.0.0:" .. PORT)
end

local function greet(self, opts)
  print(("etherlua %s: help() tells what there is, Tab completes, Ctrl-D ends"):format(ether.version))
  for _, name in ipairs { "relay", "conn", "udp" } do
    local value = rawget(self.environment, name)
    if value then print(("  %-5s  %s"):format(name, tostring(value))) end
  end
  if opts.lab then
    print "behind it on every VLAN: gateway 10.0.0.1 with DHCP, router 2001:db8::1, ping and UDP echo"
    print 'try: lease = dhcp4_client.lease(conn)   and then: lease'
  end
end

function Session:run(opts, chunk)
  if opts.lab or opts.relay then make_host(self.environment, opts) end
  local attendant = { failed = function(...) self:task_failed(...) end }
  sched.attend {
    failed = attendant.failed,
    interrupted = self.terminal and function() self:interrupted() end or nil,
  }
  self.hidden[sched.current()] = true
  if self.terminal then greet(self, opts) end
  if chunk then self:execute(setfenv(chunk, self.environment)) end
  self:loop()
  sched.attend(attendant)
  if self.terminal then sched.cancel_all() end
end

-- Without a terminal tasks that were spawned are waited for, as those of a script are.
local function new_session(host)
  local modules = module_names()
  local self = setmetatable({ environment = new_environment(modules), hidden = setmetatable({}, { __mode = "k" }),
    terminal = input.has_terminal(), lines = 0, last = {} }, Session)
  self.name = self.terminal and "=prompt" or "=stdin"
  for name, fn in pairs(commands.new(self.environment, self.hidden, self.last)) do self.environment[name] = fn end
  self.completer = { environment = self.environment, scripts = host.scripts, globals = function()
    local names = {}
    for name in pairs(modules) do names[#names + 1] = name end
    return names
  end, load = function(value) if value == packet then load_layers() end end }
  return self
end

local function open_input(self)
  if not self.terminal then return input.pipe() end
  show.colours = not os.getenv "NO_COLOR"
  local terminal, no_history = input.terminal(function(text)
    local insertion, names = complete.complete(self.completer, text)
    for i, name in ipairs(names) do names[i] = outside.shown(name) end
    if #names > 0 then print(complete.columns(names, self.input:columns())) end
    return insertion
  end)
  if no_history then io.stderr:write("etherlua: the history is not kept: ", outside.shown(no_history), "\n") end
  return terminal
end

local function new_parser()
  local parser = script.bare_parser("etherlua repl", "Type Lua at a prompt; each line runs as a task.")
  parser:argument("script", "Run this first: a path, or the name of a script that is shipped."):args("?")
    :argname("SCRIPT")
  script.add_relay(parser)
  parser:option("--mac", "MAC address of the host that is ready made as conn (default: a random one)."):argname("MAC")
    :convert(script.accepted_by(script.host_mac))
  parser:option("--vlan", "Its VLAN stack, outer tag first: 100 or 100.200 (default: none; 100 with --lab).")
    :argname("VLANS"):convert(script.accepted_by(vlan_stack.new))
  parser:epilog("With -i or --lab there are relay, conn and udp. When standard input is no terminal its lines are run, "
    .. "and the exit status is 1 when one of them failed.")
  return parser
end

---@param args string[] what follows "repl"
---@param host table of the program: load(name) -> chunk of a script, scripts = names of those that are shipped,
---  catch_signals(opts): of the process, see cli.lua
---@return integer exit status
function M.main(args, host)
  local opts = new_parser():parse(args)
  runaway.keep_interpreted()
  local chunk = opts.script and host.load(opts.script)
  script.use_defaults { relay = opts.relay, capture = opts.capture }
  script.enter_netns(opts.netns)
  script.check(rights.plan, opts.user)
  if opts.user and not opts.relay then script.exit(script.USAGE, "--user needs -i: later no relay can be opened") end
  local self = new_session(host)
  self.input = open_input(self)
  host.catch_signals(self:signal_options()) -- behind what guards the terminal: a second Ctrl-C is left to that
  _G.arg = { [0] = opts.script } -- luacheck: ignore 122
  local ok, failure = pcall(ether.run, self.run, self, opts, chunk)
  self.input:close()
  if not ok then error(failure, 0) end
  if self.terminal then return script.DONE end
  return sched.was_interrupted() and 130 or self.failed and script.FAILED or script.DONE
end

return M
