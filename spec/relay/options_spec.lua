-- What the objects of the API say of options and members that nobody knows, at the line of who wrote them.

local ether = require "etherlua"
local kinds = require "support.kinds"
local leaks = require "support.leaks"
local told = require "support.told"

local MAC, TO = "02:00:00:00:00:01", "02:00:00:00:00:02"
local CONN = "ethertypes, fragment, mac, multicast, reassemble, recv_depth, vlans"

describe("the API", function()
  after_each(leaks.check)

  local function on_wire(name, fn)
    it(name, function()
      kinds.run_apart(function() fn((ether.wire())) end)
    end)
  end

  on_wire("refuses an option of an EtherConn that nobody knows: vlan = 100 never means untagged", function(relay)
    told(function() relay:conn { mac = MAC, vlan = 100 } end,
      'unknown option "vlan" of relay:conn, did you mean "vlans"? known are: ' .. CONN)
    told(function() relay:conn { mac = MAC, multicats = true } end,
      'unknown option "multicats" of relay:conn, did you mean "multicast"? known are: ' .. CONN)
    told(function() relay:default_conn { miror = true } end,
      'unknown option "miror" of relay:default_conn, did you mean "mirror"? known are: invalid, mirror, recv_depth')
  end)

  on_wire("refuses an option of a send or a RUDPConn that nobody knows", function(relay)
    local conn = relay:conn { mac = MAC }
    told(function() conn:send("x", TO, { srcmac = MAC, ethertype = 0x88b5 }) end,
      'unknown option "srcmac" of conn:send, did you mean "src_mac"? known are: ethertype, src_mac, timeout, vlans')
    told(function() conn:udp("10.0.0.1:1", { acceptany = true }) end, 'unknown option "acceptany" of conn:udp, did ' ..
      'you mean "accept_any"? known are: accept_any, checksum, recv_depth, resolve, tos, ttl')
    local udp = conn:udp "10.0.0.1:1"
    told(function() udp:send("x", "10.0.0.2:2", { to = "x" }) end,
      'unknown option "to" of udp:send: known are: from, mac, timeout')
  end)

  on_wire("refuses options instead of a MAC address, and says what belongs there", function(relay)
    assert.error_matches(function() relay:conn { mac = MAC }:send("x", { src_mac = MAC }) end,
      'bad MAC address "table: [^"]*": six pairs of hex digits are needed')
  end)

  on_wire("refuses values that cannot be", function(relay)
    told(function() relay:conn { mac = MAC, vlans = { { vid = 100, tpd = 0x88a8 } } } end,
      'unknown option "tpd" of a VLAN tag, did you mean "tpid"? known are: dei, pcp, tpid, vid')
    told(function() relay:conn { mac = MAC, recv_depth = 0 } end, "bad recv_depth 0: a whole number from 1 is needed")
    told(function() relay:conn { mac = MAC, fragment = 1 } end, "bad fragment 1: true or false is allowed")
    told(function() relay:conn { mac = MAC, multicast = "ALL" } end,
      'bad multicast ALL: false, true or "all" is allowed')
    told(function() relay:conn { mac = MAC, ethertypes = 0x0800 } end,
      "bad ethertypes 2048: a list of EtherTypes is needed")
    told(function() relay:conn(5) end, "bad options 5 of relay:conn: a table is needed")
  end)

  on_wire("knows its members: a typo is an error with a suggestion", function(relay)
    local conn = relay:conn { mac = MAC }
    told(function() conn:snd("x") end, 'unknown member "snd" of an EtherConn, did you mean "send"? known are: ' ..
      "answer, close, frames, is_open, mac, ready, recv, recv_frame, relay, send, stats, udp, unwatch, vlans, watch")
    told(function() return conn:udp("10.0.0.1:1").reciev end, 'unknown member "reciev" of a RUDPConn, did you mean ' ..
      '"recv"? known are: addr, close, conn, connect, frames, is_open, ready, recv, recv_frame, send, set_addr, ' ..
      "stats, unwatch, watch")
  end)

  it("has loops over all frames, which end when the endpoint is closed, by itself or by another", function()
    kinds.run_apart(function()
      local a, b = ether.wire()
      local sender, reader, seen = a:conn { mac = TO }, b:conn { mac = MAC, ethertypes = {} }, {}
      for i = 1, 3 do sender:send(tostring(i), MAC, { ethertype = 0x88b5 }) end
      ether.spawn(function()
        ether.sleep(0.01)
        reader:close()
      end)
      for frame in reader:frames() do seen[#seen + 1] = frame.body end
      assert.same({ "1", "2", "3" }, seen)
      for _ in reader:frames() do error "a closed endpoint has no frames" end
    end)
  end)
end)
