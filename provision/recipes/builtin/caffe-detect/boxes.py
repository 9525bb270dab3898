"""Boxes in numbers. A box is xmin, ymin, xmax, ymax in pixels of the image that the net sees, [N, 4]; cells of STRIDE
pixels have a middle each. Only numpy is asked.
"""

# (runs in images with old Pythons)

import numpy

STRIDE = 8
INNER = 0.5  # the middle part of a box (of its width and height) whose cells are the object
IGNORED = 255


def middles(height, width):
    """x and y of the cells' middles, each [height, width]."""
    x, y = numpy.meshgrid(numpy.arange(width), numpy.arange(height))
    return (x + 0.5) * STRIDE, (y + 0.5) * STRIDE


def targets(truth, height, width):
    """What the net shall say of an image: labels [height, width] and the distances to the sides [4, height, width].

    `truth` holds rows of class (from 1), box. A cell in the middle of a box is its class; in the rest of the box it is
    ignored; where boxes lie over each other the one whose middle is nearer wins. Distances are 0 where no box is.
    """
    labels, sides = numpy.zeros((height, width)), numpy.zeros((4, height, width))
    x, y = middles(height, width)
    nearest = numpy.full((height, width), numpy.inf)
    for kind, left, top, right, bottom in truth:
        away = numpy.stack([x - left, y - top, right - x, bottom - y])
        far = numpy.hypot(x - (left + right) / 2, y - (top + bottom) / 2)
        inside = away.min(axis=0) > 0
        across = numpy.abs(2 * x - left - right) <= INNER * (right - left)
        core = inside & across & (numpy.abs(2 * y - top - bottom) <= INNER * (bottom - top))
        core.flat[far.argmin()] |= inside.flat[far.argmin()]  # a small object has one cell at least
        labels[inside & (labels == 0)] = IGNORED
        mine = core & (far < nearest)
        labels[mine], nearest[mine] = kind, far[mine]
        sides[:, mine] = away[:, mine]
    return labels, sides


def decode(probability, margins, threshold):
    """Boxes [N, 4], their classes from 1 and confidences, out of the net's maps [classes + 1, H, W] and [4, H, W]."""
    height, width = probability.shape[1:]
    x, y = middles(height, width)
    away = numpy.exp(margins.clip(-6, 6)) * STRIDE
    boxes = numpy.stack([x - away[0], y - away[1], x + away[2], y + away[3]], axis=-1).reshape(-1, 4)
    kinds = probability[1:].argmax(axis=0).reshape(-1) + 1
    sure = probability[1:].max(axis=0).reshape(-1)
    chosen = sure >= threshold
    return boxes[chosen], kinds[chosen], sure[chosen]


def overlaps(box, boxes):
    """Intersection over union of one box with each of `boxes`."""
    low, high = numpy.maximum(box[:2], boxes[:, :2]), numpy.minimum(box[2:], boxes[:, 2:])
    both = (high - low).clip(0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(axis=1)
    return both / (areas + (box[2:] - box[:2]).clip(0).prod() - both).clip(1e-9)


def suppress(boxes, sure, most=0.4):
    """Indices of the boxes that stay, the surest first: of those that overlap by more than `most` only one does."""
    order, kept = (-sure).argsort(kind="stable"), []
    while len(order):
        kept.append(int(order[0]))
        order = order[1:][overlaps(boxes[order[0]], boxes[order[1:]]) <= most]
    return kept


def detections(probability, margins, threshold, size):
    """(class, confidence, box) of an image of size x size, the surest first; of each class without repetitions."""
    boxes, kinds, sure = decode(probability, margins, threshold)
    boxes = boxes.clip(0, size)
    found = []
    for kind in sorted(set(kinds.tolist())):
        mine = kinds == kind
        found += [(kind, float(sure[mine][at]), boxes[mine][at]) for at in suppress(boxes[mine], sure[mine])]
    return sorted(found, key=lambda one: -one[1])


def average_precision(found, truths, least=0.5):
    """Of one class, as VOC2007 counts it: the mean of the best precision at recalls of 0, 0.1, ... 1.

    `found`: (image, confidence, box); `truths`: (box, whether it is difficult) by image. None where there is nothing
    to find. An object is found once; what fits a difficult one does not count.
    """
    positives = sum(not hard for rows in truths.values() for _, hard in rows)
    if not positives:
        return None
    taken, right, wrong, curve = set(), 0, 0, []
    for image, _, box in sorted(found, key=lambda one: -one[1]):
        rows = truths.get(image, [])
        fits = overlaps(box, numpy.array([row[0] for row in rows])) if rows else numpy.zeros(1)
        best = int(fits.argmax())
        if fits[best] >= least and rows[best][1]:
            continue
        hit = fits[best] >= least and (image, best) not in taken
        taken.add((image, best) if hit else None)
        right, wrong = right + hit, wrong + (not hit)
        curve.append((right / float(positives), right / float(right + wrong)))
    tenths = [max([p for recall, p in curve if recall >= at / 10.0 - 1e-9] or [0.0]) for at in range(11)]
    return sum(tenths) / 11.0
