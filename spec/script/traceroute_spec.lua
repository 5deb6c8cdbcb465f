-- Traceroute, through kernels that route: it finds what Debian's traceroute finds, and believes no forged answers.

local cjson = require "cjson"
local ether = require "etherlua"
local extensions = require "etherlua.proto.icmp_extensions"
local kinds = require "support.kinds"
local lab = require "etherlua.lab.lab"
local leaks = require "support.leaks"
local neighbour = require "etherlua.host.neighbour"
local pcap = require "support.pcap"
local program = require "support.program"
local proto = require "etherlua.proto"
local root_it = require "support.root_it"
local routed = require "support.routed"
local sched = require "etherlua.core.sched"
local shell = require "support.shell"
local traceroute = require "etherlua.role.traceroute"
local wait = require "support.wait"

local ME, TARGET, ROUTER, MAC, MAC2 = "10.0.0.1", "192.0.2.7", "10.0.0.254", "02:00:00:00:00:01", "02:00:00:00:00:02"

-- ---- the role, on a wire ------------------------------------------------------------------------------------------

-- Runs a trace; answers_to(packet, i), told of each packet of it, returns messages { from, fields } to send back.
local function trace_with(opts, answers_to)
  local hops, result, sent = {}, nil, {}
  kinds.run_apart(function()
    local relay, other = ether.wire()
    local far = other:conn { mac = MAC2 }
    neighbour.of(far):claim(ROUTER)
    sched.spawn_background(function()
      while true do
        local whole = far:recv()
        if not whole then return end
        local packet = proto.ipv4.parse(whole)
        if packet then
          sent[#sent + 1] = packet
          for _, one in ipairs(answers_to(whole, packet, #sent) or {}) do
            far:send(proto.ipv4.build { src = one[1], dst = ME, protocol = 1, payload = proto.icmp.build(one[2]) }, MAC)
          end
        end
      end
    end)
    local host = relay:host { mac = MAC, ip = ME .. "/24", gateway = ROUTER }
    local trace = traceroute.new(host, TARGET, opts)
    local done, reason = trace:run(function(hop) hops[#hops + 1] = hop end)
    assert.same({ true, nil }, { done, reason })
    result = { trace:summary().reached }
    trace:close()
  end)
  return hops, result, sent
end

local function error_about(whole, kind, code, more)
  local fields = { type = kind, code = code, payload = whole:sub(1, 28) }
  for name, value in pairs(more or {}) do fields[name] = value end
  return fields
end

describe("role.traceroute", function()
  after_each(leaks.check)

  it("has each of its packets under a port and identification of its own, no more of them at once than allowed",
    function()
      local hops, result, sent = trace_with({ max_ttl = 4, tries = 2, timeout = 0.1, window = 3 }, function() end)
      assert.same({ 4, false, 8 }, { #hops, result[1], #sent })
      for i, packet in ipairs(sent) do
        local datagram = proto.udp.parse(packet.payload)
        assert.same({ math.floor((i + 1) / 2), i, 33433 + i, 32 }, { packet.ttl, packet.identification,
          datagram.dst_port, #datagram.payload })
      end
      for ttl, hop in ipairs(hops) do assert.same({ ttl = ttl, answers = {}, reached = false }, hop) end
    end)

  it("ignores errors that quote something else, of which a hostile host may send any number", function()
    local id = proto.icmp.build { type = 8, identifier = 1, sequence = 1 }
    for _, by_icmp in ipairs { false, true } do
      local opts = { max_ttl = 1, tries = 1, timeout = 0.2, icmp = by_icmp }
      local hops, result = trace_with(opts, function(whole, packet)
        local list = {}
        local function forge(fields, payload)
          local forged = {}
          for name, value in pairs(packet) do forged[name] = value end
          for name, value in pairs(fields) do forged[name] = value end
          forged.header_checksum, forged.total_length, forged.payload = nil, nil, payload or packet.payload
          list[#list + 1] = { "10.0.0.66", error_about(proto.ipv4.build(forged), 3, by_icmp and 1 or 3) }
        end
        forge { src = "10.0.0.2" }
        forge { dst = "192.0.2.8" }
        forge { protocol = 6 }
        forge({}, ("\0"):rep(8))
        forge({}, packet.payload:sub(1, 7))
        forge({}, by_icmp and id or proto.udp.build({ src_port = 1, dst_port = 33434 }, packet))
        for _, cut in ipairs { 0, 1, 19, 20, 27 } do
          list[#list + 1] = { "10.0.0.66", { type = 11, code = 0, payload = whole:sub(1, cut) } }
        end
        list[#list + 1] = { "10.0.0.66", error_about(whole, 11, 1) } -- in reassembly
        list[#list + 1] = { "10.0.0.66", error_about(whole, 5, 1, { gateway = "10.0.0.66" }) }
        list[#list + 1] = { "10.0.0.66", { type = 0, identifier = 1, sequence = 1 } }
        return list
      end)
      assert.same({ { { ttl = 1, answers = {}, reached = false } }, { false } }, { hops, result })
    end
  end)

  it("ends at whatever moment the last packet is late", function()
    kinds.run_apart(function()
      local relay, other = ether.wire()
      local host = relay:host { mac = MAC, ip = ME .. "/24", gateway = ROUTER }
      other:host { mac = "02:00:00:00:00:09", ip = ROUTER .. "/24" }
      for i = 1, 500 do
        local trace = traceroute.new(host, { target = TARGET, max_ttl = 2, tries = 2, timeout = i * 2e-7 })
        local task = ether.spawn(trace.run, trace)
        assert.is_true(task:join(5), "it waits for ever")
        trace:close()
      end
    end)
  end)

  it("tells the extensions of an error, such as MPLS labels", function()
    local objects = { { class = 1, type = 1, labels = { { label = 16, traffic_class = 3, bottom = true, ttl = 1 } } } }
    local hops = trace_with({ tries = 1, max_ttl = 3, timeout = 0.1 }, function(whole, _, i)
      local length = i == 1 and 32 or 0 -- some do not say it
      return { { ROUTER, i == 3 and error_about(whole, 11, 0)
        or { type = 11, code = 0, rest = length * 0x10000, payload = extensions.build(whole, objects) } } }
    end)
    assert.same({ objects, objects }, { hops[1].answers[1].extensions, hops[2].answers[1].extensions })
    assert.same({ 3, nil }, { #hops, hops[3].answers[1].extensions })
  end)

  it("knows its own packet where who quotes it has changed the length", function()
    for _, length in ipairs { "\0\0", "\60\0", "\0\19" } do
      local hops = trace_with({ tries = 1, max_ttl = 1, timeout = 0.1 }, function(whole)
        return { { ROUTER, { type = 11, code = 0, payload = whole:sub(1, 2) .. length .. whole:sub(5, 28) } } }
      end)
      assert.equal(ROUTER, hops[1].answers[1].from)
    end
  end)

  it("says what kind of end it is, and goes no further", function()
    local marks = { { 3, 0, "!N" }, { 3, 1, "!H" }, { 3, 2, "!P" }, { 3, 4, "!F-1400", { next_hop_mtu = 1400 } },
      { 3, 5, "!S" }, { 3, 9, "!X" }, { 3, 10, "!X" }, { 3, 13, "!X" }, { 3, 14, "!V" }, { 3, 15, "!C" },
      { 3, 99, "!<99>" } }
    for _, mark in ipairs(marks) do
      local hops, result = trace_with({ tries = 1, window = 1, timeout = 1 }, function(whole, _, i)
        return { { ROUTER, i == 1 and error_about(whole, 11, 0) or error_about(whole, mark[1], mark[2], mark[4]) } }
      end)
      assert.same({ 2, false, mark[3] }, { #hops, result[1], hops[2].answers[1].mark })
    end
  end)

  it("is there at the first port unreachable or echo reply, and counts no answer twice", function()
    for _, by_icmp in ipairs { false, true } do
      local hops, result = trace_with({ icmp = by_icmp, tries = 2, timeout = 1 }, function(whole, packet)
        local passed = error_about(whole, 11, 0)
        if packet.ttl < 2 then return { { ROUTER, passed }, { "10.9.9.9", passed } } end
        local echo = proto.icmp.parse(packet.payload)
        return { { TARGET, by_icmp and { type = 0, identifier = echo.identifier, sequence = echo.sequence }
          or error_about(whole, 3, 3) } }
      end)
      assert.same({ 2, true }, { #hops, result[1] })
      assert.same({ false, true }, { hops[1].reached, hops[2].reached })
      for i = 1, 2 do
        assert.same({ ROUTER, TARGET }, { hops[1].answers[i].from, hops[2].answers[i].from })
        assert.is_true(hops[1].answers[i].rtt >= 0 and hops[1].answers[i].mark == nil)
      end
    end
  end)
end)

-- ---- the script ---------------------------------------------------------------------------------------------------

-- A router that says which labels a packet had, and, from the second hop on, something else.
local LABELLING = [[
local extensions, proto = require "etherlua.proto.icmp_extensions", require "etherlua.proto"
local conn = require("etherlua").open("eth0"):conn { mac = "02:00:00:00:00:02" }
require("etherlua.host.neighbour").of(conn):claim "10.0.0.254"
while true do
  local whole, from = conn:recv()
  local packet = whole and proto.ipv4.parse(whole)
  local objects = {
    { labels = { { label = 416240, ttl = 1 }, { label = 3, traffic_class = 5, bottom = true, ttl = 2 } } },
    packet and packet.ttl > 1 and { class = 2, type = 10, data = "ab" } or nil }
  if not whole then return end
  local message = proto.icmp.build { type = 11, rest = 32 * 0x10000, payload = extensions.build(whole, objects) }
  conn:send(proto.ipv4.build { src = "10.0.0.254", dst = packet.src, protocol = 1, payload = message }, from.mac)
end
]]

local reason = select(2, lab.root())

-- The lines without their times.
local function route_of(text)
  local lines = {}
  for line in text:gmatch "[^\n]+" do
    if line:match "^%s*%d+  " then lines[#lines + 1] = (line:gsub("  [%d.]+ ms", " t")) end
  end
  return table.concat(lines, "\n")
end

describe("the script traceroute", function()
  local net, client

  setup(function()
    if reason then return end
    net = routed.new()
    client = net:host "client"
  end)

  teardown(function()
    if net then net:close() end
  end)

  local function trace_from(version, arguments, to)
    return program.said(client, ("traceroute -i eth0 %s %s %s"):format(routed.HOST[version], arguments,
      to or routed.SERVER[version]))
  end

  for version = 4, 6, 2 do
    local v = " over IPv" .. version

    for _, kind in ipairs { { "UDP", "", "" }, { "ICMP", "--icmp", "-I" } } do
      root_it(("finds by %s what the kernel's traceroute finds%s"):format(kind[1], v), function()
        if not shell.succeeds "command -v traceroute" then return pending "needs traceroute" end
        -- 5,0,0: its patience does not depend on how soon others have answered.
        local theirs = client:run(("traceroute -n -w 5,0,0 %s %s"):format(kind[3], routed.SERVER[version]))
        local status, ours = trace_from(version, kind[2])
        assert.equal(0, status, ours)
        assert.equal(3, select(2, route_of(theirs):gsub(" t t t", "")), theirs)
        assert.equal(route_of(theirs), route_of(ours))
        local title = (", 30 hops max, %d byte packets\n"):format(version == 4 and 60 or 80)
        assert.is_truthy(ours:find(title, 1, true), ours)
      end)
    end

    root_it("ends with status 3 where the target was not reached, and marks why" .. v, function()
      local status, text = trace_from(version, "--max-ttl 2")
      assert.same({ 3, 2 }, { status, select(2, route_of(text):gsub("[^\n]+", "")) }, text)
      status, text = trace_from(version, "--queries 2", version == 4 and "10.9.9.9" or "2001:db8:99::9")
      assert.equal(3, status)
      assert.equal((" 1  %s t !N t !N"):format(version == 4 and "10.0.1.1" or "2001:db8:1::1"), route_of(text), text)
    end)

    root_it("prints JSON objects" .. v, function()
      local status, text = trace_from(version, "--json --first 2 --queries 1")
      local said = program.objects(text)
      assert.same({ 0, 3 }, { status, #said }, text)
      assert.same({ 2, 3 }, { said[1].ttl, said[2].ttl })
      assert.equal(routed.SERVER[version], said[2].answers[1].from)
      assert.is_true(said[2].answers[1].rtt_ms > 0)
      assert.same({ true, 3, routed.SERVER[version], cjson.null }, { said[3].reached, said[3].hops, said[3].target,
        said[3].error })
    end)
  end

  root_it("prints the MPLS labels that routers tell, as traceroute -e does", function()
    local pair = lab.new()
    local router = program.start(pair.far, pcap.write_file(LABELLING))
    program.wait_for_socket(pair.far)
    local arguments = "traceroute -i eth0 --ip 10.0.0.1/24 --gateway 10.0.0.254 --max-ttl 2 --queries 2 192.0.2.7"
    local _, text = program.said(pair.near, arguments)
    local _, json = program.said(pair.near, arguments .. " --json")
    router:interrupt()
    pair:close()
    pcap.remove_files()
    local labels = "<MPLS:L=416240,E=0,S=0,T=1/L=3,E=5,S=1,T=2>"
    assert.equal((" 1  10.0.0.254 %s t t\n 2  10.0.0.254 %s <2/10:6162> t t"):format(labels, labels), route_of(text))
    assert.is_truthy(json:find('"extensions":[{"class":1,"type":1,"labels":[{"label":416240,"traffic_class":0,"bottom"'
      .. ':false,"ttl":1},{"label":3,"traffic_class":5,"bottom":true,"ttl":2}]},{"class":2,"type":10,"data":"6162"}]',
      1, true), json)
  end)

  root_it("prints a star for each answer that does not come, and null to machines", function()
    net:host("r2"):run "nft add table ip t && nft add chain ip t o '{ type filter hook output priority 0; }' && \z
      nft add rule ip t o icmp type time-exceeded drop"
    local status, text = trace_from(4, "--timeout 0.3")
    local _, json = trace_from(4, "--timeout 0.3 --queries 2 --json")
    net:host("r2"):run "nft delete table ip t"
    assert.equal(0, status, text)
    assert.equal(" 1  10.0.1.1 t t t\n 2  * * *\n 3  10.0.3.9 t t t", route_of(text))
    assert.same({ cjson.null, cjson.null }, program.objects(json)[2].answers)
  end)

  root_it("finds a lab's gateway at one hop", function()
    for _, how in ipairs { "", "--icmp --vlan 100.200" } do
      local status, text = program.said(client, ("traceroute --lab %s 10.0.0.1"):format(how))
      assert.equal(0, status, text)
      assert.equal(" 1  10.0.0.1 t t t", route_of(text))
    end
  end)

  root_it("ends at Ctrl-C with status 3", function()
    local log = os.tmpname()
    local judge = net:host("r1"):start({ "tcpdump", "-lc", "1", "-ni", "near", "arp host 10.0.1.77" }, { log = log })
    wait.for_log(judge, "listening on")
    local running = program.start(client, ("traceroute -i eth0 %s --timeout 30 --json 10.0.1.77"):format(
      routed.HOST[4]))
    assert.equal(0, judge:wait(10)) -- it asks for its target
    os.remove(log)
    local status, text = running:interrupt()
    assert.equal(3, status, text)
    assert.is_false(program.objects(text)[1].reached)
  end)

  local MORE = " (traceroute --help tells more)"
  -- arguments, status, what is said
  local WRONG = {
    { "--first 5 --max-ttl 4 10.0.1.1", 2, "first TTL 5 is above the highest, 4" },
    { "--port 65535 10.0.1.1", 2, "90 packets are too many: up to 1 are allowed" },
    { "--size 1473 10.0.1.1", 2, "packets of 1501 octets do not fit the MTU of afpacket:eth0: up to 1500 do" },
    { "--queries 11 10.0.1.1", 2, 'bad value "11": a whole number from 1 to 10 is allowed' .. MORE },
    { "--max-ttl 0 10.0.1.1", 2, 'bad value "0": a whole number from 1 to 255 is allowed' .. MORE },
    { "ff02::1", 2, "bad target ff02::1: the address of one host is needed" .. MORE },
    { "--json 10.0.1.77", 3, false },
  }

  for _, wrong in ipairs(WRONG) do
    root_it(("answers %q with one clear line and status %d"):format(wrong[1], wrong[2]), function()
      local status, text = program.said(client, ("traceroute -i eth0 %s %s"):format(routed.HOST[4], wrong[1]))
      assert.equal(wrong[2], status, text)
      if wrong[3] then return assert.equal(("etherlua: %s\n"):format(wrong[3]), text) end
      assert.equal("no answer from neighbour 10.0.1.77", program.objects(text)[1].error)
    end)
  end
end)
