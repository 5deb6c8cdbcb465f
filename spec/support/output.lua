-- output.lua: how busted reports: a line for each spec file, below it what failed and why something was skipped, and
-- last of all "N passed, N failed, N skipped". Errors count as failed. It also ends the process, with status 1 when
-- anything failed or nothing ran: busted's own way of exiting would print after the totals.

local FAST = os.getenv "FAST" -- then most of it is skipped, for one reason

local function indent(text)
  return "    " .. text:gsub("\n+$", ""):gsub("\n", "\n    ")
end

local function place(entry)
  local trace = entry.element.trace or entry.trace or {}
  return trace.short_src and ("%s:%d: "):format(trace.short_src, trace.currentline) or ""
end

-- busted prefixes the text given to pending() with the place of the call.
local function reason(pending)
  local message = tostring(pending.message or "pending")
  return message:match("^[^\n]-:%d+: (.*)") or message
end

local function counts(passed, failed, skipped)
  return ("%d passed, %d failed, %d skipped"):format(passed, failed, skipped)
end

return function()
  local busted = require "busted"
  local handler = require "busted.outputHandlers.base"()
  local files, started = 0, 0
  local passed, failed, skipped = 0, 0, 0 -- already reported

  local function print_failure(entry)
    io.write("FAILED: ", place(entry), entry.name, "\n", indent(tostring(entry.message)), "\n")
    local trace = entry.trace and entry.trace.traceback
    if trace then io.write(indent(trace:gsub("^\n+", "")), "\n") end
  end

  -- Says what failed and what was skipped since the last report, after handing its totals to `write_line`.
  local function report(write_line)
    local now = { handler.successesCount, handler.failuresCount + handler.errorsCount, handler.pendingsCount }
    write_line(counts(now[1] - passed, now[2] - failed, now[3] - skipped))
    passed, failed, skipped = unpack(now)
    for _, entry in ipairs(handler.failures) do print_failure(entry) end
    for _, entry in ipairs(handler.errors) do print_failure(entry) end
    for _, entry in ipairs(FAST and {} or handler.pendings) do
      io.write("skipped: ", entry.name, ": ", reason(entry), "\n")
    end
    handler.failures, handler.errors, handler.pendings = {}, {}, {}
    io.flush()
  end

  local function suite_start(suite)
    files = #busted.children(suite)
    report(function() end) -- files that do not load
    return nil, true
  end

  -- The name first and at once, so that one sees which file hangs or crashes.
  local function file_start(file)
    started = started + 1
    io.write(("[%d/%d] %-36s "):format(started, files, file.name))
    io.flush()
    return nil, true
  end

  -- The same of a test, where whoever runs the file wants to know: in the file that the environment names.
  local at = os.getenv "AT"
  local function test_start(element)
    local file = at and io.open(at, "w")
    if file then
      file:write(handler.getFullName(element))
      file:close()
    end
    return nil, true
  end

  local function file_end(file)
    report(function(line) io.write(("%s  %.2f s\n"):format(line, file.duration)) end)
    return nil, true
  end

  local function exit()
    report(function() end)
    print(counts(passed, failed, skipped))
    os.exit(failed == 0 and passed + skipped > 0 and 0 or 1, true)
  end

  busted.subscribe({ "suite", "start" }, suite_start)
  busted.subscribe({ "file", "start" }, file_start)
  busted.subscribe({ "file", "end" }, file_end)
  busted.subscribe({ "test", "start" }, test_start)
  busted.subscribe({ "exit" }, exit)
  return handler
end
