"""``torch_compile=True`` with guidance on attributions: the whole step is compiled, with its second derivatives."""
