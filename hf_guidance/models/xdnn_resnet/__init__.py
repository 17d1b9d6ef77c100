"""X-DNN ResNets (arXiv 2111.07668): networks without biases."""
