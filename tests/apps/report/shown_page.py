"""A page of a report as tests read it."""

from __future__ import annotations

import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """Text by section, tags, and what the page would fetch."""

    def __init__(self, file):
        super().__init__()
        self.tags, self.links, self.sections, self._now = [], [], {"": ""}, ""
        self.html = file.read_text()
        self.feed(self.html)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append((tag, given))
        self.links += [value for name, value in given.items() if name in ("src", "href", "data", "xlink:href")]
        if tag == "h2":
            self._now = given["id"]
            self.sections[self._now] = ""

    def handle_data(self, data):
        self.sections[self._now] += data

    def text(self, section):
        return re.sub(r"\s+", " ", self.sections[section])
