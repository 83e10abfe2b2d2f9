"""Pure rooms: data in, data out; no clock, no thread, no socket."""
