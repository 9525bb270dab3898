"""Which frames of a video are worth a picture, out of what was found in them. Python 2.7 and 3."""
# mypy: ignore-errors


def best_of(seen, count):
    """The findings with the best scores of each class, each from a frame of its own: {class: [finding]}."""
    top = {}
    for one in sorted(seen, key=lambda one: (-one["score"], one["frame"])):
        ours = top.setdefault(one["class"], [])
        if len(ours) < count and one["frame"] not in [other["frame"] for other in ours]:
            ours.append(dict(one))
    return top


def most_classes(top, count):
    """The frames that are among the best of the most classes: [{frame, seconds, classes}]."""
    by_frame = {}
    for name, ours in top.items():
        for one in ours:
            by_frame.setdefault(one["frame"], []).append((name, one["score"], one["seconds"]))
    order = sorted(by_frame, key=lambda frame: (-len(by_frame[frame]), -sum(one[1] for one in by_frame[frame]), frame))
    return [
        {"frame": frame, "seconds": by_frame[frame][0][2], "classes": sorted(one[0] for one in by_frame[frame])}
        for frame in order[:count]
    ]


def cut(picture, box):
    """What is in the box; one pixel at least."""
    left, top = max(0, int(box[0])), max(0, int(box[1]))
    return picture[top : max(top + 1, int(box[1] + box[3])), left : max(left + 1, int(box[0] + box[2]))]
