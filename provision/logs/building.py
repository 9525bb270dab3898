"""Which layer of the net was being set up when the program ended, by what Caffe tells while it builds a net.

Data layers read in threads of their own. A fatal line of such a thread stands wherever the net's own thread happens to
be, and that layer has nothing to do with it: the thread's number in glog's prefix tells.
"""

import re

_TELLS = (b"Creating Layer ", b"Creating layer ", b"Network initialization done")
_LINE = re.compile(  # with glog's prefix, DeepDetect's, or none, as DIGITS shows it
    rb"^(?:I\d+ [\d:.]+ +(?P<thread>\d+) [^\]\n]+\] *|INFO - [\d:]+ - )?"
    rb"(?:Creating [Ll]ayer '?(?P<layer>[^\s']+)|(?P<reader>\S+) <- (?P<bottom>\S+)"
    rb"|(?P<writer>\S+) -> (?P<top>\S+)"
    rb"|(?:TRAIN |TEST )?(?P<up>Top shape)(?: for layer [^\n]*?')?:? (?P<shape>[\d ]*)\("
    rb"|(?P<done>Network initialization done))",
    re.MULTILINE,
)
_LAYER_FRAME = re.compile(
    rb"^ +@ +0x\w+ +caffe::(\w+Layer|\w+Filler|DataTransformer|DataReader)(?:<[^\n]*?>)?::(\w+)", re.MULTILINE
)


_THREAD = re.compile(r"F\d+ [\d:.]+ +(\d+) ")


class Building:
    """Feed it the log in order; `place` tells where the program was."""

    def __init__(self) -> None:
        self._layer = ""  # being set up, or set up last
        self._is_up = True
        self._bottoms: list[str] = []
        self._tops: list[str] = []
        self._shapes: dict[str, str] = {}
        self._frame = ""
        self._thread = ""

    def read(self, text: bytes) -> None:
        """Take whole lines in."""
        if self._layer or any(word in text for word in _TELLS):
            for found in _LINE.finditer(text):
                self._take({name: value.decode(errors="replace") for name, value in found.groupdict(b"").items()})
        if not self._frame and b" @ " in text and (frame := _LAYER_FRAME.search(text)):
            self._frame = b"::".join(frame.groups()).decode(errors="replace")

    def _take(self, told: dict[str, str]) -> None:
        if layer := told["layer"]:
            self._thread = told["thread"]
            if layer != self._layer or self._is_up:  # a loss makes its softmax under its own name
                self._layer, self._is_up, self._bottoms, self._tops = layer, False, [], []
        elif told["bottom"]:
            self._bottoms.append(told["bottom"])
        elif told["top"]:
            self._tops.append(told["top"])
        elif told["up"]:
            if self._tops:
                self._shapes[self._tops.pop(0)] = told["shape"].strip() or "one number"
            self._is_up = True
        elif told["done"]:
            self._layer, self._is_up = "", True

    def place(self, line: str) -> str:
        """Where the program ended with that line: the layer being set up with the shapes that it reads, or the layer
        that the stack names; "" where neither is known."""
        thread = _THREAD.match(line)
        elsewhere = bool(thread and self._thread and thread[1] != self._thread)
        if self._layer and not self._is_up and not elsewhere:
            reads = ", ".join(f"{name} ({self._shapes.get(name, 'shape not told')})" for name in self._bottoms)
            return f"layer {self._layer}, while the net is set up" + f"; it reads {reads}" * bool(reads)
        return self._frame + ", in a thread beside the net's" * (elsewhere and bool(self._frame))
