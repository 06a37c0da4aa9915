-- Drops fields that no living entry is older than, some at a time.
-- KEYS[1]  the invalidation log
-- ARGV[1]  the cursor of the last call; '0': from the beginning
-- ARGV[2]  how many fields to look at, about
-- ARGV[3]  how long the log outlives the longest-lived entry, in ms
-- Reply: { the next cursor, or '0'; how many were dropped }, as strings
local key = KEYS[1]
local life = redis.call('HGET', key, '~')
if not life then return { '0', '0' } end
local before = now - tonumber(life) - tonumber(ARGV[3])
local found = redis.call('HSCAN', key, ARGV[1], 'COUNT', ARGV[2])
local dropped = 0
for i = 1, #found[2], 2 do
  local field, value = found[2][i], found[2][i + 1]
  if string.find(field, '^[tu]:') then
    local hard, soft = string.match(value, '^(%d+),?(%d*)$')
    if math.max(tonumber(hard), tonumber(soft) or 0) < before then
      dropped = dropped + redis.call('HDEL', key, field)
    end
  end
end
return { found[1], tostring(dropped) }
