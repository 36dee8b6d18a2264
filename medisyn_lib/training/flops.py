"""Floating-point operations of a computation in torch."""

from collections import Counter
from collections.abc import Callable
from typing import Any


def count_flops(function: Callable[[], Any]) -> tuple[int, dict[str, int]]:
    """Count the floating-point operations of one call by torch's own formulas.

    A multiply-add counts as two; attention counts as plain matrix products.

    Parameters
    ----------
    function : callable
        Called once, without arguments.

    Returns
    -------
    flops : int
        Operations of all operators with a formula.
    uncounted : dict of str to int
        Elements put out by each operator without a formula, views left out.
    """
    from torch import is_tensor
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves
    from torch.utils.flop_counter import FlopCounterMode, flop_registry

    uncounted = Counter[str]()

    class CountUncounted(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            out = func(*args, **(kwargs or {}))
            if func.overloadpacket not in flop_registry and not func.is_view:
                elements = sum(x.numel() for x in tree_leaves(out) if is_tensor(x))
                uncounted[str(func.overloadpacket)] += elements
            return out

    # The counter takes fused attention on a CPU to cost nothing.
    with CountUncounted(), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        function()
    return int(counter.get_total_flops()), dict(uncounted)
