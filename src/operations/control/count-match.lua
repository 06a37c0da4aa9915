-- Counts a match of a client, and tells whether it is one too many within the window.
-- KEYS[1]  times of its last matches, the newest first
-- KEYS[2]  number of its bans
-- ARGV[1]  number of matches that are tolerated
-- ARGV[2]  window, ms
-- Reply: 1 if it is one too many, number of bans before. The next match is then the first one again
local oldest = redis.call('LINDEX', KEYS[1], ARGV[1] - 1)
if oldest and tonumber(oldest) > now - ARGV[2] then
  redis.call('UNLINK', KEYS[1])
  return { 1, tonumber(redis.call('GET', KEYS[2]) or '0') }
end
redis.call('LPUSH', KEYS[1], whole(now))
redis.call('LTRIM', KEYS[1], 0, ARGV[1] - 1)
keep(KEYS[1], ARGV[2])
return { 0, 0 }
