-- scripts.lua: shipped scripts as specs run them: in a namespace, with what they printed taken apart.

local cjson = require "cjson"
local files = require "support.files"

local M = {}

local ETHERLUA = os.getenv "ETHERLUA" or "build/etherlua"
local INT = 2

-- Runs it to its end. Returns its exit status, the JSON objects that it printed in their order, and its whole output.
---@param ns etherlua.namespace
---@param arguments string
---@param interrupt_after? number seconds until Ctrl-C
---@return integer status
---@return table[] objects
---@return string text
function M.run(ns, arguments, interrupt_after)
  local log, argv = os.tmpname(), { ETHERLUA, "run" }
  for word in arguments:gmatch("%S+") do argv[#argv + 1] = word end
  local process = ns:start(argv, { log = log })
  if interrupt_after then
    os.execute("sleep " .. interrupt_after)
    os.execute(("kill -%d %d"):format(INT, process.pid))
  end
  local status = process:wait(30)
  process:stop()
  local text, objects = files.read_all(log), {}
  os.remove(log)
  for line in text:gmatch("[^\n]+") do
    if line:sub(1, 1) == "{" then objects[#objects + 1] = cjson.decode(line) end
  end
  return status, objects, text
end

-- Starts a script of the spec's own, and returns when it has printed "ready".
---@param ns etherlua.namespace
---@param source string Lua; what print("ready") stands in
---@return table process close() ends it and removes its files
function M.start(ns, source)
  local path, log = os.tmpname(), os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(source)
  file:close()
  local process = ns:start({ ETHERLUA, "run", "-i", "eth0", path }, { log = log })
  local self = {}
  function self.close()
    process:stop()
    os.remove(path)
    os.remove(log)
  end
  for _ = 1, 200 do
    if process:log():find("ready", 1, true) then return self end
    if process:wait(0.05) then break end
  end
  local said = process:log()
  self.close()
  error("it did not get ready: " .. said, 0)
end

return M
