-- comments.lua: what no other tool checks of the sources' comments: that no line is wider than 120 columns, in C too,
-- where clang-format leaves comments alone; and that Lua writes prose behind -- and annotations alone behind ---.
--
--   luajit scripts/doc/comments.lua FOLDER...

local WIDEST, TAB = 120, 8

local failed = false

local function complain(path, number, ...)
  io.stderr:write(("%s:%d: "):format(path, number), string.format(...), "\n")
  failed = true
end

-- Columns of a line: a tab goes to the next multiple of eight, a character of UTF-8 is one however many bytes it has.
local function width(line)
  local columns = 0
  for char in line:gmatch "[^\128-\191]" do columns = char == "\t" and columns - columns % TAB + TAB or columns + 1 end
  return columns
end

-- Behind an annotation its text may go on, two columns further in.
local function check_dashes(path, number, line, goes_on)
  local text = line:match "^%s*%-%-%-([^-].*)$"
  if not text then return false end
  if text:find "^@" or goes_on and text:find "^  %S" then return true end
  complain(path, number, "prose begins with --, an annotation with ---@, its next line with --- and two spaces")
  return false
end

local function check(path)
  local number, goes_on, is_lua = 0, false, path:find "%.lua$"
  for line in io.lines(path) do
    number = number + 1
    if width(line) > WIDEST then complain(path, number, "%d columns, %d are allowed", width(line), WIDEST) end
    goes_on = is_lua and check_dashes(path, number, line, goes_on)
  end
end

assert(#arg > 0, "no folder given: luajit scripts/doc/comments.lua FOLDER...")
local listing = io.popen("find '" .. table.concat(arg, "' '") .. "' -name '*.lua' -o -name '*.[ch]'")
for path in listing:lines() do check(path) end
listing:close()
os.exit(failed and 1 or 0)
