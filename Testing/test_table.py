from VoxelAdvSegLib.table import align


def test_numbers_end_below_each_other_and_lines_have_no_blanks_at_the_end():
    assert align([["organ", "n", ""], ["liver", "10", "x"], ["a", "9", ""]]) == ("organ   n\nliver  10  x\na       9")


def test_columns_that_are_named_are_left_aligned():
    assert align([["a", "b"], ["1", "long"], ["2", "c"]], left=(0, 1)) == "a  b\n1  long\n2  c"
