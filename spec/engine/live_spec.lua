-- el_live: that it counts every object of the engine which exists, and none that was freed.

local ffi = require "ffi"
local effi = require "etherlua.core.ffi"

local C = effi.C

-- How many more there are than before, in the order of the struct's members.
local function counted(before)
  local live = ffi.new "struct el_live"
  C.el_live(live)
  if not before then return live end
  local more = {}
  for _, name in ipairs { "engines", "relays", "conns", "udps", "taps" } do
    more[#more + 1] = tonumber(live[name] - before[name])
  end
  return more
end

describe("el_live", function()
  it("counts engines, relays, EtherConns, RUDPConns and taps, until they are freed", function()
    local before, err = counted(), ffi.new "char[256]"
    local engine = C.el_engine_open()
    assert.same({ 1, 0, 0, 0, 0 }, counted(before))
    local pair = ffi.new "struct el_relay *[2]"
    assert.equal(0, C.el_wire_open(engine, ffi.new "struct el_relay_opts", pair, err))
    assert.same({ 1, 2, 0, 0, 0 }, counted(before))
    local conn = C.el_conn_open(pair[0], ffi.new("struct el_conn_opts", { id = 1 }), err)
    local udp = C.el_udp_open(conn, ffi.new("struct el_udp_opts", { id = 2 }), err)
    local tap = C.el_tap_open(pair[0], 0, 3)
    assert.same({ 1, 2, 1, 1, 1 }, counted(before))
    C.el_engine_close(engine) -- closes relays and what is on them; those structs are the caller's
    assert.same({ 0, 0, 1, 1, 1 }, counted(before))
    C.el_tap_free(tap)
    C.el_udp_free(udp)
    C.el_conn_free(conn)
    assert.same({ 0, 0, 0, 0, 0 }, counted(before))
  end)

  it("counts no tap that could not be opened", function()
    local engine, err = C.el_engine_open(), ffi.new "char[256]"
    local pair = ffi.new "struct el_relay *[2]"
    assert.equal(0, C.el_wire_open(engine, ffi.new "struct el_relay_opts", pair, err))
    local tap, before = C.el_tap_open(pair[0], 0, 1), counted()
    assert.is_true(C.el_tap_open(pair[0], 0, 2) == nil)
    assert.same({ 0, 0, 0, 0, 0 }, counted(before))
    C.el_tap_free(tap)
    C.el_engine_close(engine)
  end)
end)
