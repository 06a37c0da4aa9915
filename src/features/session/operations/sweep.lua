-- Deletes sessions that revoke-before has revoked: one batch of the index.
-- KEYS[1]  the user's index
-- KEYS[2]  revoke-before
-- KEYS[3]  the part of a session's key before its digest. The sessions have this user's tag, so they share this slot
-- ARGV[1]  offset in the index
-- ARGV[2]  batch size
-- Reply: {entries examined, sessions deleted, entries left}
local at, exempt = string.match(redis.call('GET', KEYS[2]) or '', '^(%d+) ?(.*)$')
local revoked = tonumber(at or '-1')
local offset = tonumber(ARGV[1])
local digests = redis.call('ZRANGE', KEYS[1], offset, offset + tonumber(ARGV[2]) - 1)
local deleted, left = 0, 0
for _, digest in ipairs(digests) do
  local key = KEYS[3] .. digest
  local header = redis.call('GETRANGE', key, 0, 46)
  if header == '' then
    redis.call('ZREM', KEYS[1], digest)
  elseif digest ~= exempt and (tonumber(string.sub(header, 9, 21)) or 0) <= revoked then
    deleted = deleted + redis.call('UNLINK', key)
    redis.call('ZREM', KEYS[1], digest)
  else
    left = left + 1
  end
end
return { #digests, deleted, left }
