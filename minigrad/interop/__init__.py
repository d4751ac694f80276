"""Friends: what minigrad shares with other libraries. Each is loaded when it is used.

`dlpack` shares memory (`mg.from_dlpack`), `torch` exchanges weights with PyTorch, and `einops`
makes `einops.rearrange(x, "b h w c -> b (h w) c")` work on Tensors.
"""
