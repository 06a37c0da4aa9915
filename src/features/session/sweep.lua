-- Removes sessions that not-before has declared dead: one batch of the index.
-- KEYS[1]  the user's index
-- KEYS[2]  not-before
-- KEYS[3]  what stands before a member in a session's key: the sessions have this user's tag, and so this slot
-- ARGV[1]  how many of the index to pass over
-- ARGV[2]  how many to look at
-- Reply: {looked at, removed with their session, left as they were}
local at, exempt = string.match(redis.call('GET', KEYS[2]) or '', '^(%d+) ?(.*)$')
local barred = tonumber(at or '-1')
local first = tonumber(ARGV[1])
local members = redis.call('ZRANGE', KEYS[1], first, first + tonumber(ARGV[2]) - 1)
local removed, left = 0, 0
for _, member in ipairs(members) do
  local key = KEYS[3] .. member
  local header = redis.call('GETRANGE', key, 0, 46)
  if header == '' then
    redis.call('ZREM', KEYS[1], member)
  elseif member ~= exempt and (tonumber(string.sub(header, 9, 21)) or 0) <= barred then
    removed = removed + redis.call('UNLINK', key)
    redis.call('ZREM', KEYS[1], member)
  else
    left = left + 1
  end
end
return { #members, removed, left }
