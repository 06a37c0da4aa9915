-- Reads the best.
-- KEYS  see board.lua
-- ARGV[1]  index of the first, from 0
-- ARGV[2]  how many
-- Reply: { ID, score, ... }
return append({}, ARGV[1], ARGV[1] + ARGV[2] - 1)
