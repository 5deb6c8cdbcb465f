-- Messages that the DHCP server does not expect: whatever a client sends, with fields missing or odd, is answered as
-- RFC 2131 4.3 says, or counted, and never ends in an error. What is expected is in dhcp4_server_spec.lua.

local bytes = require "etherlua.net.bytes"
local dhcp4 = require "etherlua.proto.dhcp4"
local dhcp4_server = require "etherlua.role.dhcp4_server"
local helper = require "support.proto"

local A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
local ANY, OWN, OTHERS = "0.0.0.0", "10.0.0.1", "10.0.0.9"

-- As from the wire.
local function message(kind, mac, options, fields)
  local all = { xid = 7, chaddr = mac, options = { message_type = kind } }
  for name, value in pairs(options or {}) do all.options[name] = value end
  for name, value in pairs(fields or {}) do all[name] = value end
  return assert(dhcp4.parse(dhcp4.build(all)))
end

-- A server of which A has 10.0.0.10 and B an offer of 10.0.0.11.
local function new()
  local server = dhcp4_server.new { pool = "10.0.0.10-10.0.0.99", mask = "255.255.0.0" }
  server:answer(message("DISCOVER", A), "")
  server:answer(message("REQUEST", A, { server_id = OWN, requested_address = "10.0.0.10" }), "")
  server:answer(message("DISCOVER", B), "")
  return server
end

-- "ACK 10.0.0.10", "NAK", or nil. What is said can be sent.
local function says(server, request, source)
  local reply = server:answer(request, "", source)
  if not reply then return nil end
  local ip, port, mac = dhcp4_server.destination(request, reply, source)
  bytes.ip("destination", ip, 4)
  assert.is_true(port == 67 or port == 68)
  if mac then bytes.mac("destination", mac) end
  local sent = assert(dhcp4.parse(dhcp4.build(reply)))
  return sent.options.message_type .. (sent.yiaddr ~= ANY and " " .. sent.yiaddr or "")
end

-- The bytes of an option of a message, nil when it is not there.
local function raw_option(sent, wanted)
  local at = 241
  while sent:byte(at) ~= 255 do
    local code, size = sent:byte(at, at + 1)
    if code == wanted then return sent:sub(at + 2, at + 1 + size) end
    at = code == 0 and at + 1 or at + 2 + size
  end
end

-- Calls fn with each of the first list, of the second, and so on.
local function each(lists, fn, given)
  given = given or {}
  if #given == #lists then return fn(unpack(given)) end
  for _, value in ipairs(lists[#given + 1]) do
    table.insert(given, value)
    each(lists, fn, given)
    table.remove(given)
  end
end

describe("the DHCP server", function()
  -- what is odd; kind; options; fields; answer to A, which has 10.0.0.10
  for _, case in ipairs {
    { "a REQUEST that names no address", "REQUEST", {}, {}, nil },
    { "a REQUEST of it that names no address", "REQUEST", { server_id = OWN }, {}, "NAK" },
    { "a REQUEST of it for 0.0.0.0", "REQUEST", { server_id = OWN, requested_address = ANY }, {}, "NAK" },
    { "a REQUEST for 0.0.0.0", "REQUEST", { requested_address = ANY }, {}, nil },
    { "a REQUEST of it that says the address in ciaddr", "REQUEST", { server_id = OWN }, { ciaddr = "10.0.0.10" },
      "ACK 10.0.0.10" },
    { "a renewal that asks for another address, too", "REQUEST", { requested_address = "10.0.0.50" },
      { ciaddr = "10.0.0.10" }, "ACK 10.0.0.10" },
    { "a REQUEST with two octets of a server", "REQUEST", { [54] = "\10\0", requested_address = "10.0.0.10" }, {},
      nil },
    { "a REQUEST with three octets of an address", "REQUEST", { [50] = "\10\0\0" }, {}, nil },
    { "a renewal with an empty address", "REQUEST", { [50] = "" }, { ciaddr = "10.0.0.10" }, "ACK 10.0.0.10" },
    { "a renewal of 255.255.255.255", "REQUEST", {}, { ciaddr = "255.255.255.255" }, "NAK" },
    { "a REQUEST of server 0.0.0.0", "REQUEST", { server_id = ANY, requested_address = "10.0.0.10" }, {}, nil },
    { "a DISCOVER with an address in ciaddr", "DISCOVER", {}, { ciaddr = "10.0.0.77" }, "OFFER 10.0.0.10" },
    { "a DISCOVER of a group", "DISCOVER", {}, { ciaddr = "224.0.0.1" }, "OFFER 10.0.0.10" },
    { "a DISCOVER that names another server", "DISCOVER", { server_id = OTHERS }, {}, "OFFER 10.0.0.10" },
    { "a DISCOVER with three octets of an address", "DISCOVER", { [50] = "abc" }, {}, "OFFER 10.0.0.10" },
    { "a DECLINE that names no address", "DECLINE", { server_id = OWN }, {}, nil },
    { "a RELEASE that names no address", "RELEASE", { server_id = OWN }, {}, nil },
    { "an INFORM from nowhere", "INFORM", {}, {}, nil },
    { "an INFORM of everybody", "INFORM", {}, { ciaddr = "255.255.255.255" }, nil },
    { "an INFORM that asks for an address and names another server", "INFORM",
      { requested_address = "10.0.0.50", server_id = OTHERS }, { ciaddr = "10.0.0.200" }, "ACK" },
    { "a message of an unknown kind", 42, {}, {}, nil },
    { "a message of no kind", nil, {}, { op = 1 }, nil },
    { "a message with a kind of no octets", nil, { [53] = "" }, { op = 1 }, nil },
  } do
    local what, kind, options, fields, expected = unpack(case, 1, 5)
    it(("answers %s with %s"):format(what, expected or "silence, and counts it"), function()
      local server = new()
      local ignored = server.counters.ignored
      assert.equal(expected, says(server, message(kind, A, options, fields)))
      local is_others = options.server_id == ANY -- then it is not for us, and nothing is wrong
      assert.equal((expected or is_others) and ignored or ignored + 1, server.counters.ignored)
      assert.equal(1, server:bound())
    end)
  end

  for what, raw in pairs {
    ["in the usual order"] = "\1\3abc\2\3xyz",
    ["the remote one first"] = "\2\3xyz\1\3abc",
    ["two of one kind (RFC 4243)"] = "\1\3abc\9\3\0\0\9\9\3\0\0\10",
    ["authenticated (RFC 4030)"] = "\9\2aa\1\1c\8\3sig",
    ["with zeros behind"] = "\1\3abc\0\0",
    ["with more zeros"] = "\1\3abc\0\0\0\0\0\0",
    ["with a stray byte"] = "\1\3abc\0",
    ["cut short"] = "\1\9abc",
    ["empty"] = "",
    ["that are none"] = "\0",
    ["as many as fit"] = "\2\1r\1\250" .. ("x"):rep(250),
  } do
    it("returns what relay agents say as it came (RFC 3046 2.2), sub-options " .. what, function()
      local server = new()
      for _, request in ipairs {
        message("DISCOVER", A, { [82] = raw }), message("REQUEST", A, { requested_address = "10.0.0.10", [82] = raw }),
        message("REQUEST", A, { requested_address = "10.0.0.77", [82] = raw }),
        message("INFORM", A, { [82] = raw }, { ciaddr = "10.0.0.10" }),
      } do
        assert.equal(raw, raw_option(dhcp4.build(server:answer(request, "")), 82))
      end
    end)
  end

  it("returns client identifiers as they came (RFC 6842 3), and relay agents nothing that they did not say", function()
    for _, raw in ipairs { "", "x", "\1\2\0\0\0\0\10", ("\0"):rep(255) } do
      local sent = dhcp4.build(new():answer(message("DISCOVER", A, { [61] = raw }), ""))
      assert.same({ raw }, { raw_option(sent, 61), raw_option(sent, 82) })
    end
    assert.is_nil(raw_option(dhcp4.build(new():answer(message("DISCOVER", A), "")), 61))
  end)

  it("returns in the same parts what came in several", function()
    local request = dhcp4.build { op = 1, chaddr = A, pad = false, options = { message_type = "DISCOVER" } }
    for _, parts in ipairs { "\61\2ab\61\2cd", "\82\3\1\1c\82\3\2\1r", "\82\0\82\3\1\1c" } do
      local message_of_parts = assert(dhcp4.parse(request:sub(1, -2) .. parts .. "\255"))
      local sent = dhcp4.build(new():answer(message_of_parts, ""))
      assert.is_truthy(sent:find(parts, 241, true))
    end
  end)

  it("is told at once of options that cannot be sent, or that it says itself", function()
    local function refused(words, options, more)
      local opts = { pool = "10.0.0.10-10.0.0.20", options = options }
      for name, value in pairs(more or {}) do opts[name] = value end
      helper.raises(words, dhcp4_server.new, opts)
    end
    refused('bad DHCP option routers { ip = "10.0.0.1" }: a table with at least', { routers = { ip = "10.0.0.1" } })
    refused('unknown DHCP option "router", did you mean "routers"?', { router = "10.0.0.1" })
    refused("bad DHCP option interface_mtu 70000: 0 to 65535 is allowed", { interface_mtu = 70000 })
    refused('bad option "message_type" of a DHCP server: it says this one itself', { message_type = "ACK" })
    refused('bad option "82" of a DHCP server', { [82] = "\1\1c" })
    refused('bad DHCP option dns_servers { ip = "10.0.0.1" }: ', nil, { dns = { ip = "10.0.0.1" } })
    refused('bad IP address "10.0.0"', nil, { router = "10.0.0" })
    refused('bad IP address "24"', nil, { mask = "24" })
  end)

  it("says options by code instead of its own of the same name", function()
    local server = dhcp4_server.new { pool = "10.0.0.10-10.0.0.20", options = { [3] = "\10\0\0\9", [51] = "\0\0",
      domain_name = "x" } }
    local sent = dhcp4.build(server:answer(message("DISCOVER", A), ""))
    assert.same({ "\10\0\0\9", "\0\0", "x", "\255\0\0\0" }, { raw_option(sent, 3), raw_option(sent, 51),
      raw_option(sent, 15), raw_option(sent, 1) })
  end)

  it("takes no release and no decline that is meant for another server", function()
    local server = new()
    for _, server_id in ipairs { OTHERS, ANY } do
      says(server, message("RELEASE", A, { server_id = server_id }, { ciaddr = "10.0.0.10" }))
      says(server, message("DECLINE", A, { server_id = server_id, requested_address = "10.0.0.10" }))
    end
    says(server, message("RELEASE", A, { [54] = "\10" }, { ciaddr = "10.0.0.10" }))
    assert.same({ 1, 5 }, { server:bound(), server.counters.ignored })
  end)

  it("is silent about addresses of its network that it does not give, and refuses those of others", function()
    local server = new()
    assert.is_nil(says(server, message("REQUEST", "02:00:00:00:00:0c", { requested_address = "10.0.77.7" })))
    assert.equal("NAK", says(server, message("REQUEST", "02:00:00:00:00:0c", { requested_address = "10.1.77.7" })))
  end)

  it("survives every kind of message with every field missing or odd", function()
    local server, answered = new(), 0
    local ids = { {}, { server_id = OWN }, { server_id = OTHERS }, { server_id = ANY }, { [54] = "" },
      { [54] = "\10" } }
    local wanted = { {}, { requested_address = "10.0.0.10" }, { requested_address = "10.0.0.11" },
      { requested_address = ANY }, { requested_address = "255.255.255.255" }, { [50] = "" }, { [50] = "\1\2\3\4\5" } }
    local addresses = { ANY, "10.0.0.10", "255.255.255.255", "127.0.0.1", OWN }
    for kind = 0, 14 do
      each({ { A, B }, ids, wanted, addresses, addresses }, function(mac, id, want, ciaddr, giaddr)
        local options = { client_id = mac == B and "" or nil, relay_agent = { circuit_id = "c" } }
        for _, more in ipairs { id, want } do
          for name, value in pairs(more) do options[name] = value end
        end
        local request = message(kind, mac, options, { ciaddr = ciaddr, giaddr = giaddr, op = 1 })
        for _, source in ipairs { ANY, ciaddr } do
          if says(server, request, source) then answered = answered + 1 end
        end
      end)
    end
    assert.is_true(answered > 1000)
  end)
end)
