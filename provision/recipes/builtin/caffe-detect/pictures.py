"""Images and annotations in, arrays out; and pictures with boxes. Caffe reads the images itself (ImageData), for the
image that trains need not have any other library for them.
"""

# ruff: noqa: PTH100, PTH110, PTH118, PTH120, PTH123, PTH211, UP031
# (runs in images with old Pythons)

import os
import struct
import tempfile
import xml.etree.ElementTree
import zlib

import numpy

READER = """
layer {
  name: "image" type: "ImageData" top: "image" top: "number"
  image_data_param { source: "%s" batch_size: 1 %s }
}
layer { name: "no_number" type: "Silence" bottom: "number" }
"""


def read_list(path):
    """Pairs of image and annotation. Paths count from the list's folder."""
    if not os.path.exists(path):
        raise SystemExit("detect: the list %s is not there" % path)
    folder = os.path.dirname(path)
    with open(path) as lines:
        pairs = [line.split() for line in lines if line.strip()]
    found = [tuple(os.path.join(folder, name) for name in pair[:2]) for pair in pairs if len(pair) == 2]
    if len(found) < len(pairs) or not found:
        raise SystemExit("detect: %s must hold lines of an image and its annotation" % path)
    lost = [name for pair in found for name in pair if not os.path.exists(name)]
    if lost:
        raise SystemExit("detect: %d files are not there: %s" % (len(lost), ", ".join(lost[:3])))
    return found


def annotation(path, names):
    """Rows of class (from 1), box as shares of the width and height, difficult (0 or 1). VOC's boxes begin at 1.

    Where `names` is one that says `object`, every object is of it.
    """
    root = xml.etree.ElementTree.parse(path).getroot()
    width, height = (float(root.findtext("size/" + side, "0")) for side in ("width", "height"))
    if width <= 0 or height <= 0:
        raise SystemExit("detect: %s does not say how large its image is" % path)
    rows = []
    for one in root.findall("object"):
        name = "object" if names == ["object"] else one.findtext("name", "").strip()
        left, top, right, bottom = (float(one.findtext("bndbox/" + at)) for at in ("xmin", "ymin", "xmax", "ymax"))
        if name in names and right > left and bottom > top:
            box = ((left - 1) / width, (top - 1) / height, right / width, bottom / height)
            rows.append((names.index(name) + 1, *box, float(one.findtext("difficult", "0") or 0)))
    return numpy.array(rows).reshape(-1, 6)


def read_images(paths, size=0):
    """Each image in turn, [3, height, width] of bytes, blue first; resized to size x size if that is given."""
    import caffe

    folder = tempfile.mkdtemp()
    with open(os.path.join(folder, "list.txt"), "w") as out:
        for number, path in enumerate(paths):
            link = os.path.join(folder, "%08d" % number)  # a name may hold a space
            os.symlink(os.path.abspath(path), link)
            out.write("%s 0\n" % link)
    resized = "new_height: %d new_width: %d" % (size, size) if size else ""
    with open(os.path.join(folder, "net.prototxt"), "w") as out:
        out.write(READER % (os.path.join(folder, "list.txt"), resized))
    net = caffe.Net(os.path.join(folder, "net.prototxt"), caffe.TEST)
    for _ in paths:
        yield net.forward()["image"][0].astype(numpy.uint8)


def pack(path, size, names):
    """A list's images as one array [N, 3, size, size] of bytes, on disk, and their annotations with boxes in pixels of
    size x size."""
    pairs = read_list(path)
    images = numpy.lib.format.open_memmap(
        os.path.join(tempfile.mkdtemp(), "images.npy"), "w+", numpy.uint8, (len(pairs), 3, size, size)
    )
    truths = [annotation(xml, names) for _, xml in pairs]
    if not sum(map(len, truths)):
        raise SystemExit("detect: no object of the classes %s in %s" % (", ".join(names), path))
    for rows in truths:
        rows[:, 1:5] *= size
    for at, image in enumerate(read_images([image for image, _ in pairs], size)):
        images[at] = image
    return images, truths


def blob(images):
    """Bytes as the net sees them: from -1 to 1, about."""
    return (images.astype(numpy.float32) - 118.0) / 64.0


def colour(kind):
    """VOC's colour of a class: three bits of its number to each round of red, green, blue, from the top."""
    channels = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            channels[channel] |= (kind >> 3 * place + channel & 1) << 7 - place
    return channels


def draw(image, box, kind):
    """A box's outline into an image [height, width, 3], red first."""
    height, width = image.shape[:2]
    left, right = (min(max(int(at), 0), width - 1) for at in (box[0], box[2]))
    top, bottom = (min(max(int(at), 0), height - 1) for at in (box[1], box[3]))
    thick = max(2, min(height, width) // 150)
    image[top : top + thick, left : right + 1] = image[max(bottom - thick, top) : bottom, left : right + 1] = colour(
        kind
    )
    image[top : bottom + 1, left : left + thick] = image[top : bottom + 1, max(right - thick, left) : right] = colour(
        kind
    )


def save(image, path):
    """A PNG file of eight bits a channel."""
    height, width = image.shape[:2]
    rows = numpy.concatenate([numpy.zeros((height, 1), numpy.uint8), image.reshape(height, -1)], axis=1)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows.tobytes(), 6)),
        (b"IEND", b""),
    )
    with open(path, "wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n")
        for kind, data in parts:
            out.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
