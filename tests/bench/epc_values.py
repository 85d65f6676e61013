"""A value of 98 KB, in s-expressions."""

NESTED = [
    {
        "name": f"item{i}",
        "value": i,
        "tags": ["a", "b", "c d"],
        "pos": {"x": i * 1.5, "y": -i},
        "ok": True,
    }
    for i in range(1100)
]
