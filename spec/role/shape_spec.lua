-- The one shape of all roles (lua/etherlua/role/role.lua): what is in role/ has it, or stands below with the reason why
-- it is no role.

local effi = require "etherlua.core.ffi"
local ether = require "etherlua"
local ffi = require "ffi"
local kinds = require "support.kinds"
local leaks = require "support.leaks"
local roles = require "support.roles"

local NO_ROLES = {
  broadcast = "another name of host/broadcast.lua",
  dhcp4_exchange = "how a DHCP client talks",
  dhcp4_lease = "what a DHCP client gets",
  dhcp4_server = "decisions, message in and message out; gateway.lua serves by them",
  gateway6 = "a part of the gateway",
  icmp_probe = "what ping and traceroute have in common",
  neighbour = "another name of host/neighbour.lua",
  ping_schedule = "a part of ping",
  question = "what an ARP scan and a ping sweep have in common",
  role = "the shape itself",
  segment = "another name of host/segment.lua",
  traffic = "flows and endpoints",
  traffic_counts = "counts",
}

-- Nothing but numbers, texts, booleans and tables of them.
local function is_plain(value)
  local kind = type(value)
  if kind ~= "table" then return kind == "number" or kind == "string" or kind == "boolean" end
  if getmetatable(value) then return false end
  for name, one in pairs(value) do
    if not (is_plain(name) and is_plain(one)) then return false end
  end
  return true
end

local function changed(opts, name, value)
  local all = {}
  for key, one in pairs(opts) do all[key] = one end
  all[name] = value
  return all
end

local function live()
  jit.flush()
  collectgarbage()
  collectgarbage()
  local counts = ffi.new("struct el_live")
  effi.C.el_live(counts)
  return { tonumber(counts.relays), tonumber(counts.conns), tonumber(counts.udps) }
end

-- A function of its own: what is on its stack is garbage when it has returned.
local function live_and_die(module, place, opts)
  local one = module.new(place, opts)
  local task = ether.spawn(one.run or one.serve, one)
  ether.sleep(0.02)
  one:close()
  task:join(1)
end

-- fn(module, place, opts) as a task.
local function with_role(name, fn)
  return function()
    kinds.run_apart(function()
      local relay, other = ether.wire()
      local place, opts = roles.busy[name](relay, other)
      fn(require("etherlua.role." .. name), place, opts)
      relay:close()
      other:close()
    end)
    leaks.check()
  end
end

describe("what is in role/", function()
  it("is a role that is tried here, or is known for something else", function()
    local found = {}
    for _, name in ipairs(roles.modules()) do
      found[name] = true
      local is_tried, is_known = roles.busy[name] ~= nil, NO_ROLES[name] ~= nil
      assert.is_true(is_tried ~= is_known, name .. " stands in neither list, or in both")
    end
    for _, list in ipairs { roles.busy, NO_ROLES } do
      for name in pairs(list) do assert.is_true(found[name], name .. " is not there any more") end
    end
  end)
end)

for name in pairs(roles.busy) do
  describe("the role " .. name, function()
    it("runs or serves, is closed, and has a summary", with_role(name, function(module, place, opts)
      local one = module.new(place, opts)
      assert.is_true((one.run == nil) ~= (one.serve == nil), "it has run and serve, or neither")
      for _, method in ipairs { "close", "summary" } do assert.equal("function", type(one[method]), method) end
      one:close()
    end))

    it("says at the caller's line what it is not on, and which options it has", with_role(name,
      function(module, place, opts)
        local function refusal(...)
          local ok, reason = pcall(module.new, ...)
          assert.is_false(ok)
          return reason
        end
        assert.matches("shape_spec.lua:%d+: bad %a+ 5 of .+ is needed$", refusal(5, opts))
        local unknown = refusal(place, changed(opts, "frob", 1))
        assert.matches('shape_spec.lua:%d+: unknown option "frob" of .+: known are: %a', unknown)
        for word in unknown:match("known are: (.*)"):gmatch "[%w_]+" do
          for _, old in ipairs { "retries", "retry", "inter", "wait", "queries", "first_timeout", "clients" } do
            assert.not_equal(old, word)
          end
        end
        for _, wrong in ipairs { "timeout", "interval", "tries", "count" } do
          if unknown:find("%f[%w_]" .. wrong .. "%f[^%w_]") then
            assert.matches("bad " .. wrong .. " x: ", refusal(place, changed(opts, wrong, "x")))
          end
        end
      end))

    it("ends with nil and \"closed\" when somebody closes it, which may be done twice", with_role(name,
      function(module, place, opts)
        local one = module.new(place, opts)
        local blocks = one.run and "run" or "serve"
        local task = ether.spawn(function() return { n = 2, one[blocks](one) } end)
        ether.sleep(0.02)
        assert.is_false(task.done or false, "it ended by itself")
        one:close()
        one:close()
        assert.same({ n = 2, nil, "closed" }, { n = 2, unpack(assert(task:join(1), "nobody woke it"), 1, 2) })
        assert.same({ n = 2, nil, "closed" }, { n = 2, one[blocks](one) })
      end))

    it("says in its summary nothing but what JSON can, before it runs and after it was closed", with_role(name,
      function(module, place, opts)
        local one = module.new(place, opts)
        assert.is_true(is_plain(one:summary()))
        local task = ether.spawn(one.run or one.serve, one)
        ether.sleep(0.02)
        assert.is_true(is_plain(one:summary()))
        one:close()
        task:join(1)
        assert.is_true(is_plain(one:summary()))
        assert.is_true(next(one:summary()) ~= nil)
      end))

    it("frees what it opened", with_role(name, function(module, place, opts)
      local counts = {}
      for i = 1, 3 do -- what is shared by all on a relay is made once
        live_and_die(module, place, opts)
        counts[i] = live()
      end
      assert.same(counts[1], counts[2])
      assert.same(counts[2], counts[3])
    end))
  end)
end
