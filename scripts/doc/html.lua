-- html.lua: pages for people: one a module, one for the C interface, one a chapter of the manual, an index.
-- Plain HTML that needs no script.

local M = {}

local STYLE = [[
body { max-width: 50em; margin: 2em auto; padding: 0 1em; font: 16px/1.5 sans-serif; color: #222; background: #fff; }
code, pre { font: 14px/1.4 monospace; } pre { overflow-x: auto; background: #f5f5f5; padding: .5em; }
h2 { border-top: 1px solid #ccc; padding-top: .5em; margin-top: 2em; } h3 { margin: 1.5em 0 .3em; }
table { border-collapse: collapse; margin: .3em 0; } td, th { vertical-align: top; padding: .1em .8em .1em 0; }
th { text-align: left; }
p { margin: .3em 0; } .type { color: #666; } a { color: #05a; text-decoration: none; } :target { background: #ffd; }
]]

local links = {} -- name of a class -> where it is described

local function escape(text)
  return (text:gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }))
end

local function inline(text)
  return (escape(text):gsub("`([^`]+)`", "<code>%1</code>"))
end

local function type_text(text)
  return (escape(text):gsub("etherlua%.[%w_]+", function(name)
    return links[name] and ('<a href="%s">%s</a>'):format(links[name], name)
  end))
end

local function capital(text)
  return (text:gsub("^%l", string.upper))
end

-- ---- text ---------------------------------------------------------------------------------------------------------

local function is_picture(lines)
  for _, line in ipairs(lines) do
    if not line:find "^  " then return false end
  end
  return #lines > 0
end

local function paragraph(lines)
  if #lines == 0 then return "" end
  if is_picture(lines) then return ("<pre>%s</pre>\n"):format(escape(table.concat(lines, "\n"))) end
  return ("<p>%s</p>\n"):format(inline(capital(table.concat(lines, " "))))
end

-- Paragraphs are parted by empty lines; one that is indented stays as it is.
local function prose(lines)
  local out, current = {}, {}
  for _, line in ipairs(lines) do
    if line == "" then
      out[#out + 1] = paragraph(current)
      current = {}
    else
      current[#current + 1] = line
    end
  end
  out[#out + 1] = paragraph(current)
  return table.concat(out)
end

local function without_file_name(lines)
  local copy = { unpack(lines) }
  copy[1] = copy[1] and copy[1]:gsub("^[%w_/.]+%.lua: ", "")
  return copy
end

local function first_sentence(lines)
  local text = table.concat(lines, " ")
  return inline(capital(text:match "^(.-[^%.]%.)%s" or text))
end

-- ---- a page -------------------------------------------------------------------------------------------------------

local function document(title, body)
  return ([[<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>%s</title>
<meta name="viewport" content="width=device-width">
<style>
%s</style></head>
<body>
%s</body>
</html>
]]):format(escape(title), STYLE, body)
end

local function row(first, kind, text)
  return ('<tr><td>%s</td><td class="type"><code>%s</code></td><td>%s</td></tr>\n'):format(first, type_text(kind),
    inline(text))
end

local function rows_of(list, optional_mark)
  local out = {}
  for _, one in ipairs(list) do
    out[#out + 1] = row(("<code>%s%s</code>"):format(escape(one.name), one.optional and optional_mark or ""), one.type,
      one.text)
  end
  return table.concat(out)
end

local function signature(entry)
  local args = {}
  for i, name in ipairs(entry.item.args) do args[i] = name end
  for i, param in ipairs(entry.item.doc.params) do
    if param.optional then args[i] = param.name .. "?" end
  end
  return escape(("%s(%s)"):format(entry.called, table.concat(args, ", ")))
end

local function function_html(entry)
  local doc, returns = entry.item.doc, {}
  for i, one in ipairs(doc.returns) do returns[i] = row(i == 1 and "returns" or "", one.type, one.text) end
  local rows = rows_of(doc.params, "?") .. table.concat(returns)
  return ('<h3 id="%s"><code>%s</code></h3>\n%s%s'):format(escape(entry.called), signature(entry), prose(doc.text),
    rows ~= "" and ("<table>\n%s</table>\n"):format(rows) or "")
end

local function functions_html(list)
  local out = {}
  for i, entry in ipairs(list) do out[i] = function_html(entry) end
  return table.concat(out)
end

local function class_html(class)
  local doc = class.doc
  local parent = doc.parent and ("<p>It has all that %s has.</p>\n"):format(type_text(doc.parent)) or ""
  local fields = rows_of(doc.fields, "?")
  return ('<h2 id="%s">%s</h2>\n%s%s%s%s'):format(class.name, class.name, prose(doc.text), parent,
    fields ~= "" and ("<table>\n%s</table>\n"):format(fields) or "", functions_html(class.methods))
end

local function constant_html(page, item)
  return ("<tr><td><code>%s</code></td><td>%s</td></tr>\n"):format(escape((item.shown:gsub("M%.", page.prefix .. "."))),
    inline(table.concat(item.doc.text, " ")))
end

local function constants_html(page)
  local out = {}
  for i, item in ipairs(page.constants) do out[i] = constant_html(page, item) end
  return #out > 0 and ("<h2>Constants</h2>\n<table>\n%s</table>\n"):format(table.concat(out)) or ""
end

-- The file that a page is written to.
---@param page table
---@return string name
function M.file(page)
  return page.name .. ".html"
end

-- Where each class is described, for links from its name.
---@param pages table[]
function M.link(pages)
  for _, page in ipairs(pages) do
    for _, class in ipairs(page.classes) do links[class.name] = M.file(page) .. "#" .. class.name end
  end
end

-- The page of one module.
---@param page table from model.read()
---@return string HTML
function M.page(page)
  local classes = {}
  for i, class in ipairs(page.classes) do classes[i] = class_html(class) end
  local functions = functions_html(page.functions)
  if functions ~= "" then functions = "<h2>Functions</h2>\n" .. functions end
  return document(page.name, ('<p><a href="index.html">etherlua</a></p>\n<h1>%s</h1>\n%s%s%s%s'):format(page.name,
    prose(without_file_name(page.header.text)), functions, table.concat(classes), constants_html(page)))
end

-- ---- the C interface ----------------------------------------------------------------------------------------------

local function slug(title)
  return (title:gsub("[^%w]+", "-"))
end

-- abi.h as it is, with a heading for each of its parts.
---@param text string of abi.h
---@return string HTML
function M.abi(text)
  local contents, body = {}, {}
  text = text:gsub("^#pragma once\n", ""):gsub("\n/%* %-%-%-%- (.-) %-+ %*/\n", "\n\1%1\n")
  for title, part in ("\1The boundary\n" .. text):gmatch "\1([^\n]+)\n([^\1]*)" do
    contents[#contents + 1] = ('<li><a href="#%s">%s</a></li>\n'):format(slug(title), escape(capital(title)))
    body[#body + 1] = ('<h2 id="%s">%s</h2>\n<pre>%s</pre>\n'):format(slug(title), escape(capital(title)),
      escape(part:match "^%s*(.-)%s*$"))
  end
  return document("abi.h", ('<p><a href="index.html">etherlua</a></p>\n<h1>abi.h</h1>\n<ul>\n%s</ul>\n%s'):format(
    table.concat(contents), table.concat(body)))
end

-- ---- the index ----------------------------------------------------------------------------------------------------

-- What a function does, or what it returns where that says all.
local function summary(doc)
  if #doc.text > 0 then return first_sentence(doc.text) end
  return doc.returns[1].text ~= "" and "Returns: " .. inline(doc.returns[1].text) or ""
end

local function index_rows(page, list)
  local out = {}
  for i, entry in ipairs(list) do
    out[i] = ('<tr><td><a href="%s#%s"><code>%s</code></a></td><td>%s</td></tr>\n'):format(M.file(page),
      escape(entry.called), escape(entry.called), summary(entry.item.doc))
  end
  return table.concat(out)
end

local function index_page(page)
  local rows = index_rows(page, page.functions)
  for _, class in ipairs(page.classes) do rows = rows .. index_rows(page, class.methods) end
  return ('<h2><a href="%s">%s</a></h2>\n<p>%s</p>\n%s'):format(M.file(page), page.name,
    first_sentence(without_file_name(page.header.text)), rows ~= "" and ("<table>\n%s</table>\n"):format(rows) or "")
end

local function link_to(chapter)
  return ('<a href="%s.html">%s</a>'):format(chapter.name, escape(chapter.title))
end

local function contents(chapters)
  local out = {}
  for i, chapter in ipairs(chapters) do out[i] = ("<li>%s</li>\n"):format(link_to(chapter)) end
  return ("<ul>\n%s</ul>\n"):format(table.concat(out))
end

-- The chapters of the manual, and every function by name, in the order of the pages.
---@param pages table[] from model.read()
---@param chapters table[] from manual.chapters()
---@return string HTML
function M.index(pages, chapters)
  local out = {}
  for i, page in ipairs(pages) do out[i] = index_page(page) end
  return document("etherlua", "<h1>etherlua</h1>\n<h2>Manual</h2>\n" .. contents(chapters) ..
    '<h2>Reference</h2>\n<p>The Lua modules, and the C interface <a href="abi.html">abi.h</a>.</p>\n' ..
    table.concat(out))
end

-- ---- the manual ---------------------------------------------------------------------------------------------------

-- The page of a chapter.
---@param chapter table from manual.chapters()
---@param body string HTML
---@param follower? table the next chapter
---@return string HTML
function M.chapter(chapter, body, follower)
  local next_link = follower and ("<p>Next: %s</p>\n"):format(link_to(follower)) or ""
  return document(chapter.title, '<p><a href="index.html">etherlua</a></p>\n' .. body .. next_link)
end

return M
