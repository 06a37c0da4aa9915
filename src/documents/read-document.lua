-- Reads a document, unless the caller knows its version.
-- KEYS[1]  the document
-- ARGV[1]  version that the caller knows, '' for none
-- ARGV[2]  time to live, ms. It begins again when half of it is over
-- Reply: { version, '' if there is no document } and, if the caller does not know it, the content
local version, content = stored(KEYS[1])
if version == '' then return { '' } end
if redis.call('PTTL', KEYS[1]) < ARGV[2] / 2 then keep(KEYS[1], tonumber(ARGV[2])) end
if version == ARGV[1] then return { version } end
return { version, content }
