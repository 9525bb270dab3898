"""Which layer of the net was being set up when the program ended, by what Caffe tells while it builds a net."""

import re

_TELLS = (b"Creating Layer ", b"Creating layer ", b"Network initialization done")
_LINE = re.compile(
    rb"^(?:I[^\]\n]{20,80}\] *|INFO - [\d:]+ - )?"  # glog's prefix, DeepDetect's, or none as DIGITS shows it
    rb"(?:Creating [Ll]ayer '?(?P<layer>[^\s']+)|(?P<reader>\S+) <- (?P<bottom>\S+)"
    rb"|(?P<writer>\S+) -> (?P<top>\S+)|(?:TRAIN |TEST )?Top shape(?: for layer [^\n]*?')?:? (?P<shape>\d[\d ]*?) *\("
    rb"|(?P<done>Network initialization done))",
    re.MULTILINE,
)
_LAYER_FRAME = re.compile(
    rb"^ +@ +0x\w+ +caffe::(\w+Layer|\w+Filler|DataTransformer|DataReader)(?:<[^\n]*?>)?::(\w+)", re.MULTILINE
)


class Building:
    """Feed it the log in order; `place` tells where the program was."""

    def __init__(self) -> None:
        self._layer = ""  # being set up, or set up last
        self._is_up = True
        self._bottoms: list[str] = []
        self._tops: list[str] = []
        self._shapes: dict[str, str] = {}
        self._frame = ""

    def read(self, text: bytes) -> None:
        """Take whole lines in."""
        if self._layer or any(word in text for word in _TELLS):
            for found in _LINE.finditer(text):
                self._take({name: value.decode(errors="replace") for name, value in found.groupdict(b"").items()})
        if not self._frame and b" @ " in text and (frame := _LAYER_FRAME.search(text)):
            self._frame = b"::".join(frame.groups()).decode(errors="replace")

    def _take(self, told: dict[str, str]) -> None:
        if layer := told["layer"]:
            if layer != self._layer or self._is_up:  # a loss makes its softmax under its own name
                self._layer, self._is_up, self._bottoms, self._tops = layer, False, [], []
        elif told["bottom"]:
            self._bottoms.append(told["bottom"])
        elif told["top"]:
            self._tops.append(told["top"])
        elif told["shape"]:
            if self._tops:
                self._shapes[self._tops.pop(0)] = told["shape"]
            self._is_up = True
        elif told["done"]:
            self._layer, self._is_up = "", True

    @property
    def place(self) -> str:
        """The layer being set up with the shapes that it reads, or the layer that the stack names; "" if neither."""
        if self._layer and not self._is_up:
            reads = ", ".join(f"{name} ({self._shapes.get(name, 'shape not told')})" for name in self._bottoms)
            return f"layer {self._layer}, while the net is set up" + f"; it reads {reads}" * bool(reads)
        return self._frame
