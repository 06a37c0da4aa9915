-- Stands in front of the scripts of leaderboards.
-- KEYS[1]  sorted set: members by score. A member is the lower digits of a large score, 16 digits, and an ID. The 16 digits grow
--          smaller with each change of a score: of equal scores, the one reached first comes first.
-- KEYS[2]  hash: ID -> member; '' -> number of changes
-- ARGV[1]  how many digits of a score are in its member: 0, or 15 for large scores. A score is high * 10^15 + low then, with low
--          from 0: Redis's own scores are exact up to 2^53 only.
local LARGEST = 9007199254740991
local DIGITS = tonumber(ARGV[1])

local function id_of(member) return string.sub(member, DIGITS + 17) end

local function low_of(member) return DIGITS > 0 and tonumber(string.sub(member, 1, DIGITS)) or 0 end

local function digits_of(low) return DIGITS > 0 and string.format('%015.0f', low) or '' end

-- As it is replied: 12, or 12:000000000000345 for a large score.
local function score_of(high, low) return whole(high) .. (DIGITS > 0 and ':' .. digits_of(low) or '') end

-- Appends { ID, score } of members from one index to another, the best first.
local function append(reply, first, last)
  local found = redis.call('ZREVRANGE', KEYS[1], first, last, 'WITHSCORES')
  for i = 1, #found, 2 do
    reply[#reply + 1] = id_of(found[i])
    reply[#reply + 1] = score_of(tonumber(found[i + 1]), low_of(found[i]))
  end
  return reply
end
