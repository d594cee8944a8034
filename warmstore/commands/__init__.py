"""The commands, grouped by what a user is doing."""
