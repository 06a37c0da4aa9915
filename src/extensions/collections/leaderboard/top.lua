-- Reads the best.
-- KEYS  see board.lua
-- ARGV[2]  index of the first, from 0
-- ARGV[3]  how many
-- Reply: { ID, score, ... }
return append({}, ARGV[2], ARGV[2] + ARGV[3] - 1)
