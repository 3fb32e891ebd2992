"""Topics, channels and messages as NSQ defines them. Pure: no clock, thread, file or loop."""
