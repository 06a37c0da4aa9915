-- Renews a session's time to live, within its absolute one.
-- KEYS[1]  the session
-- KEYS[2]  its user's index
-- ARGV[1]  time to live, ms
-- ARGV[2]  the session's digest
-- ARGV[3]  channel of changed sessions
-- Reply: the new time to live, ms; 0 if the session is absent
local header = redis.call('GETRANGE', KEYS[1], 0, 46)
if not string.match(header, '^[JE][u-]' .. string.rep('%d', 45) .. '$') then return 0 end
local life, ends_at = tonumber(ARGV[1]), tonumber(string.sub(header, 22, 34))
if ends_at > 0 then life = math.min(life, ends_at - now) end
if life <= 0 then
  redis.call('UNLINK', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[2])
  return 0
end
-- Another mount may have a shorter time to live. No copy may outlive the session.
if redis.call('PTTL', KEYS[1]) > life then redis.pcall('PUBLISH', ARGV[3], string.match(KEYS[1], '{[^{}]*}[^{}]*$')) end
redis.call('SETRANGE', KEYS[1], 34, string.format('%013.0f', now))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', life))
if string.sub(header, 2, 2) == 'u' then
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + life), ARGV[2])
  if redis.call('PTTL', KEYS[2]) < life then redis.call('PEXPIRE', KEYS[2], string.format('%.0f', life)) end
end
return life
