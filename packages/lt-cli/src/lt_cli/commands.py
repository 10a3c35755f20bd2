"""The commands, what each is for, and the exit statuses."""

COMMANDS = {
    "fit": "train a model, validating as it goes",
    "validate": "one pass over the validation data",
    "test": "one pass over the test data",
    "predict": "one pass over the prediction data",
}
DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
