-- role/dhcp4/pool.lua: the addresses of a DHCP server: which are free, and who has each of the others until when. Every
-- question and change takes constant time, and memory is for addresses that somebody has. What strangers can take is
-- bounded for each VLAN stack. What messages mean is dhcp4_server.lua's business. Addresses are numbers here; clients
-- and VLAN stacks are digests.
--
-- An address is free, reserved, or in a binding, which is in one of these states:
--   offered    its client has not answered yet
--   spare      the same, but its VLAN stack has more offers than its share: it goes to others once nothing is free
--   renewed    of a client that had it and asks for it anew at the end of its lease
--   bound      leased
--   declined   somebody else uses it (RFC 2131 4.4.4); it is no client's
-- All bindings of a state last equally long, so those of a queue end in its order; spare offers keep their places among
-- all offers.

local digest_map = require "etherlua.net.digest_map"
local ids = require "etherlua.core.ids"
local queues = require "etherlua.core.queues"
local sched = require "etherlua.core.sched"

local M = {}

-- States whose time ends, in the order in which addresses that are over are taken from them, and those of clients.
local TIMED, HELD = { "offered", "renewed", "bound", "declined" }, { "offered", "renewed", "bound" }

-- An address that somebody has.
---@class etherlua.dhcp4_binding
---@field ip integer as of addr.ip4_number
---@field key? string the client; nil: it is no client's
---@field stack table of its VLAN stack
---@field state "offered"|"spare"|"renewed"|"bound"|"declined"
---@field expires number when it is over

-- See pool.new.
---@class etherlua.dhcp4_pool
---@field bindings table<integer, etherlua.dhcp4_binding> in no order
---@field counters table<string, integer>
local Pool = {}
Pool.__index = Pool

---@class etherlua.dhcp4_pool_opts
---@field first integer address
---@field last integer
---@field lease_time number seconds
---@field offer_time number
---@field decline_time number
---@field max_leases number addresses that a VLAN stack may have
---@field max_offers number of these: offers that are kept; to other VLAN stacks goes also what is beyond half of all
---@field max_declined number addresses that a VLAN stack may have declined at once

---@param opts etherlua.dhcp4_pool_opts
---@return etherlua.dhcp4_pool
function M.new(opts)
  local links = queues.new()
  local self = setmetatable({
    first = opts.first, last = opts.last, limits = opts,
    seconds = { offered = opts.offer_time, renewed = opts.offer_time, bound = opts.lease_time,
      declined = opts.decline_time },
    free = links:queue(0, opts.last - opts.first),
    all = {},
    stack_links = queues.new(),
    share = math.min(opts.max_offers, math.ceil((opts.last - opts.first + 1) / 2)),
    stacks = {}, stack_ids = ids.new(), stack_numbers = digest_map.new(),
    spare_stacks = queues.new():queue(), -- numbers of those that have spare offers
    bindings = {},   -- one more than an address's place in the pool -> its binding
    clients = digest_map.new(),
    reserved = {},
    counters = { withdrawn = 0, limited = 0, exhausted = 0, restored = 0 },
  }, Pool)
  for _, state in ipairs(TIMED) do self.all[state] = links:queue() end
  self.all.spare = self.all.offered
  return self
end

---@param number integer
---@return boolean whether the address is one of these
function Pool:has(number)
  return number >= self.first and number <= self.last
end

-- Nobody gets this address; one that is not of the pool is nobody's anyway.
---@param number integer
function Pool:reserve(number)
  if not self:has(number) or self.reserved[number] then return end
  self.reserved[number] = true
  self.free:remove(number - self.first)
end

-- ---- VLAN stacks --------------------------------------------------------------------------------------------------
-- Of each: held, the addresses that its clients have, and its own queues by state. It is there while it has something.

local function find_stack(self, name)
  return self.stacks[self.stack_numbers:get(name)]
end

local function new_stack(self, name)
  local stack = { name = name, number = self.stack_ids:take(), held = 0 }
  self.stacks[stack.number] = stack
  self.stack_numbers:add(name, stack.number)
  return stack
end

local function enter_stack(self, binding)
  local stack, state = binding.stack, binding.state
  if not stack[state] then
    stack[state] = self.stack_links:queue()
    if state == "spare" then self.spare_stacks:push(stack.number) end
  end
  stack[state]:push(binding.ip - self.first)
end

local function leave_stack(self, binding)
  local stack, state = binding.stack, binding.state
  stack[state]:remove(binding.ip - self.first)
  if stack[state].count > 0 then return end
  stack[state] = nil
  if state == "spare" then self.spare_stacks:remove(stack.number) end
end

local function forget_stack(self, stack)
  if stack.held > 0 or stack.declined then return end
  self.stacks[stack.number] = nil
  self.stack_numbers:remove(stack.name)
  self.stack_ids:give_back(stack.number)
end

-- ---- states -------------------------------------------------------------------------------------------------------

local function oldest(self, queue)
  local i = queue and queue:oldest()
  return i and self.bindings[i + 1]
end

local function enter(self, binding, state)
  binding.state = state
  self.all[state]:push(binding.ip - self.first)
  enter_stack(self, binding)
end

local function leave(self, binding)
  self.all[binding.state]:remove(binding.ip - self.first)
  leave_stack(self, binding)
end

local function change(self, binding, state)
  leave(self, binding)
  binding.expires = sched.now() + self.seconds[state]
  enter(self, binding, state)
end

-- The oldest offer of a VLAN stack that has more than its share goes to others when nothing is free.
local function limit_offers(self, stack)
  local offered = stack.offered
  if offered.count <= self.share then return end
  local one = oldest(self, offered)
  leave_stack(self, one)
  one.state = "spare"
  enter_stack(self, one)
end

local function is_over(binding)
  return binding.expires <= sched.now()
end

-- Its address is free again, behind all that are.
---@param binding etherlua.dhcp4_binding
function Pool:drop(binding)
  local stack = binding.stack
  leave(self, binding)
  if binding.key then
    self.clients:remove(binding.key)
    stack.held = stack.held - 1
  end
  self.bindings[binding.ip - self.first + 1] = nil
  self.free:push(binding.ip - self.first)
  forget_stack(self, stack)
end

-- An offer ends before its time.
local function withdraw(self, binding)
  if not binding then return false end
  if not is_over(binding) then self.counters.withdrawn = self.counters.withdrawn + 1 end
  self:drop(binding)
  return true
end

-- Drops the oldest binding that is over of some queues by state. Returns whether there was one.
local function drop_over(self, by_state, states)
  for _, state in ipairs(states) do
    local one = oldest(self, by_state[state])
    if one and is_over(one) then
      self:drop(one)
      return true
    end
  end
  return false
end

-- ---- addresses for clients ----------------------------------------------------------------------------------------

-- Whether the address can be given to a client.
---@param number integer
---@return boolean
function Pool:is_free(number)
  local binding = self.bindings[number - self.first + 1]
  if binding and is_over(binding) then
    self:drop(binding)
    binding = nil
  end
  return not binding and self:has(number) and not self.reserved[number]
end

-- What a client has now.
---@param key string digest
---@return etherlua.dhcp4_binding|nil
function Pool:binding(key)
  local binding = self.bindings[(self.clients:get(key) or -1) + 1]
  if binding and is_over(binding) then
    self:drop(binding)
    return nil
  end
  return binding
end

-- Whether the VLAN stack may have one more, if need be instead of an offer of its own.
local function may_have(self, stack)
  if not stack or stack.held < self.limits.max_leases or drop_over(self, stack, HELD) then return true end
  return withdraw(self, oldest(self, stack.spare) or oldest(self, stack.offered))
end

-- The offer that a VLAN stack gets when nothing is free: one of another stack, each in turn, or of its own if it has
-- more than are kept.
local function spare_for(self, stack)
  local turn, own = self.spare_stacks, stack and stack.number
  local number = turn:oldest()
  if number and number == own then number = turn:after(own) or own end
  local giver = number and self.stacks[number]
  if not giver then return nil end
  if giver == stack and stack.spare.count + (stack.offered and stack.offered.count or 0) <= self.limits.max_offers then
    return nil
  end
  turn:remove(number)
  turn:push(number)
  return oldest(self, giver.spare)
end

-- Whether an address is free, if need be one that somebody had.
local function has_free(self, stack)
  return self.free.count > 0 or drop_over(self, self.all, TIMED) or withdraw(self, spare_for(self, stack))
end

local function refuse(self, counter)
  self.counters[counter] = self.counters[counter] + 1
  return nil
end

-- An address for a client that has none: the one that it wants if that is free, else one that was never used, else the
-- one that came back first, else one that is over, else one of a VLAN stack that has too many offers.
---@param key string digest
---@param name string of its VLAN stack, digest
---@param wanted? integer
---@return etherlua.dhcp4_binding|nil nil: counted as limited or exhausted
function Pool:offer(key, name, wanted)
  if not may_have(self, find_stack(self, name)) then return refuse(self, "limited") end
  local number = wanted and self:is_free(wanted) and wanted
  if not number and not has_free(self, find_stack(self, name)) then return refuse(self, "exhausted") end
  number = number or self.first + self.free:oldest()
  self.free:remove(number - self.first)
  local stack = find_stack(self, name) or new_stack(self, name)
  local binding = { ip = number, key = key, stack = stack, expires = sched.now() + self.seconds.offered }
  self.bindings[number - self.first + 1], stack.held = binding, stack.held + 1
  self.clients:add(key, number - self.first)
  enter(self, binding, "offered")
  limit_offers(self, stack)
  return binding
end

-- A client asks for offers once more: what it has is kept for as long as a new offer, at the least.
---@param binding etherlua.dhcp4_binding
function Pool:offer_again(binding)
  local state = binding.state
  if state == "offered" or state == "spare" then
    change(self, binding, "offered")
    limit_offers(self, binding.stack)
  elseif binding.expires < sched.now() + self.seconds.renewed then
    change(self, binding, "renewed")
  end
end

-- The client has the address for the time of a lease from now on.
---@param binding etherlua.dhcp4_binding
function Pool:lease(binding)
  change(self, binding, "bound")
end

-- Somebody else uses the address: it is kept from all clients for a time. A VLAN stack that declines very many gets the
-- first of them back.
---@param binding etherlua.dhcp4_binding
function Pool:decline(binding)
  local stack = binding.stack
  self.clients:remove(binding.key)
  binding.key, stack.held = nil, stack.held - 1
  change(self, binding, "declined")
  if stack.declined.count <= self.limits.max_declined then return end
  self.counters.restored = self.counters.restored + 1
  self:drop(oldest(self, stack.declined))
end

---@return integer leases that are in use now
function Pool:bound()
  local bound = self.all.bound
  while bound.count > 0 and is_over(oldest(self, bound)) do self:drop(oldest(self, bound)) end
  return bound.count
end

return M
