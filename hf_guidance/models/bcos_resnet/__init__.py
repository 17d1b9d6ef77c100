"""B-cos ResNets (arXiv 2205.10268): layers ``W(x) x``, and networks made of them."""
