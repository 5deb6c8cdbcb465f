-- Scapy as a judge that shares no code with us: frames that it builds we read as it does and build again byte for byte;
-- frames that we build it reads as we meant them and builds again, lengths and checksums its own, byte for byte.

local bytes = require "etherlua.net.bytes"
local ether = require "etherlua"
local frames = require "support.frames"
local kinds = require "support.kinds"
local leaks = require "support.leaks"
local packets = require "support.packets"
local proto = require "etherlua.proto"
local scapy = require "support.scapy"

local A, B = frames.MAC_A, frames.MAC_B

-- ---- the judge ------------------------------------------------------------------------------------------------------

-- Prints a JSON list: for each frame, built here (no argument) or read from a file of hex lines, what Scapy reads in
-- it, and what it makes of it when it has to fill in lengths and checksums by itself.
local PYTHON = [==[
import json, logging, sys
logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.all import *

for upper in Ether, Dot1Q, Dot1AD:
    bind_layers(upper, Dot1Q, type=0x9100)

MACS = dict(src="02:00:00:00:00:0a", dst="02:00:00:00:00:0b")

def table():
    eth, v4, v6 = Ether(**MACS), dict(src="10.0.0.1", dst="10.0.0.2"), dict(src="2001:db8::1", dst="fe80::a:0:0:2")
    udp = UDP(sport=1000, dport=2000) / b"payload"
    yield "untagged", eth / IP(**v4) / udp
    yield "one tag", eth / Dot1Q(vlan=100, prio=5) / IP(**v4) / udp
    yield "802.1ad", eth / Dot1AD(vlan=4094, prio=7) / Dot1Q(vlan=1) / IPv6(**v6) / udp
    yield "0x9100 outside", Ether(type=0x9100, **MACS) / Dot1Q(vlan=9) / Dot1Q(vlan=10, prio=1) / IP(**v4) / udp
    yield "three tags", eth / Dot1AD(vlan=1) / Dot1AD(vlan=2) / Dot1Q(vlan=3) / IP(**v4) / udp
    yield "four tags", eth / Dot1Q(vlan=1) / Dot1Q(vlan=2) / Dot1Q(vlan=3) / Dot1Q(vlan=4) / ARP()
    yield "priority tag", eth / Dot1Q(vlan=0, prio=6) / IP(**v4) / udp
    yield "unknown EtherType", Ether(type=0x88b5, **MACS) / b"anything at all"
    yield "ipv4 fields", eth / IP(tos=0xb8, id=0xbeef, flags="DF", ttl=1, proto=200, **v4) / b"what"
    yield "ipv4 record route", eth / IP(options=[IPOption_RR(routers=["1.2.3.4", "0.0.0.0"])], **v4) / udp
    yield "ipv4 router alert", eth / IP(options=[IPOption_Router_Alert()], **v4) / udp
    yield "ipv4 odd options", eth / IP(options=[IPOption_NOP(), IPOption_Security()], **v4) / ICMP() / b"abc"
    for i, piece in enumerate(fragment(IP(id=7, **v4) / UDP(sport=1, dport=2) / (b"0123456789" * 30), fragsize=128)):
        yield "ipv4 fragment %d" % i, eth / piece
    yield "udp without checksum", eth / IP(**v4) / UDP(sport=1, dport=2, chksum=0) / b"x"
    yield "udp empty", eth / IP(**v4) / UDP(sport=0, dport=65535)
    yield "udp odd length", eth / IPv6(**v6) / UDP(sport=1, dport=2) / b"odd"
    yield "udp largest", eth / IP(**v4) / UDP(sport=1, dport=2) / (b"\xff" * 1472)
    # A payload that makes the sum 0, which is sent as 0xffff.
    for ip in IP(**v4), IPv6(**v6):
        probe = UDP(sport=1, dport=2) / b"\0\0"
        sum_without = type(ip)(raw(ip / probe))[UDP].chksum
        yield "udp sum of zero over %s" % ip.name, eth / ip / UDP(sport=1, dport=2) / struct.pack("!H", sum_without)
    yield "ipv6 fields", eth / IPv6(tc=0xb8, fl=0xabcde, hlim=255, nh=59, **v6)
    yield "ipv6 hop by hop", eth / IPv6(**v6) / IPv6ExtHdrHopByHop(options=[RouterAlert()]) / udp
    yield "ipv6 destination options", eth / IPv6(**v6) / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 9)]) / udp
    yield "ipv6 routing", eth / IPv6(**v6) / IPv6ExtHdrRouting(addresses=["2001:db8::3"], segleft=0) / udp
    yield "ipv6 chain", (eth / IPv6(**v6) / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() /
                         IPv6ExtHdrRouting(segleft=0) / IPv6ExtHdrDestOpt() / udp)
    yield "ipv6 first fragment", eth / IPv6(**v6) / IPv6ExtHdrFragment(m=1, id=0xdeadbeef, nh=17) / (b"x" * 64)
    yield "ipv6 later fragment", eth / IPv6(**v6) / IPv6ExtHdrFragment(offset=8, id=1, nh=17) / (b"x" * 8)
    yield "ipv6 atomic fragment", eth / IPv6(**v6) / IPv6ExtHdrFragment(id=2) / udp
    yield "arp request", Ether(src=MACS["src"], dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=MACS["src"], psrc="10.0.0.1",
                                                                            pdst="10.0.0.2")
    yield "arp reply", eth / ARP(op=2, hwsrc=MACS["src"], psrc="10.0.0.1", hwdst=MACS["dst"], pdst="10.0.0.2")
    yield "echo request", eth / IP(**v4) / ICMP(id=0x1234, seq=65535) / b"ping"
    yield "echo reply", eth / IP(**v4) / ICMP(type=0, id=1, seq=2) / (b"\xff" * 57)
    yield "port unreachable", eth / IP(**v4) / ICMP(type=3, code=3) / raw(IP(**v4) / udp)
    yield "too big", eth / IP(**v4) / ICMP(type=3, code=4, nexthopmtu=1400) / raw(IP(**v4) / udp)
    about = raw(IP(**v4) / udp)
    yield "redirect", eth / IP(**v4) / ICMP(type=5, code=1, gw="10.0.0.254") / about
    yield "time exceeded", eth / IP(**v4) / ICMP(type=11) / about
    yield "parameter problem", eth / IP(**v4) / ICMP(type=12, ptr=20) / about
    yield "timestamp", eth / IP(**v4) / ICMP(type=13, id=1, seq=2, ts_ori=1000, ts_rx=2000, ts_tx=86399999)
    yield "tcp syn", eth / IP(**v4) / TCP(sport=1, dport=80, flags="SEC", seq=0xffffffff, options=[("MSS", 1460),
        ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)])
    yield "tcp data", eth / IP(**v4) / TCP(sport=65535, dport=7, flags="PA", ack=1, window=1) / b"odd"
    yield "tcp urgent", eth / IPv6(**v6) / TCP(sport=1, dport=2, flags="UFR", urgptr=5, options=[(253, b"ab")]) / b"x"
    yield "icmpv6 echo", eth / IPv6(**v6) / ICMPv6EchoRequest(id=7, seq=8, data=b"ping6")
    yield "solicitation", (eth / IPv6(src="fe80::1", dst="ff02::1:ff00:2", hlim=255) / ICMPv6ND_NS(tgt="fe80::2") /
                           ICMPv6NDOptSrcLLAddr(lladdr=MACS["src"]))
    yield "advertisement", (eth / IPv6(src="fe80::2", dst="fe80::1", hlim=255) /
                            ICMPv6ND_NA(tgt="fe80::2", R=1, S=1, O=0) / ICMPv6NDOptDstLLAddr(lladdr=MACS["dst"]))
    yield "router solicitation", (eth / IPv6(src="fe80::1", dst="ff02::2", hlim=255) / ICMPv6ND_RS() /
                                  ICMPv6NDOptSrcLLAddr(lladdr=MACS["src"]))
    yield "router advertisement", (eth / IPv6(src="fe80::1", dst="ff02::1", hlim=255) / ICMPv6ND_RA(chlim=64, M=1, O=1,
        prf=3, routerlifetime=1800, reachabletime=30000, retranstimer=1000) / ICMPv6NDOptMTU(mtu=1500) /
        ICMPv6NDOptPrefixInfo(prefixlen=64, prefix="2001:db8::", L=1, A=0, validlifetime=86400, preferredlifetime=7) /
        ICMPv6NDOptSrcLLAddr(lladdr=MACS["src"]) / ICMPv6NDOptRDNSS(lifetime=600, dns=["2001:db8::53", "fe80::53"]) /
        ICMPv6NDOptDNSSL(lifetime=9, searchlist=["lab."]))
    yield "icmpv6 redirect", (eth / IPv6(src="fe80::1", dst="fe80::2", hlim=255) /
                              ICMPv6ND_Redirect(tgt="fe80::3", dst="2001:db8::9") /
                              ICMPv6NDOptDstLLAddr(lladdr=MACS["dst"]) /
                              ICMPv6NDOptRedirectedHdr(pkt=IPv6(**v6) / UDP(sport=1, dport=2) / b"8 octets"))
    for one in (ICMPv6DestUnreach(code=4), ICMPv6PacketTooBig(mtu=1280), ICMPv6TimeExceeded(),
                ICMPv6ParamProblem(code=1, ptr=6)):
        yield one.name, eth / IPv6(**v6) / one / (IPv6(**v6) / udp)
    yield "duplicate detection", eth / IPv6(src="::", dst="ff02::1:ff00:2", hlim=255) / ICMPv6ND_NS(tgt="fe80::2")
    dhcp = eth / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / BOOTP(
        chaddr=bytes.fromhex("02000000000a"), xid=0xcafebabe, flags=0x8000, secs=9)
    yield "discover", dhcp / DHCP(options=[("message-type", "discover"), ("requested_addr", "10.0.0.9"),
        ("lease_time", 86400), ("param_req_list", [1, 3, 6, 15, 51, 54, 121]), ("vendor_class_id", b"scapy \xff"),
        ("client_id", b"\x01\x02\0\0\0\0\x0a"), "end"])
    yield "offer", eth / IP(**v4) / UDP(sport=67, dport=68) / BOOTP(op=2, yiaddr="10.0.0.9", siaddr="10.0.0.1",
        giaddr="10.1.0.1", hops=3, chaddr=bytes.fromhex("02000000000b"), sname=b"server", file=b"boot.img") / DHCP(
        options=[("message-type", "offer"), ("subnet_mask", "255.255.255.0"), ("router", "10.0.0.1", "10.0.0.2"),
        ("name_server", "1.1.1.1", "8.8.8.8"), ("hostname", b"host"), ("domain", b"example.org"),
        ("broadcast_address", "10.0.0.255"), ("lease_time", 3600), ("server_id", "10.0.0.1"), ("renewal_time", 1800),
        ("rebinding_time", 3150), (82, bytes.fromhex("0103616263020464656667")), "end"])
    yield "many options", dhcp / DHCP(options=[("message-type", "request")] +
        [(code, bytes([code]) * (code % 40)) for code in range(160, 255)] + ["end"])

def options_of(dhcp):
    raw_bytes, at, found = raw(dhcp), 0, {}
    while at < len(raw_bytes) and raw_bytes[at] != 255:
        if raw_bytes[at] == 0:
            at += 1
            continue
        code, size = raw_bytes[at], raw_bytes[at + 1]
        found[str(code)] = found.get(str(code), "") + raw_bytes[at + 2:at + 2 + size].hex()
        at += 2 + size
    return found

def text(field):
    return field.split(b"\0")[0].decode("latin-1")

# Layer by layer, by our names of the fields.
def read(frame):
    packet, layers = Ether(frame), []
    vlans, upper, layer = [], packet, packet.payload
    while isinstance(layer, (Dot1Q, Dot1AD)):
        tci = struct.unpack("!H", raw(layer)[:2])[0]
        vlans.append(dict(tpid=upper.type, vid=layer.vlan, pcp=layer.prio, dei=bool(tci & 0x1000)))
        upper, layer = layer, layer.payload
    layers.append(["ethernet", dict(dst=packet.dst, src=packet.src, vlans=vlans, ethertype=upper.type)])
    while layer and not isinstance(layer, (Raw, Padding, NoPayload)):
        f, child = layer, layer.payload
        if isinstance(f, IP):
            layers.append(["ipv4", dict(version=f.version, ihl=f.ihl, tos=f.tos, total_length=f.len,
                identification=f.id, df="DF" in f.flags, mf="MF" in f.flags, fragment_offset=f.frag, ttl=f.ttl,
                protocol=f.proto, header_checksum=f.chksum, src=f.src, dst=f.dst)])
            if "MF" in f.flags or f.frag:
                return layers, packet
        elif isinstance(f, IPv6):
            fields = dict(version=f.version, traffic_class=f.tc, flow_label=f.fl, payload_length=f.plen,
                next_header=f.nh, hop_limit=f.hlim, src=f.src, dst=f.dst)
            chain, protocol, stop = [], f.nh, False
            while child.__class__.__name__.startswith("IPv6ExtHdr"):
                chain.append(dict(type=protocol))
                if isinstance(child, IPv6ExtHdrFragment):
                    chain[-1].update(fragment_offset=child.offset, mf=bool(child.m), identification=child.id)
                    stop = stop or child.offset or child.m
                protocol, child = child.nh, child.payload
            layers.append(["ipv6", dict(fields, extension_headers=chain, protocol=protocol)])
            if stop:
                return layers, packet
        elif isinstance(f, UDP):
            layers.append(["udp", dict(src_port=f.sport, dst_port=f.dport, length=f.len, checksum=f.chksum)])
        elif isinstance(f, ARP):
            layers.append(["arp", dict(hrd=f.hwtype, pro=f.ptype, hln=f.hwlen, pln=f.plen, op=f.op, sha=f.hwsrc,
                spa=f.psrc, tha=f.hwdst, tpa=f.pdst)])
        elif isinstance(f, TCP):
            bits = dict(zip(("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"),
                            (bool(int(f.flags) & 1 << i) for i in range(8))))
            layers.append(["tcp", dict(src_port=f.sport, dst_port=f.dport, sequence_number=f.seq,
                acknowledgment_number=f.ack, data_offset=f.dataofs, window=f.window, checksum=f.chksum,
                urgent_pointer=f.urgptr, **bits)])
        elif isinstance(f, ICMP):
            fields = dict(type=f.type, code=f.code, checksum=f.chksum)
            fields.update(dict(identifier=f.id, sequence=f.seq) if f.type in (0, 8, 13, 14) else {})
            fields.update(dict(originate_timestamp=f.ts_ori, receive_timestamp=f.ts_rx, transmit_timestamp=f.ts_tx)
                          if f.type in (13, 14) else {})
            fields.update(dict(next_hop_mtu=f.nexthopmtu) if (f.type, f.code) == (3, 4) else {})
            fields.update(dict(gateway=f.gw) if f.type == 5 else {})
            fields.update(dict(pointer=f.ptr) if f.type == 12 else {})
            layers.append(["icmp", fields])
            break
        elif isinstance(f, (ICMPv6ND_RS, ICMPv6ND_RA, ICMPv6ND_Redirect)):
            fields, options, option = dict(type=f.type, code=f.code, checksum=f.cksum), [], f.payload
            if isinstance(f, ICMPv6ND_RA):
                fields.update(cur_hop_limit=f.chlim, managed=bool(f.M), other=bool(f.O), home_agent=bool(f.H),
                    preference=f.prf, router_lifetime=f.routerlifetime, reachable_time=f.reachabletime,
                    retrans_timer=f.retranstimer)
            if isinstance(f, ICMPv6ND_Redirect):
                fields.update(target=f.tgt, destination=f.dst)
            while not isinstance(option, NoPayload):
                if isinstance(option, ICMPv6NDOptPrefixInfo):
                    options.append(dict(type=3, prefix_length=option.prefixlen, on_link=bool(option.L),
                        autonomous=bool(option.A), valid_lifetime=option.validlifetime,
                        preferred_lifetime=option.preferredlifetime, prefix=option.prefix))
                elif isinstance(option, ICMPv6NDOptMTU):
                    options.append(dict(type=5, mtu=option.mtu))
                elif isinstance(option, ICMPv6NDOptRDNSS):
                    options.append(dict(type=25, lifetime=option.lifetime, servers=option.dns))
                elif isinstance(option, ICMPv6NDOptDstLLAddr): # which Scapy derives from the other
                    fields["target_link_layer_address"] = option.lladdr
                elif isinstance(option, ICMPv6NDOptSrcLLAddr):
                    fields["source_link_layer_address"] = option.lladdr
                    options += [dict(type=1)] if options else []
                else:
                    options.append(dict(type=raw(option)[0]))
                option = option.payload
            layers.append(["icmp6", dict(fields, options=options)])
            break
        elif isinstance(f, (ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6TimeExceeded, ICMPv6ParamProblem)):
            fields = dict(type=f.type, code=f.code, checksum=f.cksum)
            fields.update(dict(mtu=f.mtu) if f.type == 2 else dict(pointer=f.ptr) if f.type == 4 else {})
            layers.append(["icmp6", fields])
            break
        elif isinstance(f, (ICMPv6EchoRequest, ICMPv6EchoReply)):
            layers.append(["icmp6", dict(type=f.type, code=f.code, checksum=f.cksum, identifier=f.id, sequence=f.seq)])
        elif isinstance(f, (ICMPv6ND_NS, ICMPv6ND_NA)):
            fields = dict(type=f.type, code=f.code, checksum=f.cksum, target=f.tgt)
            if isinstance(f, ICMPv6ND_NA):
                fields.update(router=bool(f.R), solicited=bool(f.S), override=bool(f.O))
            if ICMPv6NDOptSrcLLAddr in f:
                fields["source_link_layer_address"] = f[ICMPv6NDOptSrcLLAddr].lladdr
            if ICMPv6NDOptDstLLAddr in f:
                fields["target_link_layer_address"] = f[ICMPv6NDOptDstLLAddr].lladdr
            layers.append(["icmp6", fields])
            break
        elif isinstance(f, BOOTP):
            mac = ":".join("%02x" % byte for byte in f.chaddr[:6])
            layers.append(["dhcp4", dict(op=f.op, htype=f.htype, hlen=f.hlen, hops=f.hops, xid=f.xid, secs=f.secs,
                flags=int(f.flags), ciaddr=f.ciaddr, yiaddr=f.yiaddr, siaddr=f.siaddr, giaddr=f.giaddr, chaddr=mac,
                sname=text(f.sname), file=text(f.file), raw_options=options_of(f[DHCP]))])
            break
        layer = child
    return layers, packet

# Lengths and checksums filled in by Scapy; what it cannot know of a fragment is left.
def rebuilt(packet, layers):
    packet = packet.copy()
    whole = layers[-1][0] not in ("ipv4", "ipv6")
    for kind, names in ((IP, ("len", "ihl", "chksum")), (IPv6, ("plen",)), (UDP, ("len", "chksum")),
                        (TCP, ("dataofs", "chksum")), (ICMP, ("chksum",)),
                        *((kind, ("cksum",)) for kind in (ICMPv6EchoRequest, ICMPv6EchoReply, ICMPv6ND_RS, ICMPv6ND_RA,
                            ICMPv6ND_NS, ICMPv6ND_NA, ICMPv6ND_Redirect, ICMPv6DestUnreach, ICMPv6PacketTooBig,
                            ICMPv6TimeExceeded, ICMPv6ParamProblem))):
        layer = packet.getlayer(kind)
        if not layer or not whole and kind not in (IP, IPv6):
            continue
        if kind is UDP and layer.chksum == 0:
            names = ("len",)
        for name in names:
            delattr(layer, name)
    return raw(packet)

out = []
if len(sys.argv) > 1:
    source = [("frame %d" % i, bytes.fromhex(line.strip())) for i, line in enumerate(open(sys.argv[1]), 1)]
else:
    source = [(name, raw(packet)) for name, packet in table()]
for name, frame in source:
    layers, packet = read(frame)
    out.append(dict(name=name, hex=frame.hex(), layers=layers, rebuilt=rebuilt(packet, layers).hex()))
print(json.dumps(out))
]==]

-- What Scapy says of its own frames, or of ours.
local function ask(list)
  return scapy.ask(PYTHON, list)
end

-- ---- comparing ------------------------------------------------------------------------------------------------------

-- The options of a message as code -> hex, read without our table of options.
local function raw_options(message)
  local found, at = {}, 241
  while at <= #message and message:byte(at) ~= 255 do
    local code, size = message:byte(at, at + 1)
    if code == 0 then
      at = at + 1
    else
      found[tostring(code)] = (found[tostring(code)] or "") .. bytes.hex(message:sub(at + 2, at + 1 + size))
      at = at + 2 + size
    end
  end
  return found
end

-- Those of our layers' fields that Scapy names, for luassert.
local function same_names(theirs, ours)
  if type(theirs) ~= "table" or type(ours) ~= "table" then return ours end
  local out = {}
  for name, value in pairs(theirs) do out[name] = same_names(value, ours[name]) end
  if #theirs ~= #ours then out.count = #ours end
  return out
end

local function assert_same_layers(one, frame)
  local layers, at = proto.dissect(frame), 1
  for i, theirs in ipairs(one.layers) do
    local name, ours = layers[i] and layers[i].name, layers[i] and layers[i].fields
    assert.equal(theirs[1], name, one.name)
    if name == "dhcp4" then ours.raw_options = raw_options(layers[i - 1].fields.payload) end
    assert.same(theirs[2], same_names(theirs[2], ours), one.name .. ": " .. name)
    if name == "dhcp4" then ours.raw_options = nil end
    at = i + 1
  end
  -- What an error quotes is not Scapy's next layer here.
  local last = at > 1 and layers[at - 1]
  local quotes = last and proto[last.name].child and select(2, proto[last.name].child(last.fields)) == "quoted"
  assert.is_true(not layers[at] or layers[at].name == "data" or quotes, one.name)
  return layers
end

-- The bytes of layer i and those inside it, from the fields that were read.
local function rebuild(layers, i)
  local layer, fields = layers[i], {}
  if layer.name == "data" then return layer.fields.payload end
  for name, value in pairs(layer.fields) do fields[name] = value end
  for _, name in ipairs(proto[layer.name].fields.derived) do fields[name] = nil end
  if layer.name == "udp" and layer.fields.checksum == 0 then fields.checksum = 0 end
  if layers[i + 1] then fields.payload = rebuild(layers, i + 1) end
  return proto[layer.name].build(fields, layers[i - 1] and layers[i - 1].fields)
end

local function checksums_ok(layers)
  for i, layer in ipairs(layers) do
    local around, outer = layers[i - 1] and layers[i - 1].fields.payload, layers[i - 1] and layers[i - 1].fields
    local check = rawget(proto[layer.name == "data" and "ethernet" or layer.name], "checksum_ok")
    if layer.name ~= "data" and check and not check(around, outer) then return layer.name end
  end
  return true
end

describe("frames that Scapy builds", function()
  local theirs

  local function judged_it(name, fn)
    it(name, function()
      if scapy.missing then return pending(scapy.missing) end
      theirs = theirs or ask()
      assert.is_true(#theirs > 40)
      for _, one in ipairs(theirs) do fn(one, bytes.unhex(one.hex)) end
    end)
  end

  judged_it("are read field for field as it reads them", assert_same_layers)

  judged_it("are built again byte for byte from what was read, lengths and checksums too", function(one, frame)
    assert.equal(one.hex, bytes.hex(rebuild(proto.dissect(frame), 1)), one.name)
  end)

  judged_it("have checksums that are right", function(one, frame)
    assert.is_true(checksums_ok(proto.dissect(frame)), one.name)
  end)

  judged_it("are received by the endpoint that they are for", function(one, frame)
    kinds.run(function()
      local layers = proto.dissect(frame)
      local eth = layers[1].fields
      local a, b = ether.wire { mtu = 3000 }
      local conn = b:conn { mac = eth.dst, vlans = #eth.vlans > 0 and eth.vlans or nil, ethertypes = {} }
      frames.injector(a)(frame)
      local view = assert(conn:recv_frame(1), one.name)
      frames.assert_same_bytes(frame, tostring(view))
      assert.equal(eth.ethertype, view.ethertype)
      local ip = layers[2] and layers[2].fields
      if ip and ip.src then assert.same({ ip.src, ip.dst }, { view.src_ip, view.dst_ip }, one.name) end
      local udp = layers[3] and layers[3].name == "udp" and layers[3].fields
      local ports = udp and { udp.src_port, udp.dst_port } or {}
      assert.same(ports, { view.src_port, view.dst_port }, one.name)
    end)
    leaks.check()
  end)
end)

describe("frames that etherlua builds", function()
  local list, named

  -- What endpoints send, in wild variety, and what the protocol modules build; as hex.
  local function build_all()
    local made = {}
    kinds.run(function()
      local a, b = ether.wire()
      local rest = b:default_conn { recv_depth = 10000 }
      for _, stack in ipairs { {}, { 100 }, { { vid = 5, pcp = 7, dei = true } }, { { vid = 1, tpid = 0x88a8 }, 2 },
        { { vid = 1, tpid = 0x9100, pcp = 3 }, 2, 3, 4094 } } do
        local conn = a:conn { mac = A, vlans = #stack > 0 and stack or nil }
        for _, ends in ipairs { { "10.0.0.1:1000", "10.0.0.2:2000" }, { "[2001:db8::1]:546", "[ff02::1:2]:547" } } do
          for _, opts in ipairs { {}, { tos = 0xb8, ttl = 1 }, { checksum = false } } do
            local udp = conn:udp(ends[1], opts)
            for size = 0, 64, 7 do udp:send(("\255\0a"):rep(30):sub(1, size), ends[2]) end
            udp:close()
          end
        end
      end
      ether.sleep(0.05)
      for frame in function() return (rest:recv_frame(0)) end do made[#made + 1] = tostring(frame) end
    end)
    local function add(ethertype, payload)
      made[#made + 1] = frames.frame(payload, { ethertype = ethertype, vlans = { 7, 8 } })
    end
    local v4, v6 = { src = "10.0.0.1", dst = "10.0.0.2" }, { src = "2001:db8::1", dst = "2001:db8::2" }
    local function ip4(protocol, payload, more)
      local fields = { src = v4.src, dst = v4.dst, protocol = protocol, payload = payload }
      for name, value in pairs(more or {}) do fields[name] = value end
      add(frames.IP4, proto.ipv4.build(fields))
    end
    local function ip6(protocol, payload, chain)
      add(frames.IP6, proto.ipv6.build { src = v6.src, dst = v6.dst, protocol = protocol, payload = payload,
        extension_headers = chain, flow_label = 0x12345, traffic_class = 0x28 })
    end
    add(frames.ARP, proto.arp.build { op = 2, sha = A, spa = "10.0.0.1", tha = B, tpa = "10.0.0.2" })
    ip4(1, proto.icmp.build { type = 8, identifier = 1, sequence = 2, payload = "odd" })
    ip4(17, proto.udp.build({ src_port = 1, dst_port = 2, payload = "options" }, v4), { options = "\148\4\0\0\7\3\4" })
    ip4(17, ("f"):rep(64), { mf = true, identification = 77 })
    ip4(17, ("f"):rep(64), { fragment_offset = 8, identification = 77 })
    ip6(58, proto.icmp6.build({ type = 129, identifier = 3, sequence = 4, payload = "pong!" }, v6))
    ip6(58, proto.icmp6.build({ type = 135, target = "2001:db8::2", source_link_layer_address = A }, v6))
    ip6(58, proto.icmp6.build({ type = 136, target = "2001:db8::1", target_link_layer_address = A, solicited = true,
      override = true }, v6))
    local udp = proto.udp.build({ src_port = 1, dst_port = 2, payload = "behind a chain" }, v6)
    ip6(17, udp, { { type = 0, data = "\1\4\0\0\0\0" }, { type = 60, data = "\1\12" .. ("\0"):rep(12) } })
    ip6(17, udp, { { type = 44, identification = 0xffffffff } })
    ip6(17, udp:sub(1, 16), { { type = 44, identification = 9, mf = true } })
    for _, message in ipairs {
      { options = { message_type = "DISCOVER", client_id = "\1abcdef", parameter_request_list = { 1, 3, 6 },
        vendor_class = "etherlua", max_message_size = 1500 }, chaddr = A, xid = 0xffffffff, broadcast = true },
      { options = { message_type = "ACK", routers = { "10.0.0.1", "10.0.0.2" }, lease_time = 0xffffffff,
        classless_routes = { { prefix = "10.0.0.0/8", router = "10.0.0.1" } }, vendor_specific = ("v"):rep(600),
        relay_agent = { circuit_id = "c", remote_id = "r" } }, chaddr = B, yiaddr = "10.0.0.9", giaddr = "10.9.9.9",
        sname = "s", file = "f" },
    } do
      ip4(17, proto.udp.build({ src_port = 68, dst_port = 67, payload = proto.dhcp4.build(message) }, v4))
    end
    -- To Scapy an authentication header is no extension header; tshark judges it.
    for name, one in pairs(packets.all()) do
      if name ~= "authentication" then made[#made + 1] = one:build() end
    end
    return made
  end

  local function judged_it(name, fn)
    it(name, function()
      if scapy.missing then return pending(scapy.missing) end
      if not list then
        list = build_all()
        local hex = {}
        for i, frame in ipairs(list) do hex[i] = bytes.hex(frame) end
        named = ask(hex)
      end
      assert.is_true(#list > 300 and #named == #list)
      for i, one in ipairs(named) do fn(one, list[i]) end
    end)
  end

  judged_it("are read by it field for field as they were meant", assert_same_layers)

  judged_it("are what it builds from them, with lengths and checksums of its own", function(one)
    assert.equal(one.hex, one.rebuilt, one.name)
  end)
end)
