-- Deletes a session in connect-redis's form, if it has not changed.
-- KEYS[1]  the session
-- ARGV[1]  SHA-1 of the value that was read
-- Reply: {'removed'}, {'gone'}, {'conflict', value}
local value = redis.call('GET', KEYS[1])
if not value then return { 'gone' } end
if redis.sha1hex(value) ~= ARGV[1] then return { 'conflict', value } end
redis.call('UNLINK', KEYS[1])
return { 'removed' }
