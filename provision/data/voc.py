"""PASCAL VOC's names and colours: the one place that knows them.

Source: the development kit of VOC2012, VOCinit.m (names in their order) and VOClabelcolormap.m (colours); class 0 is
the background, and 255 marks the pixels that belong to no class (borders, things too hard to tell).
"""

IGNORE = 255
CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)


def colour(index: int) -> tuple[int, int, int]:
    """The (red, green, blue) of a class, each 0 to 255.

    VOC's rule: bits 0, 1, 2 of the index go to bit 7 of red, green, blue, the next three to bit 6, and so on.
    """
    channels = [sum((index >> 3 * place + channel & 1) << 7 - place for place in range(8)) for channel in range(3)]
    return channels[0], channels[1], channels[2]


PALETTE = [colour(index) for index in range(256)]
