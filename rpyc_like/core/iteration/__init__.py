"""Iterating over remote containers."""
