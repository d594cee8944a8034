"""The commands of the command line, a file for each purpose; `warmstore.cli` lists them."""
