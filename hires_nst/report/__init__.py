"""The report: one page of HTML about a run or a batch, with the pictures beside it."""
