"""The commands, what each is for, and the exit statuses."""

COMMANDS = {
    "fit": "train a model, validating as it goes",
    "validate": "one pass over the validation data",
    "test": "one pass over the test data",
    "predict": "one pass over the prediction data",
    "tune": "look for a learning rate or a batch size, and print the options to train with",
}
OTHERS = {
    "config": "print the settings that a command would run with",
    "report": "write the report of a run, or a comparison of several",
    "completion": "print the completion script for bash or zsh",
}
DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
