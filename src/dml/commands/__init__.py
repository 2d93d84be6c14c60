"""The commands of `dml`, one module each; every module defines its `COMMAND`."""
