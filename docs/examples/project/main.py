"""The program: `python main.py --max_epochs 5 --hidden_dim 32 --batch_size 64`."""

from argparse import ArgumentParser

from data import DigitData
from model import DigitModel

import lt as L

L.seed_everything(42)

parser = ArgumentParser()
parser.add_argument("--batch_size", type=int, default=32)
parser = DigitModel.add_model_specific_args(parser)
parser = L.Trainer.add_argparse_args(parser)
args = parser.parse_args()

data = DigitData(batch_size=args.batch_size)
model = DigitModel(**vars(args))
trainer = L.Trainer.from_argparse_args(args)
trainer.fit(model, datamodule=data)
trainer.test(model, datamodule=data)
