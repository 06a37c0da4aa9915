-- Stands in front of the scripts of leaderboards.
-- KEYS[1]  sorted set: members by score. A member is 16 digits and an ID. The digits grow smaller with each change of a score:
--          of equal scores, the one reached first comes first.
-- KEYS[2]  hash: ID -> member; '' -> number of changes
local LARGEST = 9007199254740991

local function id_of(member) return string.sub(member, 17) end

-- Appends { ID, score } of members from one index to another, the best first.
local function append(reply, first, last)
  local found = redis.call('ZREVRANGE', KEYS[1], first, last, 'WITHSCORES')
  for i = 1, #found, 2 do
    reply[#reply + 1] = id_of(found[i])
    reply[#reply + 1] = whole(tonumber(found[i + 1]))
  end
  return reply
end
