-- program/repl/input.lua: where the prompt's lines come from: a person at a terminal, or a pipe. Reading blocks only
-- the task that does it. While a line is being typed, whatever this process prints appears above it.

local console = require "etherlua.console"
local sched = require "etherlua.core.sched"

local M = {}

local STDIN = 0

-- ---- a terminal ---------------------------------------------------------------------------------------------------

local Terminal = {}
Terminal.__index = Terminal

-- Something is about to be printed: what is being typed goes out of the way until its task runs next.
local function before_output(self, ...)
  local last = tostring((select(select("#", ...), ...)))
  if last ~= "" then self.line_start = last:sub(-1) == "\n" end
  if not self.reader then return end
  console.hide()
  sched.wake(self.reader)
end

-- All that Lua prints goes through these until release_output().
local function guard_output(self)
  local methods = getmetatable(io.stdout).__index
  local write = methods.write
  self.before = { write = write, io_write = io.write, print = print }
  function methods.write(file, ...)
    if select("#", ...) > 0 and (file == io.stdout or file == io.stderr) then before_output(self, ...) end
    return write(file, ...)
  end
  io.write = function(...) return io.output():write(...) end -- luacheck: ignore 122
  _G.print = function(...) -- luacheck: ignore 122
    local texts = { ... }
    for i = 1, select("#", ...) do texts[i] = tostring(texts[i]) end
    io.stdout:write(table.concat(texts, "\t"), "\n")
  end
end

-- What was there before is put back.
local function release_output(self)
  local before = self.before
  if not before then return end
  getmetatable(io.stdout).__index.write = before.write
  io.write, _G.print = before.io_write, before.print -- luacheck: ignore 122
  self.before = nil
end

-- Whatever was printed last, the prompt begins a line.
local function begin_line(self)
  if not self.line_start then io.stdout:write("\n") end
end

-- Blocks until a line has been typed.
---@param prompt string
---@return string|nil line
---@return string? reason "end" (Ctrl-D) or "interrupted" (Ctrl-C)
function Terminal:read(prompt)
  begin_line(self)
  io.stdout:flush()
  self.interrupted = false
  self.reader = sched.current()
  local line = console.start(prompt)
  while line == nil and not self.interrupted do
    sched.wait_fd(STDIN)
    if not self.interrupted then
      begin_line(self)
      line = console.feed()
    end
  end
  self.reader, self.line_start = nil, true
  if line then return line end
  if line == nil then console.cancel() else io.stdout:write("\n") end
  return nil, line == nil and "interrupted" or "end"
end

-- The line that is being typed is given up.
function Terminal:interrupt()
  self.interrupted = true
  if self.reader then sched.wake(self.reader) end
end

---@param line string for the history
function Terminal:remember(line)
  console.remember(line)
end

---@return integer columns
function Terminal:columns()
  return console.columns()
end

function Terminal:close()
  release_output(self)
  console.close()
end

-- The terminal that standard input is.
---@param complete function text before the cursor -> what to insert
---@return table terminal read(prompt), interrupt(), remember(line), columns(), close()
---@return string? reason why there is no history
function M.terminal(complete)
  local ok, reason = console.open(complete)
  if not ok then error(reason, 0) end
  local self = setmetatable({ line_start = true }, Terminal)
  guard_output(self)
  local _, no_history = console.history()
  return self, no_history
end

-- ---- a pipe -------------------------------------------------------------------------------------------------------

local Pipe = {}
Pipe.__index = Pipe

-- Blocks until there is a line.
---@return string|nil line
---@return string? reason "end"
function Pipe:read()
  while true do
    local line, rest = self.text:match("^([^\n]*)\n(.*)$")
    if line then
      self.text = rest
      return line
    end
    sched.wait_fd(STDIN)
    local more = console.read()
    if not more then
      if self.text == "" then return nil, "end" end
      more = "\n"
    end
    self.text = self.text .. more
  end
end

function Pipe:remember() end

function Pipe:close() end

---@return table pipe as the terminal, without interrupt() and columns()
function M.pipe()
  return setmetatable({ text = "" }, Pipe)
end

---@return boolean whether standard input and output are a terminal that lines can be edited on
function M.has_terminal()
  return console.can_edit()
end

return M
