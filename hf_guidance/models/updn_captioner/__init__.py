"""UpDn's captioner (arXiv 1707.07998, section 3.2), with its tokenizer."""
