"""A bridge to a program that is being debugged: a client browses a big tree of its objects."""

import rpyc_like as rpyc


class Node:
    """An object of the program: fields, children, a parent."""

    def __init__(self, name, size, parent=None):
        self.name = name
        self.size = size
        self.parent = parent
        self.children = []
        self.tags = {}
        if parent is not None:
            parent.children.append(self)

    def __repr__(self):
        return f"<Node {self.name}>"

    def __len__(self):
        return len(self.children)

    def __getitem__(self, index):
        return self.children[index]

    def __contains__(self, name):
        return any(child.name == name for child in self.children)

    def path(self):
        return (self.parent.path() if self.parent else "") + "/" + self.name

    def walk(self):
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    def broken(self):
        raise RuntimeError(f"{self.name} cannot be measured")


def build(depth, width, name="root", parent=None):
    node = Node(name, depth * width, parent)
    if depth:
        for number in range(width):
            build(depth - 1, width, f"{name}{number}", node)
    return node


class BridgeService(rpyc.Service):
    """Gives the tree away: reading only."""

    def __init__(self):
        self.root = build(4, 4)
        self.breakpoints = []

    def exposed_tree(self):
        return self.root

    def exposed_guarded_tree(self):
        return rpyc.restricted(self.root, ["name", "path"], [])

    def exposed_on_break(self, path, callback):
        self.breakpoints.append((path, callback))

    def exposed_run(self):
        hits = 0
        for node in self.root.walk():
            for path, callback in self.breakpoints:
                if node.path() == path:
                    hits += 1
                    callback(node, {"depth": node.path().count("/"), "size": node.size})
        return hits


def main():
    conn = rpyc.connect_thread(
        remote_service=BridgeService, remote_config={"allow_public_attrs": True}
    )
    tree = conn.root.tree()
    print(tree, len(tree), tree[1], tree[-1].name, "root2" in tree, "nobody" in tree)
    print("path:", tree[1][2][3].path(), "parent:", tree[1][2].parent)
    print("same object:", tree[1][2].parent == tree[1], tree[0] == tree[1])
    print("class:", tree.__class__.__name__, isinstance(tree, rpyc.BaseNetref))
    public = [name for name in dir(tree) if not name.startswith("_")]
    print("names:", public)

    names = [node.name for node in rpyc.buffiter(tree.walk())]
    print("all:", len(names), names[:3], names[-1])
    total = sum(child.size for child in tree)
    print("size of the children:", total)

    for attempt in ("missing", "broken", "_secret", "__dict__"):
        try:
            print(attempt, getattr(tree, attempt))
        except AttributeError:
            print(attempt, "-> AttributeError")
        except RuntimeError as error:
            print(attempt, "-> RuntimeError:", error.args[0])
            print("line of the far side:", "cannot be measured" in str(error).split("Remote")[1])
    for name in ("size", "tags"):
        try:
            setattr(tree, name, 0)
            print(name, "was set")
        except AttributeError:
            print(name, "cannot be set")
    tree.tags["seen"] = True
    print("tags:", tree.tags, "seen" in tree.tags, sorted(tree.tags))

    guarded = conn.root.guarded_tree()
    print("guarded:", guarded.name, guarded.path(), hasattr(guarded, "children"))

    def on_break(node, about):
        print("break at", node.path(), sorted(about.items()))

    conn.root.on_break("/root/root3/root31", on_break)
    print("hits:", conn.root.run())
    conn.close()


if __name__ == "__main__":
    main()
