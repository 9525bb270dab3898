"""How programs other than Caffe and Detectron print a training; each form is written down from what its program
documents.

A form writes the lines of a display or of a validation at an iteration, and tells which numbers it put there: phase,
name, value. `FORMS` is a table; a new row is a new kind. Each has its own way to say where it is: a step, an epoch
and its batches, an epoch alone.
"""

import json
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

PER = 40  # iterations of an epoch
EPOCHS = 100


class Said(NamedTuple):
    """A number that a line has: whose it is ("train", "test", "rate"), its name as it is read, its text."""

    whose: str
    name: str
    text: str


class Form:
    """Lines of JSON with a step, and its time. Others say what they print otherwise."""

    step = 10  # iterations between two displays
    table = False  # a file of its own, to whose lines nobody adds anything
    noise: Sequence[str] = (
        "", "Files already downloaded and verified", "torch version: 1.13.1, cuda: 11.7",
        "pid 4711 started at 12:00:01",
        "GPU 0: 45C, 300W / 700W, 1234MiB / 81559MiB", "saved checkpoint to out/model.pt (123.4 MB)",
        "UserWarning: The given NumPy array is not writable", "learning is fun: 100%",
        "downloading: 45%|####      | 45.2M/100M [00:10<00:12, 4.52MB/s]", "ETA: 12:30:11, memory: 2345",
    )  # fmt: skip

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice

    def number(self) -> str:
        """A number as Python prints one, now and then none."""
        if self.dice.random() < 0.05:
            return self.dice.choice(("nan", "inf"))
        return self.dice.choice(
            (f"{self.dice.uniform(0, 9):.4f}", f"{self.dice.uniform(0, 1e-4):.3e}", "12.0", "0.0001")
        )

    def start(self) -> list[str]:
        """The lines before the first display."""
        return ["Namespace(batch_size=64, epochs=10, lr=0.1, seed=1, step_size=1)", "model has 1,234,567 parameters"]

    def display(self, at: int, said: list[Said]) -> list[str]:
        """The lines of a display, whose numbers are added to `said`."""
        loss, accuracy, rate = (self.number() for _ in range(3))
        said += [Said("train", "loss", loss), Said("rate", "lr", rate), Said("train", "acc", accuracy)]
        words = {"nan": "NaN", "inf": "Infinity"}
        return [
            (
                f'{{"step": {at}, "loss": {words.get(loss, loss)}, "lr": {words.get(rate, rate)}, '
                f'"time": 0.25, "acc": {words.get(accuracy, accuracy)}, "host": "gpu-01"}}'
            )
        ]

    def validation(self, at: int, said: list[Said]) -> list[str]:
        """The lines of a validation, likewise; none where the program has no such thing."""
        loss = self.number()
        said.append(Said("test", "loss", loss))
        return [json.dumps({"step": at, "val_loss": float(loss)})]

    @staticmethod
    def epoch(at: int) -> tuple[int, int]:
        """The epoch from 0, and the batches of it that are done (1 … PER)."""
        return (at - 1) // PER, (at - 1) % PER + 1


class KeyValue(Form):
    def display(self, at: int, said: list[Said]) -> list[str]:
        loss, rate, norm = (self.number() for _ in range(3))
        said += [Said("train", "loss", loss), Said("rate", "lr", rate), Said("train", "grad_norm", norm)]
        clock = f"2026-11-30 12:{at // 60 % 60:02}:{at % 60:02},123"
        return [
            f"{clock} INFO train.py:88 pid=4711 step={at} loss={loss} lr={rate} time=0.123s mem=2345MB grad_norm={norm}"
        ]

    def validation(self, at: int, said: list[Said]) -> list[str]:
        loss, accuracy = self.number(), self.number()
        said += [Said("test", "loss", loss), Said("test", "acc", accuracy)]
        return [f"step={at} val_loss={loss} val_acc={accuracy}"]


class Detectron2(Form):
    """detectron2/utils/events.py, CommonMetricPrinter."""

    step = 20

    def display(self, at: int, said: list[Said]) -> list[str]:
        total, box, rate = (self.number() for _ in range(3))
        said += [Said("train", "total_loss", total), Said("train", "loss_cls", box), Said("rate", "lr", rate)]
        return [
            (
                f"[11/30 12:00:00 d2.utils.events]:  eta: 1 day, 0:12:34  iter: {at}  total_loss: {total}  "
                f"loss_cls: {box}  "
                f"time: 0.4  last_time: 0.3  data_time: 0.01  last_data_time: 0.01   lr: {rate}  max_mem: 2345M"
            )
        ]

    def validation(self, at: int, said: list[Said]) -> list[str]:
        return []


class MMEngine(Form):
    """mmengine/hooks/logger_hook.py and mmengine/runner/log_processor.py."""

    def display(self, at: int, said: list[Said]) -> list[str]:
        loss, part, rate = (self.number() for _ in range(3))
        said += [Said("rate", "lr", rate), Said("train", "loss", loss), Said("train", "loss_cls", part)]
        epoch, batch = self.epoch(at)
        return [
            (
                f"11/30 12:00:00 - mmengine - INFO - Epoch(train) [{epoch + 1}][{batch:3}/{PER}]  lr: {rate}  "
                f"eta: 10:00:00  "
                f"time: 0.3012  data_time: 0.0123  memory: 2345  loss: {loss}  loss_cls: {part}"
            )
        ]

    def validation(self, at: int, said: list[Said]) -> list[str]:
        score, epoch = self.number(), self.epoch(at)[0] + 1
        said.append(Said("test", "coco/bbox_mAP", score))
        before = "11/30 12:00:00 - mmengine - INFO - Epoch(val)"
        return [
            f"{before} [{epoch}][10/20]    eta: 0:00:01  time: 0.1  data_time: 0.01  memory: 100",
            f"{before} [{epoch}][20/20]    coco/bbox_mAP: {score}  data_time: 0.0123  time: 0.1",
        ]


class MMDetection2(Form):
    """mmcv 1's TextLoggerHook."""

    def display(self, at: int, said: list[Said]) -> list[str]:
        loss, part, rate = (self.number() for _ in range(3))
        said += [Said("rate", "lr", rate), Said("train", "loss_rpn_cls", part), Said("train", "loss", loss)]
        epoch, batch = self.epoch(at)
        return [
            (
                f"2021-05-01 12:00:00,123 - mmdet - INFO - Epoch [{epoch + 1}][{batch}/{PER}]\tlr: {rate}, "
                f"eta: 1 day, 3:00:12, "
                f"time: 0.5, data_time: 0.05, memory: 3872, loss_rpn_cls: {part}, loss: {loss}"
            )
        ]

    def validation(self, at: int, said: list[Said]) -> list[str]:
        score = self.number()
        said.append(Said("test", "bbox_mAP", score))
        return [
            f"2021-05-01 12:00:00,123 - mmdet - INFO - Epoch(val) [{self.epoch(at)[0] + 1}][5000]\tbbox_mAP: {score}"
        ]


class ImageNet(Form):
    """pytorch/examples, imagenet/main.py: ProgressMeter."""

    def display(self, at: int, said: list[Said]) -> list[str]:
        loss, top = self.number(), self.number()
        said += [Said("train", "Loss", loss), Said("train", "Acc@1", top)]
        epoch, batch = self.epoch(at)
        return [
            (
                f"Epoch: [{epoch}][{batch:3}/{PER}]\tTime  0.200 ( 0.300)\tData  0.100 ( 0.200)\t"
                f"Loss {loss} (7.0e+00)\t"
                f"Acc@1 {top} (  0.05)"
            )
        ]

    def validation(self, at: int, said: list[Said]) -> list[str]:
        top = self.number()
        said.append(Said("test", "Acc@1", top))
        return [
            "Test: [ 10/196]\tTime  0.200 ( 0.300)\tLoss 6.9e+00 (7.0e+00)\tAcc@1   0.00 (  0.05)",
            f" * Acc@1 {top}",
        ]


class Mnist(Form):
    """pytorch/examples, mnist/main.py."""

    def display(self, at: int, said: list[Said]) -> list[str]:
        loss = self.number()
        said.append(Said("train", "Loss", loss))
        epoch, batch = self.epoch(at)
        return [f"Train Epoch: {epoch + 1} [{batch}/{PER} ({100 * batch // PER}%)]\tLoss: {loss}"]

    def validation(self, at: int, said: list[Said]) -> list[str]:
        loss, right = self.number(), self.dice.randrange(10_001)
        said += [Said("test", "loss", loss), Said("test", "Accuracy", str(right / 10_000))]
        return ["", f"Test set: Average loss: {loss}, Accuracy: {right}/10000 ({right // 100}%)", ""]


class Timm(Form):
    """timm's train.py."""

    def display(self, at: int, said: list[Said]) -> list[str]:
        loss, rate = self.number(), self.number()
        said += [Said("train", "Loss", loss), Said("rate", "LR", rate)]
        epoch, batch = self.epoch(at)
        return [
            (
                f"Train: {epoch} [{batch:4}/{PER} ({100 * batch // PER:3}%)]  Loss: {loss} (6.94)  "
                f"Time: 0.512s,  500.12/s  (0.412s,  400.12/s)  LR: {rate}  Data: 0.012 (0.024)"
            )
        ]

    def validation(self, at: int, said: list[Said]) -> list[str]:
        loss, top = self.number(), self.number()
        said += [Said("test", "Loss", loss), Said("test", "Acc@1", top)]
        return [
            "Test: [   0/48]  Time: 0.123 (0.234)  Loss:   9.9999 ( 8.8888)  Acc@1:  7.7 ( 6.6)",
            f"Test: [  48/48]  Time: 0.123 (0.234)  Loss:  9.9999 ({loss})  Acc@1: 7.7 ({top})",
        ]


class Keras2(Form):
    """tf.keras 2, utils/generic_utils.py: Progbar, to a file; the bar is drawn in a line of its own each time."""

    def bar(self, batch: int) -> str:
        done = 30 * batch // PER
        return f"{batch:2}/{PER} [" + "=" * max(0, done - 1) + (">" if batch < PER else "=") + "." * (30 - done) + "]"

    def display(self, at: int, said: list[Said]) -> list[str]:
        loss, accuracy = self.number(), self.number()
        said += [Said("train", "loss", loss), Said("train", "accuracy", accuracy)]
        epoch, batch = self.epoch(at)
        return [f"Epoch {epoch + 1}/{EPOCHS}", f"{self.bar(batch)} - ETA: 5s - loss: {loss} - accuracy: {accuracy}"]

    def validation(self, at: int, said: list[Said]) -> list[str]:
        return []


class Keras3(Keras2):
    """keras 3, utils/progbar.py; colours go on the way in."""

    def bar(self, batch: int) -> str:
        bar = "\x1b[32m━━━━━━━━\x1b[0m\x1b[37m━━━━━━━━━━━━\x1b[0m"
        return f"\x1b[1m{batch:2}/{PER}\x1b[0m {bar} \x1b[1m5s\x1b[0m 12ms/step"

    def display(self, at: int, said: list[Said]) -> list[str]:
        header, line = super().display(at, said)
        return [header, line.replace(" - ETA: 5s", "")]


class KerasLines(Form):
    """Keras with verbose=2: a line an epoch, validation and all."""

    step = PER

    def display(self, at: int, said: list[Said]) -> list[str]:
        loss, held_out = self.number(), self.number()
        said += [Said("train", "loss", loss), Said("test", "loss", held_out)]
        epoch, _ = self.epoch(at)
        line = f"{PER}/{PER} - 5s - loss: {loss} - val_loss: {held_out} - 5s/epoch - 120ms/step"
        return [f"Epoch {epoch + 1}/{EPOCHS}", line]

    def validation(self, at: int, said: list[Said]) -> list[str]:
        return []


class Tqdm(Form):
    """tqdm with a postfix, and what a script prints between two bars; states of one line are parted by returns."""

    def display(self, at: int, said: list[Said]) -> list[str]:
        loss, rate = self.number(), self.number()
        said += [Said("train", "loss", loss), Said("rate", "lr", rate)]
        epoch, batch = self.epoch(at)
        percent = 100 * batch // PER
        drawn = f"{percent:3}%|{'█' * (percent // 10):10}|"
        bar = f"Epoch {epoch + 1}/{EPOCHS}: {drawn} {batch}/{PER} [00:10<00:12,  9.81it/s"
        return [f"{bar}]\r{bar}, loss={loss}, lr={rate}]"]

    def validation(self, at: int, said: list[Said]) -> list[str]:
        accuracy = self.number()
        said.append(Said("test", "acc", accuracy))
        bar = "Validation:  50%|█████     | 5/10 [00:00<00:00, 66.53it/s]"
        return [bar, f"epoch {self.epoch(at)[0] + 1} val_acc {accuracy}"]


class HuggingFace(Form):
    """transformers 4: the Trainer's dictionaries between the states of its bar."""

    form = "{{'loss': {}, 'grad_norm': {}, 'learning_rate': {}, 'epoch': {}}}"
    held_out = "{{'eval_loss': {}, 'eval_runtime': 4.2031, 'eval_samples_per_second': 15.2, 'epoch': {}}}"

    def bar(self, at: int) -> str:
        total = EPOCHS * PER
        return f" {100 * at // total:2}%|{'█' * (10 * at // total):10}| {at}/{total} [00:10<01:12,  9.81it/s]"

    def start(self) -> list[str]:
        return [*super().start(), f"  0%|          | 0/{EPOCHS * PER} [00:00<?, ?it/s]"]

    def display(self, at: int, said: list[Said]) -> list[str]:
        loss, norm, rate = (self.number() for _ in range(3))
        said += [Said("train", "loss", loss), Said("train", "grad_norm", norm), Said("rate", "learning_rate", rate)]
        line = self.form.format(loss, norm, rate, round(at / PER, 2))
        return [self.bar(at - 1), line, self.bar(at)]  # the bar lags behind until it is drawn anew

    def validation(self, at: int, said: list[Said]) -> list[str]:
        loss = self.number()
        said.append(Said("test", "loss", loss))
        return [
            "100%|██████████| 8/8 [00:03<00:00,  2.11it/s]",
            self.held_out.format(loss, round(at / PER, 2)),
            self.bar(at),
        ]


class HuggingFace5(HuggingFace):
    """transformers 5: its numbers are texts."""

    form = "{{'loss': '{}', 'grad_norm': '{}', 'learning_rate': '{}', 'epoch': '{}'}}"
    held_out = "{{'eval_loss': '{}', 'eval_runtime': '4.203', 'eval_samples_per_second': '15.23', 'epoch': '{}'}}"


class Darknet(Form):
    """AlexeyAB/darknet, src/detector.c."""

    def display(self, at: int, said: list[Said]) -> list[str]:
        loss, mean, rate = (self.number() for _ in range(3))
        said += [Said("train", "loss", loss), Said("train", "avg_loss", mean), Said("rate", "lr", rate)]
        return [
            "v3 (mse loss, Normalizer: (iou: 0.75, cls: 1.00) Region 82 Avg (IOU: 0.000000), count: 1",
            f" {at}: {loss}, {mean} avg loss, {rate} rate, 1.234567 seconds, {at * 64} images, 2.5 hours left",
        ]

    def validation(self, at: int, said: list[Said]) -> list[str]:
        return []


class Estimator(Form):
    """tf.estimator's LoggingTensorHook."""

    def display(self, at: int, said: list[Said]) -> list[str]:
        loss = self.number()
        said.append(Said("train", "loss", loss))
        return [f"INFO:tensorflow:loss = {loss}, step = {at} (0.512 sec)"]

    def validation(self, at: int, said: list[Said]) -> list[str]:
        return []


class Absl(Form):
    """models/research/object_detection/model_lib_v2.py; absl's prefix looks like glog's."""

    def display(self, at: int, said: list[Said]) -> list[str]:
        loss = self.number()
        said.append(Said("train", "loss", loss))
        return [f"I1130 12:00:00.123456 140123456 model_lib_v2.py:698] Step {at} per-step time 0.512s loss={loss}"]

    def validation(self, at: int, said: list[Said]) -> list[str]:
        return []


class Megatron(Form):
    """Megatron-LM, training_log."""

    def display(self, at: int, said: list[Said]) -> list[str]:
        loss, norm, rate = (self.number() for _ in range(3))
        said += [Said("rate", "learning rate", rate), Said("train", "lm loss", loss), Said("train", "grad norm", norm)]
        return [
            (
                f" iteration {at:8}/   50000 | consumed samples: {at * 16:12} | "
                f"elapsed time per iteration (ms): 123.4 | "
                f"learning rate: {rate} | global batch size:    16 | lm loss: {loss} | "
                f"loss scale: 1.0 | grad norm: {norm} | "
                "number of skipped iterations:   0 | number of nan iterations:   0 |"
            )
        ]

    def validation(self, at: int, said: list[Said]) -> list[str]:
        perplexity = self.number()
        said.append(Said("test", "PPL", perplexity))
        return [f" validation loss at iteration {at} | lm loss PPL: {perplexity} | "]


class NanoGpt(Form):
    """karpathy/nanoGPT, train.py."""

    def display(self, at: int, said: list[Said]) -> list[str]:
        loss = self.number()
        said.append(Said("train", "loss", loss))
        return [f"iter {at}: loss {loss}, time 123.45ms, mfu 12.34%"]

    def validation(self, at: int, said: list[Said]) -> list[str]:
        loss = self.number()
        said.append(Said("test", "loss", loss))
        return [f"step {at}: val loss {loss}"]


class XGBoost(Form):
    """xgboost's EvaluationMonitor."""

    step = 1

    def display(self, at: int, said: list[Said]) -> list[str]:
        train, held_out = self.number(), self.number()
        said += [Said("train", "rmse", train), Said("test", "rmse", held_out)]
        return [f"[{at}]\ttrain-rmse:{train}\teval-rmse:{held_out}"]

    def validation(self, at: int, said: list[Said]) -> list[str]:
        return []


class Fairseq(Form):
    """fairseq's JSON progress bar: numbers are texts."""

    def display(self, at: int, said: list[Said]) -> list[str]:
        loss, rate, norm = (self.number() for _ in range(3))
        said += [Said("train", "loss", loss), Said("rate", "lr", rate), Said("train", "gnorm", norm)]
        told = {
            "epoch": 1 + (at - 1) // PER, "update": f"{at / PER:.3f}", "loss": loss, "wps": "1000.2", "ups": "0.5",
            "wpb": "300", "bsz": "8", "num_updates": str(at), "lr": rate, "gnorm": norm, "wall": "35",
        }  # fmt: skip
        return [f"2021-05-01 12:00:00 | INFO | train_inner | {json.dumps(told)}"]

    def validation(self, at: int, said: list[Said]) -> list[str]:
        return []


class Tutorial(Form):
    """The loop that many copy: `Epoch [1/10], Step [100/600], Loss: 0.5`."""

    def display(self, at: int, said: list[Said]) -> list[str]:
        loss = self.number()
        said.append(Said("train", "Loss", loss))
        epoch, batch = self.epoch(at)
        return [f"Epoch [{epoch + 1}/{EPOCHS}], Step [{batch}/{PER}], Loss: {loss}"]

    def validation(self, at: int, said: list[Said]) -> list[str]:
        return []


class Ultralytics(Form):
    """ultralytics/engine/trainer.py and models/yolo/detect/val.py; the older bar is tqdm's, the newer one its own."""

    def display(self, at: int, said: list[Said]) -> list[str]:
        box, classes = self.number(), self.number()
        said += [Said("train", "box_loss", box), Said("train", "cls_loss", classes)]
        epoch, batch = self.epoch(at)
        cells = ("Epoch", "GPU_mem", "box_loss", "cls_loss", "Instances", "Size")
        row = (f"{epoch + 1}/{EPOCHS}", "2.87G", box, classes, "15", "640")
        old = f"{'█' * (10 * batch // PER):10}| {batch}/{PER} [00:01<00:00,  2.31it/s]"
        new = f" ━━━━━━━━━━━━ {batch}/{PER} 2.3it/s 1.2s<3.4s"
        bar = self.dice.choice((f"|{old}", new))
        line = "".join(f"{cell:>11}" for cell in row)
        return ["".join(f"{cell:>11}" for cell in cells), f"{line}: {100 * batch // PER:3}%{bar}"]

    def validation(self, at: int, said: list[Said]) -> list[str]:
        precision, mean = self.number(), self.number()
        said += [Said("test", "P", precision), Said("test", "mAP50", mean), Said("test", "mAP50-95", mean)]
        cells = ("Images", "Instances", "Box(P", "mAP50", "mAP50-95)")
        header = f"{'Class':>22}" + "".join(f"{cell:>11}" for cell in cells)
        row = ("128", "929", precision, mean, mean)
        bar = ": 100%|██████████| 2/2 [00:00<00:00,  4.12it/s]"
        return [
            header + bar,
            f"{'all':>22}" + "".join(f"{cell:>11}" for cell in row),
            f"{'cat':>22}        12   34  0.1 0.2 0.3",
        ]


class Csv(Form):
    """Lightning's CSVLogger: validations have rows of their own, and cells are empty."""

    table, noise = True, ("",)

    def start(self) -> list[str]:
        return ["epoch,step,train_loss,lr-Adam,val_acc"]

    def display(self, at: int, said: list[Said]) -> list[str]:
        loss, rate = self.number(), self.number()
        said += [Said("train", "loss", loss), Said("rate", "lr-Adam", rate)]
        return [f"{self.epoch(at)[0]},{at},{loss},{rate},"]

    def validation(self, at: int, said: list[Said]) -> list[str]:
        accuracy = self.number()
        said.append(Said("test", "acc", accuracy))
        return [f"{self.epoch(at)[0]},{at},,,{accuracy}"]


FORMS: dict[str, Callable[[random.Random], Form]] = {
    "json": Form, "key-value": KeyValue, "detectron2": Detectron2, "mmengine": MMEngine, "mmdetection 2": MMDetection2,
    "imagenet": ImageNet, "mnist": Mnist, "timm": Timm, "keras 2": Keras2, "keras 3": Keras3, "keras lines": KerasLines,
    "tqdm": Tqdm, "transformers 4": HuggingFace, "transformers 5": HuggingFace5, "darknet": Darknet,
    "estimator": Estimator, "absl": Absl, "megatron": Megatron, "nanogpt": NanoGpt, "xgboost": XGBoost,
    "fairseq": Fairseq, "a tutorial's": Tutorial, "ultralytics": Ultralytics, "csv": Csv,
}  # fmt: skip
