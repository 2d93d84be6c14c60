"""PyTorch's compiler for the loss and the head of a learner."""

import warnings
from collections.abc import Callable
from typing import Any


class Program:
    """A function that PyTorch compiles into one graph, forward and backward, when first called.

    What can't be one graph, such as a choice that depends on values, runs operation by operation
    instead, after a warning: a graph that breaks in each step would gain nothing.

    Args:
        function: Takes and returns tensors, and objects that hold them.
        name: Of what it computes, for the warning.
    """

    def __init__(self, function: Callable[..., Any], name: str):
        import torch

        self.function = function
        self.name = name
        self.call = torch.compile(function, fullgraph=True)

    def __call__(self, *arguments: Any) -> Any:
        from torch._dynamo.exc import Unsupported

        try:
            return self.call(*arguments)
        except Unsupported as error:  # while tracing: nothing was computed yet
            if self.call is self.function:
                raise
            self.call = self.function
            reason = str(error).strip().splitlines()[0]
            warnings.warn(f"{self.name} is not compiled, as PyTorch can't: {reason}", stacklevel=2)
            return self.function(*arguments)
