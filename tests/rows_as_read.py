"""Rows that a test's data set makes as they are read, so that nothing can look at its columns before."""

from torch.utils.data import Dataset


class RowsAsRead(Dataset):
    """The rows of a list, or of another data set, as a data set of torch."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]
