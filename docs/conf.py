"""How Sphinx builds these pages: `make docs`."""

from aigw import __version__

project = "aigw"
release = version = __version__
html_title = f"aigw {release}"
html_theme = "alabaster"
html_theme_options = {"description": "One WebSocket, any provider, every request logged.", "page_width": "66em"}
exclude_patterns = ["_build"]
highlight_language = "none"
# A reference to nothing is a mistake.
nitpicky = True
