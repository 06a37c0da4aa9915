-- Stands in front of the scripts of presence.
-- KEYS[1]  sorted set: users as JSON, by the time when they were last seen, ms
-- KEYS[2]  sorted set: the same users, all by 0: in the order of their names, for pages
-- KEYS[3]  stream: the history of the topic

local SWEPT = 1000

local function announce(kind, users, first)
  append(KEYS[3], '{"type":"' .. kind .. '","users":[' .. table.concat(users, ',') .. ']}',
    ARGV[first], ARGV[first + 1], ARGV[first + 2], ARGV[first + 3])
end

-- Removes users who were not seen for `ttl`, and publishes that.
-- first  index in ARGV of what `append` needs
local function sweep(ttl, first)
  local left = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', whole(now - ttl), 'LIMIT', 0, SWEPT)
  for _, user in ipairs(left) do
    redis.call('ZREM', KEYS[1], user)
    redis.call('ZREM', KEYS[2], user)
  end
  -- A message has a bounded size.
  for i = 1, #left, 50 do
    local users = {}
    for j = i, math.min(i + 49, #left) do users[#users + 1] = left[j] end
    announce('left', users, first)
  end
  return #left
end
