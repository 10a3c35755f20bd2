import pytest
from lt_loggers.masking import masked_command


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["--api-key", "sk-1", "--lr", "1"], ["--api-key", "***", "--lr", "1"]),
        (["--password", "1234"], ["--password", "***"]),
        (["--auth_token=abc", "x"], ["--auth_token=***", "x"]),
        (["trainer.token=abc", "WANDB_API_KEY=k"], ["trainer.token=***", "WANDB_API_KEY=***"]),
        (['{"api_key": "abc", "lr": 1}'], ['{"api_key": "***", "lr": 1}']),
        (["Authorization: Bearer abc"], ["Authorization: ***"]),
        (["s3://user:pw@host/x"], ["s3://***@host/x"]),
        (["--tokenizer", "gpt2", "--keyboard=us"], ["--tokenizer", "gpt2", "--keyboard=us"]),
    ],
)
def test_secrets_of_a_command_line_are_masked(given, shown):
    assert list(masked_command(given)) == shown
