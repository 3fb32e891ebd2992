"""The tests. They mirror nsqlite/ file by file; meta/ holds the rules of the house."""
