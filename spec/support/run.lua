-- run.lua: scripts as people run them, in a namespace: what they print and how they end.

local cjson = require "cjson"
local files = require "support.files"

local M = {}

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local INT = 2
local LONGEST = 30 -- seconds

local Running = {}
Running.__index = Running

-- Starts `etherlua run ARGUMENTS` in the namespace.
---@param ns etherlua.namespace
---@param arguments string words
function M.start(ns, arguments)
  local argv, path = { ETHERLUA, "run" }, os.tmpname()
  for word in arguments:gmatch "%S+" do argv[#argv + 1] = word end
  return setmetatable({ process = ns:start(argv, { log = path }), path = path }, Running)
end

-- All that it has printed so far.
function Running:text() return files.read_all(self.path) end

-- Waits until it has printed that; an error when it ends before, or takes too long.
function Running:wait_for(text)
  for _ = 1, 400 do
    if self:text():find(text, 1, true) then return end
    if self.process:status() then break end
    os.execute "sleep 0.02"
  end
  assert(self:text():find(text, 1, true), self:text())
end

-- Waits for its end.
---@return integer|nil status
---@return string text
function Running:finish()
  local status = self.process:wait(LONGEST)
  self.process:stop()
  local text = self:text()
  os.remove(self.path)
  return status, text
end

-- Ctrl-C, and its end.
function Running:interrupt()
  os.execute(("kill -%d %d"):format(INT, self.process.pid))
  return self:finish()
end

---@return integer|nil status
---@return string text
function M.run(ns, arguments)
  return M.start(ns, arguments):finish()
end

-- The objects that a script with --json has printed.
function M.objects(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = cjson.decode(line) end
  return list
end

return M
