"""Parse HTML pages in tests."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "hr"}


class Page(HTMLParser):
    """A parsed page: its texts, table rows, headings, and the resources that it would load."""

    def __init__(self, source):
        super().__init__()
        self.texts, self.rows, self.images, self.links, self.open = [], [], [], [], []
        self.classes, self.headings, self.tags = [], [], []
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag in {"h1", "h2", "h3", "h4"}:
            self.headings.append([int(tag[1]), ""])
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
            self.classes.append(attributes.get("class"))
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        if tag == "img":
            self.images.append(attributes)
        self.links += [attributes[key] for key in ("src", "href") if key in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.texts.append(data)
        if {"h1", "h2", "h3", "h4"} & set(self.open):
            self.headings[-1][1] += " ".join(data.split())
        if self.open[-1:] and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += " ".join(data.split())

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def all_rows(self, name):
        return [row[1:] for row in self.rows if row and row[0] == name]

    def row(self, name):
        (row,) = self.all_rows(name)
        return row
