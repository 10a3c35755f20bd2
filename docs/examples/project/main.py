"""The program: `python main.py --max_epochs 5 --hidden_dim 32 --batch_size 64`."""

from argparse import ArgumentParser, Namespace

import lt as L
from data import DigitData
from model import DigitModel


def main(args: Namespace) -> None:
    L.seed_everything(42)
    data = DigitData(args.batch_size)
    model = DigitModel(args.hidden_dim, args.learning_rate)
    trainer = L.Trainer.from_argparse_args(args)
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data)


if __name__ == "__main__":
    parser = ArgumentParser(description="Tells handwritten digits apart.")
    parser.add_argument("--batch_size", type=int, default=32)
    parser = DigitModel.add_model_specific_args(parser)
    parser = L.Trainer.add_argparse_args(parser)
    main(parser.parse_args())
