-- test/junit.lua: the output of `etherlua test -o junit`: XML as CI systems read it. busted's own leaves out the
-- message of a failure where they look for it, and names a test anew when its line changes. It is written when all is
-- over, to the file that -Xoutput names, or to standard output.
--
-- One testsuite for each run (--repeat), one testcase for each test: classname is its file, name its whole name. What
-- failed around tests (setup, a file) is a testcase, too.

local outside = require "etherlua.core.outside"

local M = {}

-- ---- XML ----------------------------------------------------------------------------------------------------------

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["\n"] = "&#10;" }

-- What XML 1.0 cannot say at all is shown as \xNN.
local function escaped(text, pattern)
  return (outside.lines(text):gsub(pattern, ENTITIES))
end

-- attributes: name, value, name, value ...
local function tag(name, attributes)
  local words = { name }
  for i = 1, #attributes, 2 do
    words[#words + 1] = ('%s="%s"'):format(attributes[i], escaped(tostring(attributes[i + 1]), '[&<>"\n]'))
  end
  return table.concat(words, " ")
end

local function seconds(value)
  return ("%.3f"):format(value)
end

local COUNTED = { "tests", "failures", "errors", "skipped" }

local function count(list)
  local counts = { tests = 0, failures = 0, errors = 0, skipped = 0, time = 0 }
  for _, one in ipairs(list) do
    for name in pairs(counts) do counts[name] = counts[name] + one[name] end
  end
  return counts
end

local function with_counts(attributes, counts)
  for _, name in ipairs(COUNTED) do
    attributes[#attributes + 1] = name
    attributes[#attributes + 1] = counts[name]
  end
  attributes[#attributes + 1] = "time"
  attributes[#attributes + 1] = seconds(counts.time)
  return attributes
end

-- The message of each outcome is its first line; all of it is the text.
local function add_case(lines, case)
  local open = tag("testcase", { "classname", case.file, "name", case.name, "file", case.file, "line", case.line,
    "time", seconds(case.time) })
  if #case.outcomes == 0 then
    lines[#lines + 1] = ("    <%s/>"):format(open)
    return
  end
  lines[#lines + 1] = ("    <%s>"):format(open)
  for _, outcome in ipairs(case.outcomes) do
    lines[#lines + 1] = ("      <%s>%s</%s>"):format(tag(outcome.kind, { "message", outcome.message:match "[^\n]*" }),
      escaped(outcome.message, "[&<>]"), outcome.kind)
  end
  lines[#lines + 1] = "    </testcase>"
end

local function text_of(suites)
  local lines = { '<?xml version="1.0" encoding="UTF-8"?>',
    ("<%s>"):format(tag("testsuites", with_counts({}, count(suites)))) }
  for i, suite in ipairs(suites) do
    lines[#lines + 1] = ("  <%s>"):format(tag("testsuite", with_counts({ "name", ("run %d"):format(i), "timestamp",
      suite.timestamp }, suite)))
    for _, case in ipairs(suite.cases) do add_case(lines, case) end
    lines[#lines + 1] = "  </testsuite>"
  end
  lines[#lines + 1] = "</testsuites>\n"
  return table.concat(lines, "\n")
end

-- ---- what busted says ---------------------------------------------------------------------------------------------

-- An element of busted's, of which there may be no more than its name.
local function new_case(handler, element)
  local trace = element.trace or {}
  return { name = handler.getFullName(element), file = trace.short_src or element.name or "?",
    line = trace.currentline or 0, time = 0, outcomes = {} }
end

local COUNTERS = { failure = "failures", error = "errors", skipped = "skipped" }

-- A test counts once, however many things went wrong in it.
local function close_case(suite, case, time)
  case.time = time or 0
  suite.cases[#suite.cases + 1] = case
  local counter = case.outcomes[1] and COUNTERS[case.outcomes[1].kind]
  if counter then suite[counter] = suite[counter] + 1 end
  suite.tests = suite.tests + 1
end

local function add_outcome(case, kind, message)
  case.outcomes[#case.outcomes + 1] = { kind = kind, message = message and tostring(message) or "" }
end

local function new_suite()
  return { cases = {}, tests = 0, failures = 0, errors = 0, skipped = 0, time = 0,
    timestamp = os.date "!%Y-%m-%dT%H:%M:%S" }
end

-- Functions by the event that they are for.
local function listeners(handler, suites)
  local suite, case
  local function in_test(kind)
    return function(_, _, message)
      if case then add_outcome(case, kind, message) end
    end
  end
  local function around(element, _, message)
    if element.descriptor == "it" then return end
    local one = new_case(handler, element)
    add_outcome(one, "error", message)
    close_case(suite, one)
  end
  return {
    [{ "suite", "start" }] = function()
      suite = new_suite()
      suites[#suites + 1] = suite
    end,
    [{ "suite", "end" }] = function(element) suite.time = element.duration or 0 end,
    [{ "test", "start" }] = function(element) case = new_case(handler, element) end,
    [{ "test", "end" }] = function(element, _, status)
      if status == "pending" and #case.outcomes == 0 then add_outcome(case, "skipped", element.message) end
      close_case(suite, case, element.duration)
      case = nil
    end,
    [{ "pending" }] = in_test "skipped",
    [{ "failure", "it" }] = in_test "failure",
    [{ "error", "it" }] = in_test "error",
    [{ "failure" }] = around,
    [{ "error" }] = around,
  }
end

local function open(path)
  if not path then return io.stdout end
  local file, reason = io.open(path, "w")
  if not file then error({ exit_status = 2, message = "cannot write the report " .. reason }, 0) end
  return file
end

-- For busted: its output handler.
---@param given table of busted; arguments: { path }
---@return table handler
function M.new(given)
  local busted = require "busted"
  local handler = require "busted.outputHandlers.base"()
  local suites, file = {}, open(type(given.arguments) == "table" and given.arguments[1] or nil)
  for event, fn in pairs(listeners(handler, suites)) do
    busted.subscribe(event, function(...)
      fn(...)
      return nil, true
    end)
  end
  busted.subscribe({ "exit" }, function()
    file:write(text_of(suites))
    if file ~= io.stdout then file:close() end
    return nil, true
  end)
  return handler
end

return M
