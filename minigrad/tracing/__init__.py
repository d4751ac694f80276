"""A run, step by step: what was computed, and how its gradients flowed."""
