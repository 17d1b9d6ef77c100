"""Every architecture that timm and transformers offer for image classification: builders, and a judge of what is read."""
