-- The contract of a protocol, which is at the top of proto/init.lua: every module of proto/ that is one keeps it. They
-- are found here by themselves: by their files, and by what Ethernet carries.

local bytes = require "etherlua.net.bytes"
local contract = require "etherlua.proto.contract"
local helper = require "support.proto"
local packet = require "etherlua.proto.packet"
local packets = require "support.packets"
local proto = require "etherlua.proto"

-- Name -> all its layers in the good packets: fields, and those of the layer around it.
local fixtures, good = {}, packets.all()
for what, one in pairs(packets.of_other_links()) do good[what] = one end
for what, one in pairs(good) do
  local layers, quoted = proto.dissect(one:build(), one[1].name), false
  for i, layer in ipairs(layers) do
    fixtures[layer.name] = fixtures[layer.name] or {}
    local outer = layers[i - 1] and layers[i - 1].fields
    table.insert(fixtures[layer.name], { what = what, fields = layer.fields, outer = outer, quoted = quoted,
      bytes = outer and outer.payload or one:build() })
    quoted = quoted or what:find "cut off" and layer.name == "icmp"
  end
end

local function without(fields, names)
  local copy = {}
  for name, value in pairs(fields) do copy[name] = value end
  for _, name in ipairs(names) do copy[name] = nil end
  return copy
end

for _, name in ipairs(helper.names()) do
  describe("the protocol " .. name, function()
    local module = proto[name]

    it("exports what one needs", function()
      assert.same({}, contract.lacks(module))
    end)

    it("has a packet in spec/support/packets.lua, and is a layer", function()
      assert.is_truthy(fixtures[name], "no packet of " .. name)
      local short = module.short or name
      assert.equal(name, packet[short] {} [1].name)
      assert.equal(name, proto.find(short))
    end)

    it("knows all fields that it reads", function()
      for _, one in ipairs(fixtures[name]) do module.fields:check(one.fields) end
    end)

    it("builds what it has read", function()
      for _, one in ipairs(fixtures[name]) do
        local built = module.build(one.fields, one.outer)
        assert.equal(bytes.hex(one.bytes:sub(1, #built)), bytes.hex(built), one.what)
        assert.same(one.fields, module.parse(built, one.quoted), one.what)
      end
    end)

    it("derives what it says", function()
      local same = 0
      for _, one in ipairs(fixtures[name]) do
        local ok, built = pcall(module.build, without(one.fields, module.fields.derived), one.outer)
        if ok and built == module.build(one.fields, one.outer) then same = same + 1 end
      end
      assert.is_true(same > 0)
    end)

    it("says in one line what it is", function()
      for _, one in ipairs(fixtures[name]) do
        assert.is_nil(module.describe(one.fields):find("\n"))
        if module.details then assert.is_nil(module.details(one.fields):find("\n")) end
      end
    end)

    it("says why it does not read something", function()
      local fields, reason = module.parse("")
      assert.is_nil(fields)
      assert.matches("^" .. name .. ": ", reason)
    end)

    it("refuses fields that nobody knows", function()
      helper.raises(('unknown field "nosuch" of %s: known are: '):format(module.fields.protocol), module.build,
        { nosuch = 1 })
      helper.raises(("bad fields nil of %s: a table is needed"):format(module.fields.protocol), module.build, nil)
    end)

    it("names protocols that there are as what it carries", function()
      for _, child in pairs(module.next or {}) do assert.equal(child, proto.find(child)) end
    end)

    it("has rules for answers that work on all of its packets", function()
      for _, one in ipairs(fixtures[name]) do
        if module.turn then module.fields:check(module.turn(one.fields, "02:00:00:00:00:0c")) end
        if module.answers then assert.equal("boolean", type(module.answers(one.fields, one.fields))) end
        if module.exchange then assert.not_nil(module.exchange(one.fields)) end
        if module.carrier and one.outer then module.carrier(one.fields) end
      end
    end)
  end)
end

describe("a module that is no protocol", function()
  local function nothing() end
  local UDP = proto.udp

  local function like_udp(changes)
    local module = {}
    for name, value in pairs(UDP) do module[name] = value end
    for name, value in pairs(changes) do module[name] = value or nil end
    return module
  end

  it("is told what it lacks", function()
    assert.same({ "build", "describe", "fields" }, contract.lacks { parse = nothing })
    assert.same({}, contract.lacks(UDP))
    assert.same({ "describe" }, contract.lacks(like_udp { describe = false }))
    assert.same({ "answers: a function, not a string" }, contract.lacks(like_udp { answers = "all" }))
    assert.same({ "child" }, contract.lacks(like_udp { child = false }))
  end)

  it("is told which fields it speaks of but does not have", function()
    local schema = require "etherlua.proto.schema"
    local few = schema.new("few", { "src_port", "length" }, { derived = { "checksum" }, aliases = { d = "dst_port" },
      defaults = { ttl = 1 } })
    assert.same({ "fields: checksum, which is derived", "fields: dst_port, which is a selector",
      "fields: dst_port, which is an alias's", "fields: payload, which is the child's",
      "fields: ttl, which is a default's" }, contract.lacks(like_udp { fields = few }))
  end)
end)
