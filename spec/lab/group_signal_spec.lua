-- Ctrl-C at the terminal goes to the whole process group. What is started just then is not of it.

local files = require "support.files"
local lab_it = require "support.root_it"
local program = require "support.program"
local shell = require "support.shell"

-- Preloaded, it has the signal come to what was forked just before that leaves the group.
local SETSID = [[
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>
pid_t setsid(void)
{
	kill(getpid(), SIGNAL);
	return (pid_t)syscall(SYS_setsid);
}
]]

local SCRIPT = [[
local lab = require "etherlua.lab.lab"
local ns = lab.namespace()
io.write(ns:run "echo command")
print("program " .. ns:start({ "true" }):wait(5))]]

describe("a program that is started in a namespace while a signal comes to the process group", function()
  for _, name in ipairs { "SIGINT", "SIGHUP", "SIGQUIT", "SIGTERM" } do
    lab_it(("(%s) runs, for the signal was for who started it"):format(name), function()
      local folder = shell.output_of "mktemp -d":match "%S+"
      finally(function() os.execute("rm -r " .. folder) end)
      files.write(folder .. "/setsid.c", SETSID)
      files.write(folder .. "/script.lua", SCRIPT)
      shell.output_of(("%s -D_GNU_SOURCE -DSIGNAL=%s -shared -fPIC -o %s/setsid.so %s/setsid.c"):format(
        os.getenv "CC" or "cc", name, folder, folder))
      -- The leaks would be those of the programs that it starts.
      local text = shell.run(("ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD='%s %s/setsid.so' %s run %s/script.lua"):format(
        os.getenv "SANITIZER" or "", folder, program.PATH, folder))
      assert.equal("command\nprogram 0\n", text)
    end)
  end
end)
