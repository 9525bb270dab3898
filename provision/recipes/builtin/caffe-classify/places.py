"""Where the files are that a solver and its nets name: paths of somebody's machine made paths of this container.

A name that is not here as it stands counts from /project, from the solver's folder in it, or from /data; last it is
looked for in /data by its end (examples/mnist/mnist_train_lmdb is /data/mnist_train_lmdb).
"""

# ruff: noqa: PTH110, PTH117, PTH118, PTH119, PTH120, PTH123, UP031
# (runs in images with old Pythons)

import os
import sys
import time

PATHS = ("source", "mean_file", "root_folder", "label_map_file", "infogain_mat")


class Lost(Exception):
    """A file that is not there; the message says where it was looked for."""


def say(text):
    """A line as Caffe's own, which the log's reader knows."""
    stamp = time.strftime("%m%d %H:%M:%S")
    sys.stderr.write("I%s.000000 %5d launch.py:1] %s\n" % (stamp, os.getpid(), text))
    sys.stderr.flush()


def find(name, near="/project", roots=("/project", "/data")):
    """The path of that name here. Lost where it is nowhere."""
    tried = [name] if os.path.isabs(name) else []
    if not os.path.isabs(name):
        tried += [os.path.join(base, name) for base in (near, *roots)]
    tried.append(os.path.join(roots[-1], os.path.basename(name.rstrip("/"))))
    for path in tried:
        if os.path.exists(path):
            return os.path.normpath(path)
    raise Lost("%s is not there (looked for %s)" % (name, ", ".join(dict.fromkeys(tried))))


def fields(message, names=PATHS):
    """Each message below (and with) `message` that has text in one of these fields, and the field's name."""
    for field, value in message.ListFields():
        several = value if field.label == field.LABEL_REPEATED else [value]
        if field.message_type is not None:
            for one in several:
                yield from fields(one, names)
        elif field.name in names and isinstance(value, str) and value:
            yield message, field.name


def rewrite(net, near):
    """Put this container's paths into a net (NetParameter)."""
    for message, name in list(fields(net)):
        old = getattr(message, name)
        new = find(old, near)
        if name == "root_folder":
            new += "/"
        if new != old:
            say("%s %s is %s" % (name, old, new))
            setattr(message, name, new)
    for layer in list(net.layer) + list(net.layers):
        _image_lists(layer.image_data_param)


def _image_lists(param):
    """A list of images with relative names needs a folder to count from: that in which the first image is."""
    if not param.source or param.root_folder:
        return
    with open(param.source) as lines:
        first = lines.readline().rsplit(" ", 1)[0].strip()
    if first and not os.path.isabs(first):
        folder = find(first, os.path.dirname(param.source))[: -len(os.path.normpath(first))]
        say("the images of %s are below %s" % (param.source, folder))
        param.root_folder = folder
