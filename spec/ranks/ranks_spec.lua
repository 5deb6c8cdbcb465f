-- Several processes that run one script: as `etherlua run --ranks` and MPICH's process manager start them, what they do
-- together, and what becomes of all when one of them ends.

local files = require "support.files"
local program = require "support.program"
local shell = require "support.shell"

local HAS_MPICH = os.execute "command -v mpiexec.hydra >/dev/null" == 0

-- What starts that many ranks of a script. fails(status): when one was killed. MPICH's is any but 0, as it kills the
-- other ranks' guards.
local starters = {
  { name = "etherlua", words = function(size) return ("%s run --ranks %d"):format(program.PATH, size) end,
    fails = function(status) return status == 1 end },
  { name = "mpiexec.hydra", words = function(size) return ("mpiexec.hydra -n %d %s run"):format(size, program.PATH) end,
    fails = function(status) return status ~= 0 and status ~= 124 end },
}

-- Returns all that was printed, in order, and the status.
local function run(starter, size, text, arguments)
  local path = files.temporary('local ether = require "etherlua"\nlocal ranks = ether.ranks\n' .. text)
  local out, status = shell.run(("timeout -k 5 30 %s %s %s 2>&1"):format(starter.words(size), path, arguments or ""))
  os.remove(path)
  local lines = {}
  for line in out:gmatch "[^\n]+" do lines[#lines + 1] = line end
  table.sort(lines)
  return lines, status, out
end

-- One that is killed.
local KILLED = [[
  ether.spawn(function()
    while true do ranks.tell { n = 1 } ether.sleep(0.05) end
  end)
  ether.defer(function()
    local list = ranks.gather { n = 1 }
    if not list then return print("cleaned up " .. ranks.rank) end
    print("gathered", list[1], list[2] and "there", list[3] and "there", ranks.latest()[2] and "told")
  end)
  ranks.barrier()
  ether.sleep(0.2)
  if ranks.rank == tonumber(arg[1]) then os.execute "kill -9 $PPID" end
  ether.sleep(20)]]

for _, starter in ipairs(starters) do
  describe("ranks that are started by " .. starter.name, function()
    local function ranks_it(name, fn)
      if starter.name ~= "etherlua" and not HAS_MPICH then
        return pending(name .. " (no mpiexec.hydra: install mpich)")
      end
      it(name, fn)
    end

    ranks_it("have numbers from 0, and parts of the work without gaps", function()
      local lines, status = run(starter, 4, "print(ranks.rank, ranks.size, ranks.share(10))")
      assert.same({ "0\t4\t0\t2", "1\t4\t2\t3", "2\t4\t5\t2", "3\t4\t7\t3" }, lines)
      assert.equal(0, status)
    end)

    ranks_it("wait for each other at a barrier, each in a task of its own", function()
      local lines, status = run(starter, 3, [[
        local began, turns = ether.now(), 0
        ether.spawn(function() while turns < 3 do ether.sleep(0.05) turns = turns + 1 end end)
        if ranks.rank == 1 then ether.sleep(0.4) end
        ranks.barrier()
        print(ranks.rank == 1 or ether.now() - began > 0.2, turns)]])
      assert.same({ "true\t3", "true\t3", "true\t3" }, lines)
      assert.equal(0, status)
    end)

    ranks_it("agree on a value of rank 0", function()
      local lines = run(starter, 3, 'print(ranks.agree { name = "of " .. ranks.rank }.name)')
      assert.same({ "of 0", "of 0", "of 0" }, lines)
    end)

    ranks_it("gather values of any kind at rank 0", function()
      local lines = run(starter, 3, [[
        local list = ranks.gather { text = "a b=c\n" .. ranks.rank, half = ranks.rank + 1 / 3, yes = true }
        if not list then return end
        for i = 1, 3 do
          print(i, list[i].text == "a b=c\n" .. i - 1, list[i].half == i - 1 + 1 / 3, list[i].yes)
        end]])
      assert.same({ "1\ttrue\ttrue\ttrue", "2\ttrue\ttrue\ttrue", "3\ttrue\ttrue\ttrue" }, lines)
    end)

    ranks_it("add up exactly what they have counted, histograms bucket by bucket", function()
      local lines = run(starter, 3, [[
        local all, own = ether.histogram(), ether.histogram()
        for i = 1, 3000 do
          local value = (i * 7919 % 3001) / 1e5
          all:record(value)
          if i % 3 == ranks.rank then own:record(value) end
        end
        local sum = ranks.reduce({ n = 2 ^ ranks.rank, most = ranks.rank, deep = { times = own } }, { "most" })
        if not sum then return end
        local times = sum.deep.times
        print(sum.n, sum.most, times.count, times.min == all.min, times.max == all.max)
        for share = 0, 1, 0.01 do assert(times:percentile(share) == all:percentile(share)) end]])
      assert.same({ "7\t2\t3000\ttrue\ttrue" }, lines)
    end)

    -- In the deferred function all meet once more, wherever the end has come to each.
    local COUNTING = [[
      local done = 0
      ether.defer(function()
        local sum = ranks.reduce { ranks = 1, done = done }
        if sum then print("sum", sum.ranks, sum.done) end
      end)
      ranks.barrier()
      done = 10
      ranks.barrier()
      ]]

    ranks_it("end in order when one has an error, and rank 0 tells which and why", function()
      for failing = 0, 2 do
        local _, status, out = run(starter, 3, COUNTING .. ([[
          if ranks.rank == %d then error "no more" end
          ether.sleep(20)]]):format(failing))
        assert.equal(1, status, out)
        assert.truthy(out:find("sum\t3\t30", 1, true), out)
        local _, count = out:gsub("no more", "")
        assert.equal(1, count, out)
        if failing > 0 then assert.truthy(out:find(("etherlua: rank %d: "):format(failing), 1, true), out) end
      end
    end)

    ranks_it("end on all when one aborts the run", function()
      local _, status, out = run(starter, 3, COUNTING .. [[
        if ranks.rank == 2 then ranks.abort "the switch is on fire" end
        ether.sleep(20)]])
      assert.equal(1, status, out)
      assert.truthy(out:find("sum\t3\t30", 1, true), out)
      assert.truthy(out:find("etherlua: rank 2: the switch is on fire\n", 1, true), out)
    end)

    local ENDPOINTS = [[
      local relay = ether.open "afpacket:lo"
      local function open(mac, vlans) return relay:conn { mac = mac, vlans = vlans } end
      ]]

    ranks_it("may have an endpoint one after the other, and group addresses together", function()
      local lines, status, out = run(starter, 3, ENDPOINTS .. [[
        open("01:00:5e:00:00:01")
        for rank = 0, 2 do
          if ranks.rank == rank then open("02:00:00:00:00:01", 100):close() end
          ranks.barrier()
        end
        for i = 1, 3000 do open(ether.mac_add("02:00:00:01:00:00", ranks.rank * 3000 + i)) end
        ranks.barrier()
        ether.sleep(0.1)
        print "fine"]])
      assert.same({ { "fine", "fine", "fine" }, 0 }, { lines, status }, out)
    end)

    ranks_it("end in order when two have the same endpoint, and rank 0 tells which and who", function()
      for _, both in ipairs { { 0, 2 }, { 1, 2 } } do
        local _, status, out = run(starter, 3, COUNTING .. ENDPOINTS .. ([[
          if ranks.rank == %d then open("02:00:00:00:00:01", "100.7") end
          ranks.barrier()
          if ranks.rank == %d then open("02:00:00:00:00:01", "100.7") end
          ether.sleep(20)]]):format(unpack(both)))
        assert.equal(1, status, out)
        assert.truthy(out:find("sum\t3\t30", 1, true), out)
        local told = "etherlua: rank %d: 02:00:00:00:00:01 in VLAN 100.7 on lo %%(host and network %%x+, %%d+%%) "
          .. "is an endpoint of rank %d, too\n"
        assert.matches(told:format(both[2], both[1]), out)
      end
    end)

    ranks_it("go on when one has ended well before the others", function()
      local lines, status = run(starter, 3, [[
        if ranks.rank == 1 then return end
        ether.sleep(0.3)
        local list = ranks.gather(ranks.rank)
        if list then print(list[1], list[2], list[3]) end]])
      assert.same({ "0\tnil\t2" }, lines)
      assert.equal(0, status)
    end)

    ranks_it("end within two seconds when one is killed, and rank 0 still has what that one told", function()
      local began = os.time()
      local _, status, out = run(starter, 3, KILLED, "1")
      assert.is_true(starter.fails(status), out)
      assert.truthy(out:find "gathered\ttable: %S+\tnil\tthere\ttold\n", out)
      assert.truthy(out:find("etherlua: rank 1: it was lost\n", 1, true), out)
      assert.truthy(out:find("etherlua: rank 1 was ended by signal 9\n", 1, true), out)
      assert.is_true(os.time() - began <= 4)
    end)

    -- Rank 0 hears of it when it waits for the last time, and nothing is left there that an error could end.
    ranks_it("tell of one that is killed while all end, as MPICH's manager has it", function()
      local _, status, out = run(starter, 3, [[
        ether.defer(function()
          if ranks.rank == 1 then os.execute "kill -9 $PPID" end
          local list = ranks.gather { n = 1 }
          if list then print("gathered", list[2] and "there", list[3] and "there") end
        end)
        ranks.barrier()
        os.execute "kill -TERM $PPID"
        ether.sleep(20)]])
      assert.is_true(starter.fails(status), out)
      assert.truthy(out:find("gathered\tnil\tthere\n", 1, true), out)
      assert.truthy(out:find("etherlua: rank 1: it was lost\n", 1, true), out)
    end)

    ranks_it("end in order when rank 0 is killed", function()
      local _, status, out = run(starter, 3, KILLED, "0")
      assert.is_true(starter.fails(status), out)
      for _, words in ipairs { "cleaned up 1\n", "cleaned up 2\n", "etherlua: rank 0 was ended by signal 9\n" } do
        assert.truthy(out:find(words, 1, true), out)
      end
    end)
  end)
end

describe("ranks of one host", function()
  it("are all told of Ctrl-C", function()
    local path = files.temporary [[
      local ether = require "etherlua"
      local ranks = ether.ranks
      ether.defer(function()
        ether.sleep(0.1)
        local sum = ranks.reduce { n = 1 }
        if sum then print("sum", sum.n) end
      end)
      ranks.barrier()
      if ranks.rank == 0 then print "ready" end
      ether.sleep(20)]]
    local running = program.start(nil, "--ranks 3 " .. path)
    running:wait_for "ready"
    local status, out, err = running:interrupt()
    os.remove(path)
    assert.same({ 130, "ready\nsum\t3\n", "" }, { status, out, err })
  end)

  it("are on processors of their own with --pin", function()
    local pinned = { words = function(size) return ("%s run --pin --ranks %d"):format(program.PATH, size) end }
    local lines = run(pinned, 2, [[
      for line in io.lines "/proc/self/status" do
        local list = line:match "^Cpus_allowed_list:%s*(.*)"
        if list then print(ranks.rank, tonumber(list) ~= nil) end
      end]])
    assert.same({ "0\ttrue", "1\ttrue" }, lines)
  end)

  local WRONG = {
    ["--ranks 0 ping"] = "whole number from 1 to 1024",
    ["--ranks x ping"] = "whole number from 1 to 1024",
    ["--ranks 2"] = "no script given",
    ["--ranks 2 -"] = "ranks cannot share a script on standard input",
    ["--ranks 2 --lab ping"] = "--lab and --ranks given",
    ["--pin ping"] = "--pin needs --ranks",
    ["--ranks 2 dhcp4_load -i lo --clients 1"] = "bad value 1 of --clients: 2 ranks need one each at the least",
  }
  for arguments, words in pairs(WRONG) do
    it(("are refused with a line for `%s`"):format(arguments), function()
      local status, out, err = program.run(nil, arguments)
      assert.same({ 2, "" }, { status, out }, err)
      assert.truthy(err:find(words, 1, true), err)
      assert.matches("^[^\n]+\n$", err)
    end)
  end
end)

describe("a process by itself", function()
  it("is rank 0 of 1, and waits for nobody", function()
    local lines = run({ words = function() return program.PATH .. " run" end }, 1, [[
      ranks.barrier()
      print(ranks.rank, ranks.size, (ranks.share(7)), ranks.agree(5), ranks.gather(6)[1], ranks.reduce { n = 3 }.n)]])
    assert.same({ "0\t1\t0\t5\t6\t3" }, lines)
  end)
end)
