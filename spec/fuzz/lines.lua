-- lines.lua: which lines of Lua a process reaches. With LINES=FILE in its environment it is watched from here on, by
-- the line hook of spec/support/lines.c, with the JIT off, and writes them to that file: "PATH LINE" each. The targets
-- load this first, so that what loading runs is seen, too. (Debian has no LuaCov.)

local util = require "jit.util"

local M = {}

local output = os.getenv "LINES"

---@type boolean whether this process is watched: nobody else may set a hook
M.watching = output ~= nil and output ~= ""

if M.watching then
  require("jit").off()
  require("spec_lines").start()
end

-- Ends it, and writes what was reached.
function M.finish()
  if not M.watching then return end
  local file = assert(io.open(output, "w"))
  require("spec_lines").finish(function(source, line)
    local path = source:match "^@.*(lua/etherlua/.*)$"
    if path then file:write(path, " ", line, "\n") end
  end)
  file:close()
end

-- ---- what there is ------------------------------------------------------------------------------------------------

local function add_lines(lines, fn)
  local info = util.funcinfo(fn)
  for pc = 1, info.bytecodes - 1 do lines[util.funcinfo(fn, pc).currentline] = true end
  for i = -1, -info.gcconsts, -1 do
    local constant = util.funck(fn, i)
    if type(constant) == "proto" then add_lines(lines, constant) end
  end
end

-- The lines of a file that have code.
---@param path string
---@return table<integer, true>
function M.of_file(path)
  local lines = {}
  add_lines(lines, assert(loadfile(path)))
  return lines
end

return M
