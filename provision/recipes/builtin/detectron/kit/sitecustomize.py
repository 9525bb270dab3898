"""Read by each Python that is started with this folder in PYTHONPATH: Detectron tests on several GPUs in processes of
their own, which have to know our data sets, too."""
# mypy: ignore-errors

import common

plan = common.read_plan()
common.register(plan, common.read_config(plan))
