-- Frames that are larger than a page: over AF_XDP they come and go in several pieces (Linux 6.6).

local ether = require "etherlua"
local frames = require "support.frames"
local fragments = require "support.fragments"
local leaks = require "support.leaks"
local xdp = require "support.xdp"
local eventually = require("support.wait").eventually

local A, B = frames.MAC_A, frames.MAC_B
local open, lab_it = xdp.open, xdp.lab_it

local MTU, PAGE = 9000, 4096

-- An Ethernet payload of this size that says its number.
local function numbered(i, size)
  return frames.udp { payload = ("%06d"):format(i) .. fragments.pattern(size - 34, i) }
end

describe("an xdp relay at MTU 9000", function()
  after_each(leaks.check)

  for _, mode in ipairs { "native", "generic" } do
    lab_it("sends and receives frames of all sizes in " .. mode .. " mode", { mtu = MTU }, function(l)
      local a, b = open(l.near, { mode = mode }), open(l.far, { mode = mode })
      assert.matches("^" .. mode .. " mode", b.detail)
      local from, to = a:conn { mac = A, vlans = "7.8" }, b:conn { mac = B, vlans = "7.8" }
      for size = 100, MTU - 4, 89 do
        from:send(numbered(size, size), B)
        assert.is_true(numbered(size, size) == (to:recv(1)), size)
      end
      for _, around in ipairs { PAGE - 256, PAGE, 2 * PAGE - 256, 2 * PAGE, MTU - 22 } do -- ends of buffers
        for size = around - 18, around + 18 do
          from:send(numbered(size, size), B)
          assert.is_true(numbered(size, size) == (to:recv(1)), size)
        end
      end
      assert.equal(0, frames.assert_balanced(b).rx_missed)
      frames.assert_balanced(a)
    end)

    lab_it("loses none of a flood of large and small frames in " .. mode .. " mode", { mtu = MTU, queues = 2 },
      function(l)
        local a, b = open(l.near, { mode = mode }), open(l.far, { mode = mode })
        local from, to = a:conn { mac = A }, b:conn { mac = B }
        for round = 0, 39 do
          for i = 1, 100 do
            local size = i % 3 == 0 and 60 or 4000 + i * 50
            assert(from:send(numbered(100 * round + i, size), B, { timeout = 2 }))
          end
          for i = 1, 100 do
            local packet = assert(to:recv(2))
            assert.equal(100 * round + i, tonumber(packet:sub(29, 34)))
          end
        end
        assert.is_truthy(eventually(function() return a:stats().tx_pending == 0 end))
        assert.same({ 4000, 4000 }, { frames.assert_balanced(a).tx_sent, frames.assert_balanced(b).rx_frames })
      end)
  end

  lab_it("answers the kernel's largest ping", { mtu = MTU }, function(l)
    l.near:run("ip addr add 10.0.0.1/24 dev eth0")
    open(l.far):host { mac = B, ip = "10.0.0.2/24" }
    local ping = l.near:start { "sh", "-c",
      "exec ping -c 2 -i 0.05 -W 2 -M do -s 8972 10.0.0.2 >/dev/null" }
    assert.equal(0, xdp.outcome(ping))
  end)

  lab_it("tells the MTU to set when a program takes frames of one page", { mtu = MTU }, function(l)
    local object = os.tmpname()
    ether.defer(function() os.remove(object) end)
    local source = [[
      #include <linux/bpf.h>
      #include <bpf/bpf_helpers.h>
      struct { __uint(type, BPF_MAP_TYPE_XSKMAP); __uint(max_entries, 1); __type(key, __u32); __type(value, __u32); }
        xsks_map SEC(".maps");
      SEC("xdp") int one_page(struct xdp_md *ctx) { return bpf_redirect_map(&xsks_map, 0, XDP_PASS); }
    ]]
    l.far:run(("clang -O2 -g -target bpf -I/usr/include/$(uname -m)-linux-gnu -x c -c -o %s - <<'END'\n%s\nEND"):format(
      object, source))
    local ok, message = pcall(open, l.far, { program = object, mode = "native" })
    assert.is_false(ok)
    assert.matches("takes frames of one page: ip link set dev eth0 mtu 3500)", message, 1, true)
    assert.matches("^generic mode", open(l.far, { program = object }).detail) -- where the kernel joins the pages
  end)

  lab_it("reaches an afpacket relay, and is reached by it", { mtu = MTU }, function(l)
    local a, b = l.near:enter(ether.open, "afpacket:eth0"), open(l.far)
    local near, far = a:conn { mac = A }, b:conn { mac = B }
    near:send(numbered(1, MTU), B)
    far:send(numbered(2, MTU), A)
    assert.is_true(numbered(1, MTU) == (far:recv(1)))
    assert.is_true(numbered(2, MTU) == (near:recv(1)))
  end)
end)
