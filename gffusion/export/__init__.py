"""Export models as ONNX and torch.export files, and run ONNX files."""
