-- ranks/server.lua: the other end of pmi.lua: what a process manager says to the ranks that it has started here. Only
-- what these ask for is there: no spawning, no publishing.

local pmi = require "etherlua.ranks.pmi"

local M = {}

local SPACE, KEY_MAX, NAME_MAX = "etherlua", 64, 64

-- values: what was put, by key. waiting: streams of those that are at the barrier.
---@class etherlua.ranks.server
local Server = {}
Server.__index = Server

---@param size integer ranks in all
---@return etherlua.ranks.server
function M.new(size)
  return setmetatable({ size = size, values = {}, waiting = {} }, Server)
end

-- ---- answers ------------------------------------------------------------------------------------------------------

local answers = {}

function answers.init()
  return "response_to_init pmi_version=1 pmi_subversion=1 rc=0"
end

function answers.get_maxes()
  return ("maxes kvsname_max=%d keylen_max=%d vallen_max=%d"):format(NAME_MAX, KEY_MAX, pmi.VALUE_MAX)
end

function answers.get_my_kvsname()
  return "my_kvsname kvsname=" .. SPACE
end

function answers.put(self, words)
  if not (words.key and words.value) then return "put_result rc=-1 msg=no_key_or_value" end
  self.values[words.key] = words.value
  return "put_result rc=0 msg=success"
end

function answers.get(self, words)
  local value = self.values[words.key or ""]
  if not value then return "get_result rc=-1 msg=key_not_found value=unknown" end
  return "get_result rc=0 msg=success value=" .. value
end

-- The last one lets all go.
function answers.barrier_in(self, _, stream)
  table.insert(self.waiting, stream)
  if #self.waiting < self.size then return nil end
  for _, one in ipairs(self.waiting) do one:write_line "cmd=barrier_out" end
  self.waiting = {}
end

function answers.finalize()
  return "finalize_ack"
end

-- ---- serving ------------------------------------------------------------------------------------------------------

-- Answers one rank until it closes. Blocks the task.
---@param stream etherlua.ranks.stream
function Server:serve(stream)
  for line in function() return (stream:read_line()) end do
    local words = pmi.words(line)
    local answer = answers[words.cmd or ""]
    local text = answer and answer(self, words, stream) or not answer and (words.cmd or "?") .. "_result rc=-1"
    if text then stream:write_line("cmd=" .. text) end
  end
  stream:close()
end

return M
