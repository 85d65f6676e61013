"""Operations that are recorded here and done where the objects are."""
