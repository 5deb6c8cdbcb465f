-- Text in packets that would command a terminal, or break a reader of JSON, as what decodes packets prints it.

local p = require "etherlua.proto.packet"
local packets = require "support.packets"
local pcap = require "support.pcap"
local program = require "support.program"
local proto = require "etherlua.proto"
local show = require "etherlua.program.repl.show"
local view = require "etherlua.proto.view"

local EVIL = "a\27[2J\27]0;x\7\r\nroot# \194\155m\226\128\174\255"

-- Texts of every kind that DHCP has, in a message each.
local function messages()
  local list = {}
  for _, name in ipairs { "host_name", "domain_name", "root_path", "message", "vendor_class", "client_id", "bootfile",
    "tftp_server", "user_class", "client_fqdn", "captive_portal", "vendor_specific", "nis_domain", 224 } do
    list[#list + 1] = { options = { message_type = "ACK", [name] = EVIL } }
  end
  list[#list + 1] = { options = { message_type = "NAK", relay_agent = { circuit_id = EVIL, [9] = EVIL } } }
  list[#list + 1] = { sname = EVIL, file = EVIL, options = { message_type = "OFFER" } }
  list[#list + 1] = { hlen = 16, chaddr = EVIL:sub(1, 16), options = { message_type = "OFFER" } }
  return list
end

local function frames()
  local list = {}
  for i, fields in ipairs(messages()) do
    list[i] = (p.ether { src = "02:00:00:00:00:01", dst = "ff:ff:ff:ff:ff:ff" } / p.ip4 { src = "10.0.0.1",
      dst = "255.255.255.255" } / p.udp { src_port = 67, dst_port = 68 } / p.dhcp4(fields)):build()
  end
  return list
end

local UNFIT = "[%z\1-\9\11-\31\127-\255]"

describe("text of a packet", function()
  after_each(pcap.remove_files)

  it("is printed without its escape sequences by all that describes packets", function()
    for _, frame in ipairs(frames()) do
      assert.is_nil(proto.describe(frame):find "[%z\1-\31\127-\255]")
      for _, text in ipairs { view.describe(frame), show.layers(frame), show.value(proto.dissect(frame)) } do
        assert.is_nil(text:find(UNFIT), text)
        assert.is_nil(text:find "\nroot#")
      end
    end
  end)

  it("is printed so in whatever field of whatever protocol it stands", function()
    for name, built in pairs(packets.all()) do
      local good = type(built) == "string" and built or built:build()
      for at = 15, #good do -- behind the header of Ethernet, so that most are decoded further
        local frame = good:sub(1, at - 1) .. EVIL:sub(1, #good - at + 1) .. good:sub(at + #EVIL)
        assert.is_nil(proto.describe(frame):find "[%z\1-\31\127-\255]", name)
        if at % 7 == 0 then
          assert.is_nil(view.describe(frame):find(UNFIT), name)
          assert.is_nil(show.layers(frame):find(UNFIT), name)
        end
      end
    end
  end)

  it("is printed without them by sniff, decoded, in full, and as JSON", function()
    local path = pcap.file(frames())
    for _, how in ipairs { "", " -v -x", " --json" } do
      local status, out, err = program.run(nil, "sniff -r " .. path .. how)
      assert.same({ 0, "" }, { status, err })
      assert.is_nil(out:find(UNFIT))
      assert.is_nil(out:find "\nroot#")
      if how == " --json" then assert.equal(#frames() + 1, #program.objects(out)) end
    end
  end)
end)
