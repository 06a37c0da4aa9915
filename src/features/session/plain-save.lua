-- Stores a value in connect-redis's form. It has no version: what an update was based on is told by its SHA-1.
-- KEYS[1]  the session
-- ARGV[1]  the SHA-1 of the value that the update is based on, '': store it whatever is there
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
