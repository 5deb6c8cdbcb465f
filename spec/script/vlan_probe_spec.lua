-- On which VLANs somebody answers: the script against hosts that another process makes, and the lab's gateway.

local lab = require "etherlua.lab.lab"
local program = require "support.program"

-- Hosts of one relay, by the VLAN stack on which they are asked and the one with which they answer: 10.0.0.1 by ARP,
-- and a DHCP server. A leak is broadcast on one VLAN and sent to who asked on another.
local HOSTS = [[
  local arp, dhcp4 = require "etherlua.proto.arp", require "etherlua.proto.dhcp4"
  local ether = require "etherlua"
  local ipv4, udp = require "etherlua.proto.ipv4", require "etherlua.proto.udp"
  local ARP = { ["5"] = "5", ["100.8"] = "100.8", ["9"] = "10", ["11"] = "300" }
  local DHCP = { ["5"] = "5", ["7"] = "7", ["8"] = "9" }
  local relay = ether.relay()
  local heard, own = relay:default_conn(), "02:bb:00:00:00:01"
  local conn = relay:conn { mac = own }
  local function answer_arp(request, vlans)
    if not vlans or request.tpa ~= "10.0.0.1" then return end
    local to = vlans == "10" and "ff:ff:ff:ff:ff:ff" or request.sha
    conn:send(arp.build { op = 2, sha = own, spa = request.tpa, tha = request.sha, tpa = request.spa }, to,
      { vlans = vlans, ethertype = 0x0806 })
  end
  local function answer_dhcp(packet, vlans)
    local request = vlans and dhcp4.parse(udp.parse(packet.payload).payload)
    if not request then return end
    assert(request.options.message_type == "DISCOVER")
    local ends = { src = "10.0.0.2", dst = "255.255.255.255" }
    local offer = dhcp4.build { xid = request.xid, chaddr = request.chaddr, yiaddr = "10.0.0.50",
      options = { message_type = "OFFER", server_id = "10.0.0.2" } }
    conn:send(ipv4.build { src = ends.src, dst = ends.dst, protocol = 17,
      payload = udp.build({ src_port = 67, dst_port = 68, payload = offer }, ends) },
      vlans == "9" and "ff:ff:ff:ff:ff:ff" or request.chaddr, { vlans = vlans })
  end
  print "ready"
  io.stdout:flush()
  while true do
    local frame = heard:recv_frame()
    local vlans = tostring(frame.vlans)
    if frame.ethertype == 0x0806 then
      answer_arp(arp.parse(frame.body), ARP[vlans])
    else
      answer_dhcp(ipv4.parse(frame.body), DHCP[vlans])
    end
  end
]]

local HOST = "02:bb:00:00:00:01"

describe("vlan_probe", function()
  local reason = lab.root()
  reason = not reason and "needs root" or nil
  local net, near, hosts

  setup(function()
    if reason then return end
    net = lab.new()
    near, hosts = net.near, program.start_script(net.far, HOSTS)
  end)

  teardown(function()
    if hosts then hosts.close() end
    if net then net:close() end
  end)

  local function root_it(name, fn)
    it(name, function()
      if reason then return pending(reason) end
      fn()
    end)
  end

  local function probe(arguments)
    local status, said, text = program.json(near, "vlan_probe --json --timeout 0.3 --retry 0 " .. arguments)
    local rows = {}
    for i = 1, #said - 1 do
      local row = said[i]
      local leak = type(row.came_with) == "string" and " came with " .. row.came_with or ""
      rows[i] = ("%s %s %s %s%s"):format(row.vlans, row.protocol, row.ip, row.mac, leak)
    end
    return status, rows, said[#said], text
  end

  for _, kind in ipairs { "afpacket", "pcap", "xdp" } do
    root_it("tells who answers ARP, on which VLAN, and leaks, over " .. kind, function()
      local status, rows, summary, text = probe("-i " .. kind .. ":eth0 --vlan-range 1-20 --arp 10.0.0.1-10.0.0.2")
      assert.same({ 0, { "5 arp 10.0.0.1 " .. HOST, "9 arp 10.0.0.1 " .. HOST .. " came with 10",
        "11 arp 10.0.0.1 " .. HOST .. " came with 300" } }, { status, rows }, text)
      assert.same({ 20, 3, 2, 40 }, { summary.vlan_stacks, summary.answered, summary.leaks,
        summary.sent })
    end)

    root_it("tells who answers DHCP, on which VLAN, and leaks, over " .. kind, function()
      local status, rows, summary, text = probe("-i " .. kind .. ":eth0 --vlan-range 1-20")
      assert.same({ 0, { "5 dhcp 10.0.0.2 " .. HOST, "7 dhcp 10.0.0.2 " .. HOST,
        "8 dhcp 10.0.0.2 " .. HOST .. " came with 9" } }, { status, rows }, text)
      assert.same({ 3, 1, 20 }, { summary.answered, summary.leaks, summary.sent })
    end)
  end

  root_it("does both, behind two tags, and in words", function()
    local status, rows, _, text = probe "-i eth0 --vlan-range 99-101.7-9 --arp 10.0.0.1 --dhcp"
    assert.same({ 0, { "100.8 arp 10.0.0.1 " .. HOST } }, { status, rows }, text)
    local _, _, words = program.json(near, "vlan_probe -i eth0 --timeout 0.2 --vlan-range 5-9 --arp 10.0.0.1 --dhcp")
    assert.is_truthy(words:find("\n5 +dhcp 10.0.0.2 +" .. HOST .. " +[%d.]+ ms  offers 10.0.0.50\n"), words)
    assert.is_truthy(words:find("\n9 +arp  10.0.0.1 +" .. HOST .. " +[%d.]+ ms  LEAK: answered VLAN 10\n"), words)
    assert.is_truthy(words:find("\nanswers for 4 of 5 VLAN stacks in ", 1, true), words)
  end)

  root_it("ends with status 3 when nobody answers", function()
    local status, rows, summary, text = probe "-i eth0 --vlan-range 200-210 --arp 10.0.0.1 --dhcp"
    assert.same({ 3, {}, 0, 22 }, { status, rows, summary.answered, summary.sent }, text)
  end)

  for _, kind in ipairs { "afpacket", "xdp" } do
    root_it("asks on all 4094 VLANs of the lab, over " .. kind, function()
      local status, rows, summary, text = probe("--lab -i " .. kind .. " --rate 4000 --arp 10.0.0.1 --dhcp --retry 1")
      assert.same({ 0, 8188, 4094, 0, 0 }, { status, #rows, summary.answered, summary.leaks, summary.unsent },
        text:sub(-300))
    end)
  end

  it("says in one line what is wrong with its options", function()
    program.assert_refused("vlan_probe", {
      ["--vlan-range 4095"] = "bad VLAN ID 4095: 0 to 4094 is allowed",
      ["--vlan-range x"] = 'bad VLAN range "x"',
      ["--arp 10.0.0"] = 'bad IP address "10.0.0"',
      ["--arp ::1"] = 'bad addresses "::1": IPv4 alone is possible',
      ["--arp 10.0.0.1 --vlan-range 1-4094.1-4094"] = "16760836 VLAN stacks are too many",
      ["--dhcp --vlan-range 1-4094.1-4094"] = "DISCOVERs (VLAN stacks times tries) are too many",
      ["--dhcp"] = "no relay: give -i SPEC",
    })
  end)
end)
