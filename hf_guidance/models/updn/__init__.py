"""UpDn (arXiv 1707.07998): attention over boxes by the question; its tokenizer and word vectors."""
