"""Makes a folder of another machine like a folder of this one, and brings its logs back."""

import hashlib
import os
import shutil
import tempfile

import rpyc_like as rpyc

LOCAL = {
    "app/main.py": b"print('version 2')\n",
    "app/data/table.csv": b"a,b\n1,2\n" * 5000,
    "app/data/empty": b"",
    "app/notes.txt": b"unchanged\n",
    "app/image.bin": bytes(range(256)) * 1000,
    "app/main.pyc": b"not to be sent",
}
REMOTE = {
    "app/main.py": b"print('version 1')\n",
    "app/notes.txt": b"unchanged\n",
    "app/old/gone.txt": b"to be removed\n",
}


def fill(folder, files):
    for name, content in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)


def inventory(folder):
    """Returns the digest of each file below a folder. Runs here and, teleported, there."""
    import hashlib
    import os

    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            with open(path, "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
            found[os.path.relpath(path, folder).replace(os.sep, "/")] = digest
    return found


def wanted(name):
    return not name.endswith(".pyc")


def synchronise(conn, local, remote):
    """Brings the remote folder up to date; prints what it does."""
    there_os = conn.modules.os
    here = {name: digest for name, digest in inventory(local).items() if wanted(name)}
    there = rpyc.classic.obtain(conn.teleport(inventory)(remote))
    for name in sorted(here.keys() | there.keys()):
        remote_path = there_os.path.join(remote, name)
        if name not in here:
            there_os.remove(remote_path)
            print("removed ", name)
        elif here[name] != there.get(name):
            there_os.makedirs(there_os.path.dirname(remote_path), exist_ok=True)
            rpyc.classic.upload(conn, os.path.join(local, name), remote_path)
            print("sent    ", name)
        else:
            print("same    ", name)


def main():
    folder = tempfile.mkdtemp()
    local, remote, back = (os.path.join(folder, name) for name in ("local", "remote", "back"))
    fill(local, LOCAL)
    fill(remote, REMOTE)
    conn = rpyc.classic.connect_thread()

    print("-- first time")
    synchronise(conn, local, remote)
    print("-- second time")
    synchronise(conn, local, remote)

    print("-- a whole tree, filtered")
    conn.execute("import os")
    rpyc.classic.upload(conn, local, remote + "2", filter=wanted)
    names = sorted(conn.teleport(inventory)(remote + "2"))
    print(names)

    print("-- logs come back")
    log = conn.modules.os.path.join(remote, "run.log")
    with conn.builtins.open(log, "w") as file:
        for number in range(3):
            file.write("line %d\n" % number)
    rpyc.classic.download(conn, remote, back)
    print(sorted(inventory(back)))
    with open(os.path.join(back, "run.log")) as file:
        print(file.read().split("\n"))
    same = hashlib.sha256(LOCAL["app/image.bin"]).hexdigest() == inventory(back)["app/image.bin"]
    print("image is the same:", same)
    try:
        rpyc.classic.download(conn, remote + "/nothing", back + "/nothing")
    except ValueError as error:
        print("ValueError:", "nothing" in str(error))
    conn.close()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
