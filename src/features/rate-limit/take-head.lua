-- Reads what is asked of take.lua from ARGV: verb, n, at, then nine values for each policy.
local verb, n, at = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local function policy(i)
  local a = i * 9 - 6
  return ARGV[a + 1], ARGV[a + 2], tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5]),
    tonumber(ARGV[a + 6]), tonumber(ARGV[a + 7]), tonumber(ARGV[a + 8]), tonumber(ARGV[a + 9]) or 0
end
