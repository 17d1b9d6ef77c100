"""UpDn (arXiv 1707.07998): the question attends to boxes; with its tokenizer and word vectors."""
