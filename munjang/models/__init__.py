"""Where models come from: the hub, a folder, or a package that carries one."""
