"""Edits a configuration file on a machine that is reached by ssh and has only a Python.

``python config_editor.py HOST [PORT [KEYFILE [SSH OPTIONS ...]]]``; without arguments the machine
is this one and ssh is left out.
"""

import configparser
import sys

from plumbum import SshMachine, local

import rpyc_like as rpyc
from rpyc_like.utils.zerodeploy import DeployedServer

BEFORE = """\
[server]
host = 0.0.0.0
workers = 4

[log]
level = debug
"""


def open_machine(arguments):
    """Returns the machine that the arguments name."""
    if not arguments:
        return local
    host, *rest = arguments
    port = int(rest[0]) if rest else None
    keyfile = rest[1] if len(rest) > 1 else None
    options = rest[2:]
    return SshMachine(host, port=port, keyfile=keyfile, ssh_opts=options, scp_opts=options)


class Editor:
    """A configuration file over there, as nested mappings."""

    def __init__(self, conn, path):
        self.conn = conn
        self.path = path
        self.parser = conn.modules.configparser.ConfigParser()
        if not self.parser.read(path):
            raise FileNotFoundError(path)

    def change(self, section, key, value):
        """Sets a value and says what it was."""
        if not self.parser.has_section(section):
            self.parser.add_section(section)
        before = self.parser.get(section, key, fallback=None)
        self.parser.set(section, key, value)
        print(f"{section}.{key}: {before!r} -> {value!r}")

    def save(self):
        """Writes the file through a second one, so that it is never half written."""
        os = self.conn.modules.os
        temporary = self.path + ".new"
        with self.conn.builtins.open(temporary, "w") as file:
            self.parser.write(file)
        os.replace(temporary, self.path)


def main(arguments):
    machine = open_machine(arguments)
    with DeployedServer(machine, python_executable=sys.executable) as server:
        conn = server.classic_connect()
        folder = conn.modules.tempfile.mkdtemp()
        path = conn.modules.os.path.join(folder, "service.ini")
        with conn.builtins.open(path, "w") as file:
            file.write(BEFORE)

        editor = Editor(conn, path)
        print("sections:", list(editor.parser.sections()))
        for section in ("server", "log"):
            print(section, dict(rpyc.classic.obtain(list(editor.parser.items(section)))))
        editor.change("server", "host", "127.0.0.1")
        editor.change("server", "workers", str(editor.parser.getint("server", "workers") * 2))
        editor.change("tls", "enabled", "yes")
        try:
            editor.parser.get("log", "colour")
        except configparser.NoOptionError as error:
            print("NoOptionError:", str(error).splitlines()[0])
        editor.save()

        with conn.builtins.open(path) as file:
            for line in file:
                print("|", line.rstrip())
        print("files:", sorted(conn.modules.os.listdir(folder)))
        try:
            Editor(conn, path + ".missing")
        except FileNotFoundError:
            print("no such file over there")
        conn.modules.shutil.rmtree(folder)
        conn.close()
    print("done")


if __name__ == "__main__":
    main(sys.argv[1:])
