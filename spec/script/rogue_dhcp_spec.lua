-- Finding DHCP servers: the role on a wire against servers that lie, the script against dnsmasq and Kea.

local addr = require "etherlua.net.addr"
local dhcp4 = require "etherlua.proto.dhcp4"
local dhcp4_discover = require "etherlua.role.dhcp4_discover"
local ether = require "etherlua"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local misuse = require "etherlua.core.misuse"
local sched = require "etherlua.core.sched"
local program = require "support.program"
local servers = require "etherlua.test.servers"
local test_lab = require "etherlua.test.lab"
local vlan_range = require "etherlua.net.vlan_range"

local MAC, SERVER, OTHER = "02:00:00:00:ff:ff", "02:dd:00:00:00:01", "02:dd:00:00:00:02"
local BROADCAST = "ff:ff:ff:ff:ff:ff"

-- ---- the role -----------------------------------------------------------------------------------------------------

-- Runs a search on a wire. answer(request, offer, vlans) is called with each DISCOVER at the far end; offer(fields,
-- opts) sends one: fields over those of a right one; opts: to, vlans, from (MAC address), bytes (function that builds).
local function searching(opts, answer, fn)
  kinds.run_apart(function()
    local a, b = ether.wire()
    local heard = b:default_conn():udp("0.0.0.0:67")
    local one = b:conn { mac = SERVER, ethertypes = { 0x0800 } }
    local raw = require "support.frames"
    sched.spawn_background(function()
      while true do
        local frame = heard:recv_frame()
        if not frame then return end
        local request, vlans = assert(dhcp4.parse(frame.body)), frame.vlans
        answer(request, function(fields, more)
          local all = { op = 2, xid = request.xid, chaddr = request.chaddr, yiaddr = "10.0.0.50",
            options = { message_type = "OFFER", server_id = "10.0.0.1", lease_time = 60 } }
          for name, value in pairs(fields or {}) do all[name] = value end
          more = more or {}
          one:send(raw.udp { src = "10.0.0.1", dst = "255.255.255.255", src_port = 67, dst_port = 68,
            payload = (more.bytes or dhcp4.build)(all) }, more.to or request.chaddr, { vlans = more.vlans or vlans,
            src_mac = more.from or SERVER })
        end, tostring(vlans))
      end
    end)
    opts.vlans, opts.mac = vlan_range.new(opts.vlans), MAC
    opts.rate, opts.timeout = 1e5, opts.timeout or 0.1
    local search = dhcp4_discover.new(a, opts)
    assert.is_true(search:run())
    fn(search)
    search:close()
    a:close()
    b:close()
  end)
end

describe("a search for DHCP servers", function()
  after_each(leaks.check)

  it("sends DISCOVERs from different hosts, and nothing else", function()
    local seen = {}
    searching({ tries = 2 }, function(request, offer)
      seen[#seen + 1] = request.options.message_type .. " " .. request.chaddr
      offer()
    end, function(search)
      assert.same({ "DISCOVER " .. MAC, "DISCOVER 02:00:00:01:00:00" }, seen)
      assert.same({ 1, 2, 1, 0 }, { #search:offers(), search.sent, search.repeated, search.ignored })
      local offer = search:offers()[1]
      assert.same({ "10.0.0.1", SERVER, "10.0.0.1", "10.0.0.50", 2, "" }, { offer.server_id, offer.mac, offer.source,
        offer.ip, offer.count, offer.vlans })
    end)
  end)

  it("hears offers that are broadcast, to any of its hosts", function()
    searching({ tries = 2, vlans = "100-101" }, function(_, offer) offer({}, { to = BROADCAST }) end, function(search)
      assert.same({ 2, 2, 2, nil }, { #search:offers(), search:offers()[1].count, search:offers()[2].count,
        search:offers()[1].came_with })
    end)
  end)

  it("tells servers apart by identifier, MAC address, relay agent and VLAN stack", function()
    searching({ vlans = "100-101" }, function(_, offer, vlans)
      offer()
      offer({}, { from = OTHER })
      offer { giaddr = "10.0.0.7" }
      offer { options = { message_type = "OFFER", server_id = "10.0.0.2" } }
      if vlans == "101" then offer { options = { message_type = "OFFER" } } end
    end, function(search)
      assert.equal(9, #search:offers())
      local relays = 0
      for _, one in ipairs(search:offers()) do relays = relays + (one.relay == "10.0.0.7" and 1 or 0) end
      assert.equal(2, relays)
    end)
  end)

  it("takes an offer with a tag of VID 0 for one of the VLAN that was asked", function()
    searching({ vlans = "100-101" }, function(_, offer, vlans)
      offer({}, { vlans = vlans .. ".0" })
    end, function(search)
      assert.same({ 2, nil, nil }, { #search:offers(), search:offers()[1].came_with, search:offers()[2].came_with })
    end)
  end)

  it("tells offers that come with another VLAN stack as leaks", function()
    searching({ vlans = "100-101" }, function(_, offer, vlans)
      if vlans ~= "100" then return end
      offer({}, { vlans = "101", to = BROADCAST })
      offer({}, { vlans = "300" })
      offer({}, { vlans = { { vid = 100, tpid = 0x88a8 } } })
    end, function(search)
      local came = {}
      for i, one in ipairs(search:offers()) do came[i] = one.vlans .. " " .. one.came_with end
      table.sort(came)
      assert.same({ "100 101", "100 300", "100 88a8:100" }, came)
    end)
  end)

  it("ignores and counts what is no offer to it", function()
    searching({}, function(request, offer)
      for _, fields in ipairs { { op = 1 }, { xid = (request.xid + 1) % 2 ^ 32 }, { xid = 0 }, { chaddr = OTHER },
        { options = { message_type = "ACK", server_id = "10.0.0.1" } },
        { options = { message_type = "NAK", server_id = "10.0.0.1" } }, { options = {} } } do
        offer(fields)
      end
    end, function(search)
      assert.same({ 0, 7 }, { #search:offers(), search.ignored })
    end)
  end)

  it("names a server by the first of several identifiers, and hears it without its end option", function()
    searching({}, function(_, offer)
      offer({ options = { message_type = "OFFER", [54] = "\10\0\0\1\10\0\0\9", [51] = "\0\0\0\9\0\0\0\8" },
        pad = false }, { bytes = function(fields) return dhcp4.build(fields):sub(1, -2) end })
    end, function(search)
      local one = search:offers()[1]
      assert.same({ "10.0.0.1", 9, {} }, { one.server_id, one.options.lease_time, search:summary().misread })
    end)
  end)

  it("says how many offers it did not understand, and why", function()
    searching({}, function(_, offer)
      offer({ pad = false }, { bytes = function(fields) return dhcp4.build(fields):sub(1, -2) .. "\15\20ab" end })
    end, function(search)
      assert.same({ 0, 1, { ["dhcp4: option 15 is cut short"] = 1 } }, { #search:offers(), search.ignored,
        search:summary().misread })
    end)
  end)

  it("keeps a bounded number of offers", function()
    local OFFERS = 10300
    searching({ timeout = 5 }, function(_, offer)
      for i = 1, OFFERS do
        offer({}, { from = addr.mac_add(OTHER, i) })
        if i % 100 == 0 then ether.sleep(0) end
      end
    end, function(search)
      assert.same({ 10000, OFFERS - 10000 }, { #search:offers(), search.unlisted })
    end)
  end)

  it("refuses what is too large", function()
    local a, b = ether.wire()
    local ok, reason = pcall(dhcp4_discover.new, a, { vlans = vlan_range.new "1-4000.1-100", mac = MAC })
    assert.same({ false, "400000 DISCOVERs (VLAN stacks times tries) are too many: up to 200000 are possible" },
      { ok, misuse.words(reason) })
    a:close()
    b:close()
  end)
end)

-- ---- the script ---------------------------------------------------------------------------------------------------

describe("rogue_dhcp", function()
  local reason = select(2, lab.root()) or servers.missing "dnsmasq"
  local net, client, good, rogue

  local function start(host, ip, args)
    return net:start("dnsmasq", host, { address = ip .. "/24", pool = "10.0.0.100-10.0.0.200", dns = "192.0.2.53",
      args = args })
  end

  setup(function()
    if reason then return end
    net = test_lab.new { switch = { "client", "one", "two" } }
    client = net:host "client"
    good = start("one", "10.0.0.1")
    rogue = start("two", "10.0.0.66", { "--dhcp-option=252,http://10.0.0.66/wpad.dat", "--domain=evil.example" })
  end)

  teardown(function()
    if net then net:close() end
  end)

  local function root_it(name, fn)
    it(name, function()
      if reason then return pending(reason) end
      fn()
    end)
  end

  local function mac_of(host)
    return net:host(host):run("ip link show dev eth0"):match("ether (%S+)")
  end

  root_it("finds both of two servers, and what they offer, and leases nothing", function()
    local status, said, text = program.json(client, "rogue_dhcp --json -i eth0 --wait 1")
    assert.equal(0, status, text)
    assert.same({ "10.0.0.1", "10.0.0.66", 2 }, { said[1].server, said[2].server, said[3].servers })
    assert.same({ mac_of "one", mac_of "two" }, { said[1].mac, said[2].mac })
    local two = said[2]
    assert.same({ "10.0.0.66", "255.255.255.0", "10.0.0.66", "192.0.2.53", 3600, 2 }, { two.source, two.mask,
      two.routers, two.dns, two.lease_time, two.offers })
    assert.matches("^10%.0%.0%.[12]%d%d$", two.ip)
    assert.is_truthy(two.more:find('domain_name="evil.example" 252="http://10.0.0.66/wpad.dat"', 1, true), two.more)
    for _, server in ipairs { good, rogue } do
      assert.is_truthy(server:log():find("DHCPOFFER", 1, true))
      assert.is_nil(server:log():find("DHCPREQUEST", 1, true), server:log())
      assert.is_nil(server:log():find("DHCPACK", 1, true))
    end
  end)

  root_it("judges by address, MAC address, or both", function()
    local one, two = mac_of "one", mac_of "two"
    for allow, expected in pairs {
      ["--allow 10.0.0.1"] = { 3, 1 },
      ["--allow 10.0.0.1 --allow 10.0.0.66"] = { 0, 0 },
      ["--allow " .. one .. " --allow 10.0.0.66/" .. two:upper()] = { 0, 0 },
      ["--allow 10.0.0.1/" .. two .. " --allow 10.0.0.66"] = { 3, 1 },
      ["--allow 10.0.0.9"] = { 3, 2 },
    } do
      local status, said, text = program.json(client, "rogue_dhcp --json -i eth0 --tries 1 --wait 0.5 " .. allow)
      assert.same(expected, { status, said[#said].refused }, allow .. "\n" .. text)
    end
  end)

  root_it("says in words who may not", function()
    local status, _, text = program.json(client, "rogue_dhcp -i eth0 --tries 1 --wait 0.5 --allow 10.0.0.1")
    assert.equal(3, status)
    assert.is_truthy(text:find("untagged  server 10.0.0.66  mac " .. mac_of "two" .. "  from 10.0.0.66  NOT ALLOWED\n",
      1, true), text)
    assert.is_truthy(text:find("from 10.0.0.1  allowed\n", 1, true), text)
    assert.is_truthy(text:find("\n  1 of them not allowed\n", 1, true), text)
  end)

  for _, kind in ipairs { "pcap", "xdp" } do
    root_it("works over " .. kind .. ", and with offers that are broadcast", function()
      for _, more in ipairs { "", " --broadcast" } do
        local status, said, text = program.json(client, ("rogue_dhcp --json --tries 1 --wait 0.5 -i %s:eth0%s")
          :format(kind, more))
        assert.same({ 0, 2 }, { status, said[#said].servers }, text)
      end
    end)
  end

  root_it("finds Kea, and an option that it gives", function()
    local missing = servers.missing "kea-dhcp4"
    if missing then return pending(missing) end
    local other = test_lab.new()
    other:start("kea", "far", { address = "10.0.0.1/24", pool = "10.0.0.10-10.0.0.20",
      options = { { name = "boot-file-name", data = "evil\27[2J.bin" } } })
    local status, said, text = program.json(other:host "near", "rogue_dhcp --json -i eth0 --tries 1 --wait 1")
    other:close()
    assert.same({ 0, "10.0.0.1" }, { status, said[1].server }, text)
    assert.is_truthy(said[1].more:find('bootfile="evil\\027[2J.bin"', 1, true), said[1].more)
  end)

  root_it("works in the lab, on each VLAN of a range", function()
    local status, said, text = program.json(client, "rogue_dhcp --json --lab --vlan 100-101.7 --tries 1 --wait 0.3")
    assert.same({ 0, "100.7", "101.7", 2 }, { status, said[1].vlans, said[2].vlans, said[3].servers }, text)
  end)

  root_it("says that nobody offers, with status 3", function()
    local empty = lab.new()
    local status, _, text = program.json(empty.near, "rogue_dhcp -i eth0 --tries 1 --wait 0.1 --allow 10.0.0.1")
    empty:close()
    assert.equal(3, status)
    assert.is_truthy(text:find("\n  no server offers an address\n", 1, true), text)
  end)

  root_it("tells on Ctrl-C what it has found so far", function()
    local status, said, text = program.json(client, "rogue_dhcp --json -i eth0 --wait 60", 2)
    assert.same({ 0, 2 }, { status, said[#said].servers }, text)
  end)

  it("says in one line what is wrong with its options", function()
    program.assert_refused("rogue_dhcp", {
      ["--allow 10.0.0.300"] = 'bad server "10.0.0.300": IP, MAC or IP/MAC is needed',
      ["--allow 10.0.0.1/02"] = 'bad server "10.0.0.1/02"',
      ["--allow ::1"] = 'bad server "::1"',
      ["--tries 0"] = 'bad value "0": a whole number from 1 to 1000',
      ["--vlan-range 1-4094.1-4094 -i lo"] = "DISCOVERs (VLAN stacks times tries) are too many",
      ["--tries 1"] = "no relay: give -i SPEC",
    })
  end)
end)
