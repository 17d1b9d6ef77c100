"""UpDn (arXiv 1707.07998) for captions: attention LSTM and language LSTM."""
