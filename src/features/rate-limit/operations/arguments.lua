-- Reads from ARGV what apply.lua is asked: action, n, chargedAt, then nine values for each policy.
local action, n, chargedAt = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local function policy(i)
  local a = i * 9 - 6
  return ARGV[a + 1], ARGV[a + 2], tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5]),
    tonumber(ARGV[a + 6]), tonumber(ARGV[a + 7]), tonumber(ARGV[a + 8]), tonumber(ARGV[a + 9]) or 0
end
