"""What a hostile peer can do, and that it gets nothing by it."""
