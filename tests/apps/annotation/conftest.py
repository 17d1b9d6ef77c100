import pytest
from asked import Page, maps_folder


@pytest.fixture
def opened(tmp_path):
    """Open the page on a folder: ``opened("--boxes", count=40)``; every page that was opened is ended."""
    pages = []

    def open_page(*options, count=40, port=None):
        pytest.importorskip("gradio", reason="the page needs the extra annotate")
        folder = tmp_path / "asked"
        if not folder.exists():
            maps_folder(folder, count)
        pages.append(Page(folder, *options, port=port))
        return pages[-1]

    yield open_page
    for page in pages:
        page.kill()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of 500 maps for a file of tests, each of which has names of its own."""
    pytest.importorskip("gradio", reason="the page needs the extra annotate")
    found = Page(maps_folder(tmp_path_factory.mktemp("page") / "asked", 500))
    yield found
    found.kill()
