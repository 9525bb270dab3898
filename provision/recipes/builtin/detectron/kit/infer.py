"""infer.py CHECKPOINT IN OUT [options]: what a trained net finds in pictures and videos.

For each picture of the folder IN: OUT/NAME.png with boxes and masks drawn, and OUT/NAME.json. For each video:
OUT/NAME.json with what was found in a sample of its frames, and the folder OUT/NAME with the best frames of each class,
what was cut out of them, and the frames that are among the best of the most classes. Python 2.7 and 3.
"""
# mypy: ignore-errors
# ruff: noqa: PERF401, PTH103, PTH112, PTH118, PTH119, PTH120
# ruff: noqa: PTH123, RUF046, UP004, UP031

import argparse
import json
import os
import re
import sys

import checkpoints
import common
from common import Wrong, refuse, say
from frames import best_of, cut, most_classes

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".tif", ".tiff", ".webp")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v")


class Classes(object):
    """What Detectron's drawing wants of a data set."""

    def __init__(self, names):
        self.classes = names


class Net(object):
    """A trained net: pictures in, findings out."""

    def __init__(self, weights, threshold):
        from detectron.core.config import assert_and_infer_cfg, cfg
        from detectron.core.test_engine import initialize_model_from_cfg

        common.config_of(weights)
        cfg.NUM_GPUS = 1
        assert_and_infer_cfg(cache_urls=False)
        if cfg.MODEL.RPN_ONLY or cfg.TEST.PRECOMPUTED_PROPOSALS:
            raise Wrong("this net finds proposals, or works on those of another: train one that begins with e2e_")
        self.names = checkpoints.load(weights)["classes"]
        self.threshold = threshold
        self.model = initialize_model_from_cfg(weights)

    def look(self, picture):
        """What Detectron finds: boxes by class, masks and keypoints by class or None."""
        from detectron.core.test import im_detect_all
        from detectron.utils.c2 import NamedCudaScope

        with NamedCudaScope(0):
            return im_detect_all(self.model, picture, None)

    def findings(self, boxes, masks):
        """[{class, score, box [x, y, width, height] in pixels, mask (run lengths)}], the best first."""
        found = []
        for number, ours in enumerate(boxes):
            for at, (x1, y1, x2, y2, score) in enumerate([] if number == 0 else ours):
                if score >= self.threshold:
                    box = [round(float(one), 1) for one in (x1, y1, x2 - x1 + 1, y2 - y1 + 1)]
                    one = {"class": self.names[number], "score": round(float(score), 4), "box": box}
                    if masks is not None:
                        one["mask"] = _plain(masks[number][at])
                    found.append(one)
        return sorted(found, key=lambda one: -one["score"])

    def drawn(self, picture, boxes, masks, keypoints):
        from detectron.utils.vis import vis_one_image_opencv

        return vis_one_image_opencv(
            picture.copy(), boxes, masks, keypoints, thresh=self.threshold, show_box=True, show_class=True,
            dataset=Classes(self.names),
        )  # fmt: skip


def _plain(mask):
    counts = mask["counts"]
    return {
        "size": [int(one) for one in mask["size"]],
        "counts": counts.decode() if hasattr(counts, "decode") else counts,
    }


def of_picture(net, path, out):
    import cv2

    picture = cv2.imread(path)
    if picture is None:
        raise Wrong("%s is no picture that OpenCV reads" % path)
    boxes, masks, keypoints = net.look(picture)
    found = net.findings(boxes, masks)
    cv2.imwrite(out + ".png", net.drawn(picture, boxes, masks, keypoints))
    height, width = picture.shape[:2]
    keep(out, {"picture": os.path.basename(path), "width": width, "height": height, "findings": found})
    say("%s: %d found" % (os.path.basename(path), len(found)))


def keep(out, value):
    with open(out + ".json", "w") as data:
        json.dump(value, data, indent=1, sort_keys=True)


def frames(path, every=1, only=None):
    """(number, picture) of each `every`th frame, or of the `only` ones. Wrong where it is no video."""
    import cv2

    video, number = cv2.VideoCapture(path), 0
    if not video.isOpened():
        raise Wrong("%s is no video that OpenCV reads" % path)
    while video.grab():
        if (number in only) if only is not None else number % every == 0:
            yield number, video.retrieve()[1]
        number += 1
    video.release()


def rate_of(path):
    """Frames per second; 25 where the file does not say."""
    import cv2

    video = cv2.VideoCapture(path)
    rate = video.get(cv2.CAP_PROP_FPS)
    video.release()
    return rate if 0 < rate < 1000 else 25.0


def of_video(net, path, out, per_second, best, draw):
    rate = rate_of(path)
    every = max(1, int(round(rate / per_second)))
    seen = []
    for number, picture in frames(path, every):
        boxes = net.look(picture)[0]
        for one in net.findings(boxes, None):
            seen.append(dict(one, frame=number, seconds=round(number / rate, 3)))
    top = best_of(seen, best)
    most = most_classes(top, best)
    if draw:
        draw_best(net, path, out, top, most)
    keep(
        out,
        {"video": os.path.basename(path), "frames_per_second": rate, "every": every, "findings": seen, "best": top,
         "most_classes": most},
    )  # fmt: skip
    say("%s: %d found of %d classes" % (os.path.basename(path), len(seen), len(top)))


def draw_best(net, path, out, top, most):
    """The pictures of the best frames, in a folder; their names are added to `top` and `most`. Reads the video again,
    so that no more than one frame is in memory."""
    import cv2

    if not top:
        return
    os.makedirs(out)
    wanted = {one["frame"] for ours in top.values() for one in ours}
    for number, picture in frames(path, only=wanted):
        drawn = net.drawn(picture, *net.look(picture))
        for name, ours in top.items():
            for place, one in enumerate(ours):
                if one["frame"] == number:
                    stem = "%s_%d" % (re.sub(r"\W+", "-", name), place + 1)
                    one["picture"], one["cut"] = stem + ".png", stem + "_cut.png"
                    cv2.imwrite(os.path.join(out, one["picture"]), drawn)
                    cv2.imwrite(os.path.join(out, one["cut"]), cut(picture, one["box"]))
        for place, one in enumerate(most):
            if one["frame"] == number:
                one["picture"] = "most_%d.png" % (place + 1)
                cv2.imwrite(os.path.join(out, one["picture"]), drawn)


def given(folder):
    """Pictures and videos below the folder, as paths relative to it; Wrong where there are none."""
    found = [
        os.path.relpath(os.path.join(base, name), folder)
        for base, _, names in os.walk(folder) for name in names if name.lower().endswith(PICTURES + VIDEOS)
    ]  # fmt: skip
    if not found:
        raise Wrong("there are no pictures or videos in what was given: %s" % ", ".join(PICTURES + VIDEOS))
    return sorted(found)


def main(words):
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("given")
    parser.add_argument("out")
    parser.add_argument("--threshold", type=float, default=0.7)
    parser.add_argument("--per-second", type=float, default=2.0)
    parser.add_argument("--best", type=int, default=3)
    parser.add_argument("--no-pictures", action="store_true")
    args = parser.parse_args(words)
    todo = given(args.given)
    common.begin(common.gpus_here())
    net, failed = Net(args.weights, args.threshold), []
    for name in todo:
        out = os.path.join(args.out, name)
        if not os.path.isdir(os.path.dirname(out)):
            os.makedirs(os.path.dirname(out))
        try:
            if name.lower().endswith(VIDEOS):
                path = os.path.join(args.given, name)
                of_video(net, path, out, args.per_second, args.best, not args.no_pictures)
            else:
                of_picture(net, os.path.join(args.given, name), out)
        except Wrong as error:
            failed.append(str(error))
            say(str(error))
    if failed:
        raise Wrong("%d of %d files could not be read" % (len(failed), len(todo)))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Wrong as error:
        refuse(str(error))
