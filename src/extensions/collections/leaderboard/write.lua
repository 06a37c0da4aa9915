-- Changes a score.
-- KEYS  see board.lua
-- ARGV[2]  'add' or 'set'
-- ARGV[3]  ID
-- ARGV[4]  amount: high, or all of it
-- ARGV[5]  amount: low, or 0
-- ARGV[6]  time to live, ms
-- ARGV[7]  most IDs. The lowest ones are removed.
-- Reply: { score, rank from 1, or 0 for one that has no place }
local UNIT = 1e15

-- A score stops at the largest one: 2^53 - 1, or 29 digits.
local function clamp(high, low)
  if DIGITS == 0 then return math.max(-LARGEST, math.min(LARGEST, high)), 0 end
  if high >= 1e14 then return 1e14 - 1, UNIT - 1 end
  if high < -1e14 or (high == -1e14 and low == 0) then return -1e14, 1 end
  return high, low
end

local member = redis.call('HGET', KEYS[2], ARGV[3])
local known = member and tonumber(redis.call('ZSCORE', KEYS[1], member)) or nil
local known_low = known and low_of(member)
local high, low = tonumber(ARGV[4]), tonumber(ARGV[5])
if known and ARGV[2] == 'add' then
  high, low = high + known, low + known_low
  if low >= UNIT then high, low = high + 1, low - UNIT end
end
high, low = clamp(high, low)
if high ~= known or low ~= known_low then
  local count = redis.call('HINCRBY', KEYS[2], '', 1)
  if member then redis.call('ZREM', KEYS[1], member) end
  member = digits_of(low) .. string.format('%016.0f', LARGEST - count) .. ARGV[3]
  redis.call('ZADD', KEYS[1], whole(high), member)
  redis.call('HSET', KEYS[2], ARGV[3], member)
  local excess = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[7])
  if excess > 0 then
    for _, each in ipairs(redis.call('ZRANGE', KEYS[1], 0, excess - 1)) do
      redis.call('ZREM', KEYS[1], each)
      redis.call('HDEL', KEYS[2], id_of(each))
    end
  end
end
for _, key in ipairs(KEYS) do keep(key, tonumber(ARGV[6])) end
local rank = redis.call('ZREVRANK', KEYS[1], member)
return { score_of(high, low), rank and rank + 1 or 0 }
