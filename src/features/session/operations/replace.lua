-- Ends a session that another one takes the place of.
-- KEYS[1]  the session
-- KEYS[2]  its user's index
-- ARGV[1]  the version that the caller has read
-- ARGV[2]  the session's digest
-- ARGV[3]  the first two characters of the new header
-- ARGV[4]  the new payload: '' deletes the session
-- ARGV[5]  time to live of the new record, ms
-- ARGV[6]  channel of changed sessions
-- Reply: {'replaced'}, {'gone'}, {'conflict', stored text}
local header = redis.call('GETRANGE', KEYS[1], 0, 46)
if not string.match(header, '^[JE][ur-]' .. string.rep('%d', 45) .. '$') then return { 'gone' } end
local base = string.sub(header, 3, 8)
if base ~= ARGV[1] or string.sub(header, 2, 2) == 'r' then return { 'conflict', redis.call('GET', KEYS[1]) } end
redis.call('ZREM', KEYS[2], ARGV[2])
-- The session is replaced, whether this may be published or not.
redis.pcall('PUBLISH', ARGV[6], string.match(KEYS[1], '{[^{}]*}[^{}]*$'))
local life = math.min(redis.call('PTTL', KEYS[1]), tonumber(ARGV[5]))
if ARGV[4] == '' or life <= 0 then
  redis.call('UNLINK', KEYS[1])
  return { 'replaced' }
end
local version = string.format('%06d', (tonumber(base) + 1) % 1000000)
redis.call('SET', KEYS[1], ARGV[3] .. version .. string.sub(header, 9) .. ARGV[4], 'PX', string.format('%.0f', life))
return { 'replaced' }
