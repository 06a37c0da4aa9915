-- Stores a session in connect-redis's form. The form has no version: the SHA-1 of the old value takes its place.
-- KEYS[1]  the session
-- ARGV[1]  SHA-1 of the value that the update is based on; '' stores unconditionally
-- ARGV[2]  time to live, ms
-- ARGV[3]  the value
-- Reply: {'saved'}, {'gone'}, {'conflict', value}
if ARGV[1] ~= '' then
  local value = redis.call('GET', KEYS[1])
  if not value then return { 'gone' } end
  if redis.sha1hex(value) ~= ARGV[1] then return { 'conflict', value } end
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
return { 'saved' }
