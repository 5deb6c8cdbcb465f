-- A program that has rights by its file, which its user has not: nothing that the user says in the environment, or
-- keeps at home, leads to a file that it reads.

local files = require "support.files"
local nobody = require "support.nobody"
local root_it = require("support.root_it").as_root
local shell = require "support.shell"
local terminal = require "support.terminal"

describe("a program that has rights by its file", function()
  local copy, folder, program

  -- A copy of it, and a home with all that programs look for there.
  before_each(function()
    if not shell.is_root then return end
    copy = nobody.copy()
    folder, program = copy.folder, copy.path
    shell.output_of(("mkdir -p %s/home/bin && chmod 777 %s/home"):format(folder, folder))
    files.write(folder .. "/home/.editrc", "bind -s ^A EVIL\n")
    for _, name in ipairs { "ip", "tc", "ethtool", "ls", "sh", "stty" } do
      files.write(folder .. "/home/bin/" .. name, "#!/bin/sh\necho evil " .. name .. " >&2\n")
    end
    shell.output_of(("chmod 755 %s/home/bin/* && setcap cap_net_raw+ep %s"):format(folder, program))
  end)

  after_each(function()
    shell.close_all()
    if copy then copy:close() end
  end)

  local function set_rights(on) shell.output_of(("setcap %s %s"):format(on and "cap_net_raw+ep" or "-r", program)) end

  root_it("keeps words about the terminal and the language, and a PATH of its own", function()
    files.write(folder .. "/tell.lua", [[
      for _, name in ipairs { "PATH", "TERM", "LANG", "LC_ALL" } do print(name, os.getenv(name)) end
      os.execute "env | cut -d= -f1 | grep -vE '^(PWD|OLDPWD|SHLVL|_)$' | sort | tr '\n' ' '"]])
    local command = (nobody.AS .. "-i PATH=%s/home/bin:/bin TERM=xterm LANG=C.UTF-8 LC_ALL=/etc/x HOME=%s/home " ..
      "TERMINFO=%s TERMINFO_DIRS=%s TMPDIR=%s ETHERLUA_LIB=%s/x.so LUA_INIT=@%s/x.lua LUA_PATH=%s/?.lua EDITRC=%s/x " ..
      "ENV=%s/x BASH_ENV=%s/x LIBXDP_OBJECT_PATH=%s/x XDG_STATE_HOME=%s NEW=1 %s run %s/tell.lua")
      :gsub("%%s", folder, 13):format(program, folder)
    assert.same({ "PATH\t/usr/sbin:/usr/bin:/sbin:/bin\nTERM\txterm\nLANG\tC.UTF-8\nLC_ALL\tnil\nLANG PATH TERM ", 0 },
      { shell.run(command) })
    set_rights(false)
    assert.matches("ENV .*TERMINFO", (shell.run((command:gsub("ETHERLUA_LIB=%S+ ", "")))))
  end)

  root_it("runs no program that the user's PATH names", function()
    local command = (nobody.AS .. "PATH=%s/home/bin:$PATH %s %%s"):format(folder, program)
    assert.is_nil(shell.run(command:format "doctor lo"):find "evil")
    assert.matches("arp_scan, arping", (shell.run(command:format "run --help"))) -- as `ls` has listed them
    set_rights(false)
    assert.is_nil(shell.run(command:format "run --help"):find "arp_scan")
  end)

  root_it("reads neither .editrc nor terminfo at home, and keeps the history there, for its user alone", function()
    local missing = shell.missing "tmux"
    if missing then return pending(missing) end
    local function line_with_key(awaited)
      local words = { unpack(nobody.WORDS) }
      words[#words + 1] = program
      words[#words + 1] = "repl"
      local term = shell.keep(terminal.start(words, { env = { "HOME=" .. folder .. "/home" } }))
      term:wait_for "\n>"
      term:key "C-a"
      term:enter "print('li'..'ne')"
      term:wait_for(awaited)
      term:key "C-d"
    end
    line_with_key "line"
    local history = folder .. "/home/.local/state/etherlua/history"
    assert.equal("600 nobody\n", shell.output_of("stat -c '%a %U' " .. history))
    assert.matches("print", files.read_all(history))
    set_rights(false)
    line_with_key "EVIL"
  end)

  root_it("has busted read no .busted and no src that lie in the current directory", function()
    files.write(folder .. "/home/.busted", "io.stderr:write 'evil .busted\\n' return {}")
    shell.output_of(("mkdir -p %s/home/src/luassert %s/home/spec"):format(folder, folder))
    files.write(folder .. "/home/src/luassert/init.lua", "io.stderr:write 'evil luassert\\n'")
    files.write(folder .. "/home/spec/a_spec.lua", "it('works', function() end)")
    shell.output_of(("chmod 755 %s/home && chmod -R a+rX %s/home"):format(folder, folder))
    local command = ("cd %s/home && %s -u LUA_PATH %s test"):format(folder, nobody.AS, program)
    local text, status = shell.run(command)
    assert.equal(0, status, text)
    assert.is_nil(text:find "evil")
    set_rights(false)
    assert.matches("evil", (shell.run(command)))
  end)
end)
