"""What a step is made of: passes through the network, the sum of gradients over workers, the flat tensors, the engine.

To be used by update rules: engine; by training: passes, reduction, flat, cuda_graph.
"""
