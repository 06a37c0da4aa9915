-- Stands in front of the scripts of presence.
-- KEYS[1]  sorted set: users as JSON, by the time when they were last seen, ms
-- KEYS[2]  sorted set: the same users, all by 0: in the order of their names, for pages
-- KEYS[3]  stream: the history of the topic

-- Most users that one call removes. It keeps the call short, and is a multiple of MESSAGE.
local SWEPT = 1000
-- Users of one message. A message has a bounded size.
local MESSAGE = 50

-- Publishes that users have joined or left.
-- first  index in ARGV of what `append` needs
local function announce(kind, users, first)
  for i = 1, #users, MESSAGE do
    local names = table.concat(users, ',', i, math.min(i + MESSAGE - 1, #users))
    append(KEYS[3], '{"type":"' .. kind .. '","users":[' .. names .. ']}',
      ARGV[first], ARGV[first + 1], ARGV[first + 2], ARGV[first + 3])
  end
end

-- Removes users, and publishes that they have left.
local function leave(users, first)
  if #users == 0 then return end
  redis.call('ZREM', KEYS[1], unpack(users))
  redis.call('ZREM', KEYS[2], unpack(users))
  announce('left', users, first)
end

-- Removes users who were not seen for `ttl`. Returns how many there were.
local function sweep(ttl, first)
  local left = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', whole(now - ttl), 'LIMIT', 0, SWEPT)
  leave(left, first)
  return #left
end
