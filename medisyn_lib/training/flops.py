"""What a computation costs in operations, and how much of them a quality takes."""

from collections import Counter
from collections.abc import Callable
from typing import Any


def count_flops(function: Callable[[], Any]) -> tuple[int, dict[str, int]]:
    """Floating-point operations of one call in torch, a multiply-add as two, by torch's formulas; attention as plain
    products. Beside them, uncounted, the elements put out by each operator without a formula, views aside.
    """
    from torch import is_tensor
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves
    from torch.utils.flop_counter import FlopCounterMode, flop_registry

    uncounted = Counter[str]()

    class Rest(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            out = func(*args, **(kwargs or {}))
            if func.overloadpacket not in flop_registry and not func.is_view:
                uncounted[str(func.overloadpacket)] += sum(
                    x.numel() for x in tree_leaves(out) if is_tensor(x)
                )
            return out

    # The counter takes a processor's fused attention for nothing.
    with Rest(), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        function()
    return int(counter.get_total_flops()), dict(uncounted)
