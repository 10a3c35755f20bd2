"""A line through points, in the trainer's old spelling: `gpus=` and `precision=16`."""

import lt as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class LinearRegression(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.line(x)
        return y

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss = nn.functional.mse_loss(self(x), y)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


x = torch.linspace(-1, 1, 128).unsqueeze(1)
points = DataLoader(TensorDataset(x, 3 * x + 1), batch_size=16, shuffle=True)

model = LinearRegression()
trainer = L.Trainer(gpus=1 if torch.cuda.is_available() else None, precision=16, max_epochs=100)
trainer.fit(model, points)
print(f"y = {model.line.weight.item():.2f} x + {model.line.bias.item():.2f}")
